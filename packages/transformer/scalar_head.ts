import { type Key, normals } from "@rlhf/core/random";
import { linear } from "@rlhf/tensor/linear";
import * as tf from "@tensorflow/tfjs-core";
import { shiftLeft } from "./_shift.ts";
import type { Sequences } from "./batch.ts";
import type { TransformerConfig } from "./config.ts";
import { type ForwardOptions, hiddenStates } from "./hidden_states.ts";
import { cloneParams, disposeModel, type Model, type Params } from "./model.ts";

/** A transformer with one number per token instead of an unembedding: a reward model or a value network. */
export interface ScalarModel {
  readonly config: TransformerConfig;
  readonly backbone: Model;
  readonly head: { readonly weight: tf.Variable<tf.Rank.R1>; readonly bias: tf.Variable<tf.Rank.R0> };
  /** All of the above by name, for the optimizer: the backbone's, `score.weight` `[width]` and `score.bias` `[]`. */
  readonly params: Params;
}

/**
 * Puts a fresh head on a backbone, which it takes over, less an unembedding of its own: weight N(0, 1/√(width + 1)) and bias 0 (Stiennon et al. 2020).
 * Give it `cloneModel(policy)` to leave the policy alone. Free it with {@link disposeScalarModel}.
 */
export function initScalarModel(backbone: Model, key: Key): ScalarModel {
  const { width } = backbone.config;
  const weight = normals(key, width).map((value) => value / Math.sqrt(width + 1));
  const { "lm_head.weight": unembedding, ...params } = backbone.params;
  unembedding?.dispose();
  return withHead(
    { ...backbone, params },
    tf.tidy(() => tf.variable(tf.tensor1d(weight))),
    tf.tidy(() => tf.variable(tf.scalar(0))),
  );
}

/** A second model with the same numbers that shares nothing with the first but what lies below an adapter: a value network from a reward model. */
export function cloneScalarModel(model: ScalarModel): ScalarModel {
  return scalarModel(model.backbone, cloneParams(model.params));
}

export function disposeScalarModel(model: ScalarModel): void {
  disposeModel(model);
}

/** A scalar model like `backbone` over these parameters, `score.weight` and `score.bias` among them. */
export function scalarModel(backbone: Omit<Model, "params">, params: Params): ScalarModel {
  const { "score.weight": weight, "score.bias": bias, ...rest } = params;
  return withHead(
    { ...backbone, params: rest },
    weight as tf.Variable as tf.Variable<tf.Rank.R1>,
    bias as tf.Variable as tf.Variable<tf.Rank.R0>,
  );
}

/** One number per token, w·h + b: `[batch, time]`. A value network's V(sₜ), where sₜ ends with token t. */
export function tokenValues(model: ScalarModel, batch: Sequences, options: ForwardOptions = {}): tf.Tensor2D {
  return tf.tidy(() => {
    const { weight, bias } = model.head;
    const values = linear(hiddenStates(model.backbone, batch, options), tf.reshape(weight, [-1, 1]), {
      bias: tf.reshape(bias, [1]),
    });
    return tf.reshape(values, batch.ids.shape);
  });
}

/** The number at the last real token of each row, a reward model's score of the sequence: `[batch]`. */
export function sequenceScores(
  model: ScalarModel,
  batch: Sequences,
  options: ForwardOptions = {},
): tf.Tensor1D {
  return tf.tidy(() => tf.sum(tf.mul(tokenValues(model, batch, options), isLastToken(batch.segments)), 1));
}

function withHead(
  backbone: Model,
  weight: ScalarModel["head"]["weight"],
  bias: ScalarModel["head"]["bias"],
): ScalarModel {
  const params = {
    ...backbone.params,
    "score.weight": weight as tf.Variable,
    "score.bias": bias as tf.Variable,
  };
  return { config: backbone.config, backbone, head: { weight, bias }, params };
}

/** 1 at the last token of each row that is not padding, which may stand on both sides. */
function isLastToken(segments: tf.Tensor2D): tf.Tensor2D {
  const last: tf.Tensor2D = tf.logicalAnd(tf.greater(segments, 0), tf.equal(shiftLeft(segments), 0));
  return tf.cast(last, "float32");
}
