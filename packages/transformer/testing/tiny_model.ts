import { key, normals } from "@rlhf/core/random";
import * as tf from "@tensorflow/tfjs-core";
import type { TransformerConfig } from "../config.ts";
import { initModel } from "../init.ts";
import type { Model } from "../model.ts";

export const tinyConfig: TransformerConfig = {
  architecture: "gpt2",
  vocabSize: 11,
  contextLength: 24,
  layers: 2,
  width: 8,
  heads: 2,
};

/** A model whose token distributions are far from uniform. */
export const tinyModel = (config: TransformerConfig = tinyConfig): Model => {
  const model = initModel(config, key(1));
  for (const [index, param] of Object.values(model.params).entries()) {
    tf.tidy(() =>
      param.assign(
        tf.add(
          param,
          tf.tensor(
            normals(key(index), param.size).map((x) => 0.5 * x),
            param.shape,
          ),
        ),
      ),
    );
  }
  return model;
};
