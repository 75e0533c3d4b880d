import { fold, type Key, normals } from "@rlhf/core/random";
import { linear } from "@rlhf/tensor/linear";
import * as tf from "@tensorflow/tfjs-core";
import { bertPooled, hasPooler } from "./_bert.ts";
import { poolerName, predictsTokens } from "./_layout.ts";
import { shiftLeft, shiftRight } from "./_shift.ts";
import type { Sequences } from "./batch.ts";
import type { TransformerConfig } from "./config.ts";
import { type ForwardOptions, hiddenStates, hiddenStatesAt } from "./hidden_states.ts";
import { cloneParams, disposeModel, type Model, type Params } from "./model.ts";

/** A transformer with one number per token instead of an unembedding: a reward model or a value network. */
export interface ScalarModel {
  readonly config: TransformerConfig;
  readonly backbone: Model;
  readonly head: { readonly weight: tf.Variable<tf.Rank.R1>; readonly bias: tf.Variable<tf.Rank.R0> };
  /**
   * All of the above by name, for the optimizer: the backbone's, BERT's pooler among them, `score.weight` `[width]` and
   * `score.bias` `[]`.
   */
  readonly params: Params;
}

/**
 * Puts a fresh head on a backbone, which it takes over, less the head over the vocabulary: weight N(0, 1/√(width + 1)) and
 * bias 0 (Stiennon et al. 2020). A BERT without a pooler gets one, with weights N(0, 0.02) as in `initModel`; beside an
 * adapter it is trained as the head is.
 * Give it `cloneModel(policy)` to leave the policy alone. Free it with {@link disposeScalarModel}.
 */
export function initScalarModel(backbone: Model, key: Key): ScalarModel {
  const { architecture, width } = backbone.config;
  const normal = (from: Key, shape: [number] | [number, number], deviation: number) =>
    tf.tidy(() => {
      const values = normals(from, tf.util.sizeFromShape(shape)).map((value) => value * deviation);
      return tf.variable(tf.tensor(values, shape, "float32"));
    });
  const params: Record<string, tf.Variable> = {};
  for (const [name, param] of Object.entries(backbone.params)) {
    if (predictsTokens(name)) param.dispose();
    else params[name] = param;
  }
  if (architecture === "bert" && !hasPooler(backbone)) {
    params[`${poolerName}.weight`] = normal(fold(key, "pooler"), [width, width], 0.02);
    params[`${poolerName}.bias`] = tf.tidy(() => tf.variable(tf.zeros([width])));
  }
  return withHead(
    { ...backbone, params },
    normal(key, [width], 1 / Math.sqrt(width + 1)) as tf.Variable as tf.Variable<tf.Rank.R1>,
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

/**
 * One number per token, w·h + b, where BERT has w·tanh(W h + c) + b: `[batch, time]`. A value network's V(sₜ), where sₜ ends
 * with token t.
 */
export function tokenValues(model: ScalarModel, batch: Sequences, options: ForwardOptions = {}): tf.Tensor2D {
  return tf.tidy(() =>
    tf.reshape(readHead(model, hiddenStates(model.backbone, batch, options)), batch.ids.shape),
  );
}

/** {@link tokenValues} at some places of the flattened batch, as of {@link hiddenStatesAt}: `[places]`. */
export function tokenValuesAt(
  model: ScalarModel,
  batch: Sequences,
  places: tf.Tensor1D,
  options: ForwardOptions = {},
): tf.Tensor1D {
  return tf.tidy(() =>
    tf.reshape(readHead(model, hiddenStatesAt(model.backbone, batch, places, options)), [-1]),
  );
}

/**
 * The number at the last real token of each row, a reward model's score of the sequence: `[batch]`. BERT's is that at the
 * first, its `[CLS]`, which the sequences must begin with.
 */
export function sequenceScores(
  model: ScalarModel,
  batch: Sequences,
  options: ForwardOptions = {},
): tf.Tensor1D {
  return tf.tidy(() => {
    const isScored = isEndToken(batch.segments, model.config.architecture === "bert" ? "first" : "last");
    const [rows, time] = isScored.shape;
    const columns = tf.sum(tf.mul(isScored, tf.range(0, time)), 1);
    const places: tf.Tensor1D = tf.cast(tf.add(tf.mul(tf.range(0, rows), time), columns), "int32");
    // A row of padding alone has no such token and the score 0.
    return tf.mul(tokenValuesAt(model, batch, places, options), tf.sum(isScored, 1));
  });
}

function readHead({ config, backbone, head }: ScalarModel, states: tf.Tensor): tf.Tensor {
  const read = config.architecture === "bert" ? bertPooled(backbone, states) : states;
  return linear(read, tf.reshape(head.weight, [-1, 1]), { bias: tf.reshape(head.bias, [1]) });
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

/** 1 at the first or last token of each row that is not padding, which may stand on both sides. */
function isEndToken(segments: tf.Tensor2D, end: "first" | "last"): tf.Tensor2D {
  const beyond = end === "first" ? shiftRight(segments) : shiftLeft(segments);
  return tf.cast<tf.Tensor2D>(tf.logicalAnd(tf.greater(segments, 0), tf.equal(beyond, 0)), "float32");
}
