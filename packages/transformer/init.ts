import { fold, type Key, normals } from "@rlhf/core/random";
import * as tf from "@tensorflow/tfjs-core";
import type { TransformerConfig } from "./config.ts";
import type { Model } from "./model.ts";
import { parameterShapes } from "./parameters.ts";

/**
 * A model with random parameters: gains 1, biases 0, weights and embeddings N(0, 0.02), and in GPT-2's blocks the two
 * projections into the residual stream N(0, 0.02/√(2·layers)) (Radford et al. 2019).
 * Free it with `disposeModel`.
 */
export function initModel(config: TransformerConfig, key: Key): Model {
  const params: Record<string, tf.Variable> = {};
  for (const [name, shape] of Object.entries(parameterShapes(config))) {
    params[name] = tf.tidy(() => tf.variable(initialValue(name, shape, config.layers, fold(key, name))));
  }
  return { config, params };
}

function initialValue(name: string, shape: ReadonlyArray<number>, layers: number, key: Key): tf.Tensor {
  if (name.endsWith(".bias")) return tf.zeros([...shape]);
  if (shape.length === 1) return tf.ones([...shape]);
  const deviation = name.endsWith(".c_proj.weight") ? 0.02 / Math.sqrt(2 * layers) : 0.02;
  const values = normals(key, tf.util.sizeFromShape([...shape]));
  return tf.tensor(
    values.map((value) => value * deviation),
    [...shape],
    "float32",
  );
}
