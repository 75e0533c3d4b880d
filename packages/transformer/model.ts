import * as tf from "@tensorflow/tfjs-core";
import type { TransformerConfig } from "./config.ts";

/** A transformer: its shape and its parameters by Hugging Face name (`transformer.wte.weight`, …). */
export interface Model {
  readonly config: TransformerConfig;
  readonly params: Readonly<Record<string, tf.Variable>>;
}

/** A second model with the same numbers that shares nothing with the first. Free it with {@link disposeModel}. */
export function cloneModel(model: Model): Model {
  return { config: model.config, params: cloneParams(model.params) };
}

/** Overwrites the parameters of one model with those of another of the same shape. */
export function copyParams(from: Pick<Model, "params">, to: Pick<Model, "params">): void {
  tf.tidy(() => {
    for (const [name, target] of Object.entries(to.params)) {
      const source = from.params[name];
      if (source === undefined || !tf.util.arraysEqual(source.shape, target.shape)) {
        throw new RangeError(
          `Cannot copy parameters: ${name} must have shape [${target.shape}], got ${source === undefined ? "none" : `[${source.shape}]`}`,
        );
      }
      target.assign(copyOf(source));
    }
  });
}

export function disposeModel(model: Pick<Model, "params">): void {
  tf.dispose(Object.values(model.params));
}

export function cloneParams(params: Model["params"]): Model["params"] {
  return Object.fromEntries(
    Object.entries(params).map(([name, param]) => [name, tf.tidy(() => tf.variable(copyOf(param)))]),
  );
}

/** A product, because `clone()` would share storage with parameters that the optimizer updates in place. */
function copyOf(tensor: tf.Tensor): tf.Tensor {
  return tf.mul(tensor, 1);
}
