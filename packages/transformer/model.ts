import * as tf from "@tensorflow/tfjs-core";
import type { TransformerConfig } from "./config.ts";
import type { LoraConfig } from "./lora_config.ts";

/** Parameters by Hugging Face name (`transformer.wte.weight`, …). */
export type Params = Readonly<Record<string, tf.Variable>>;

/** A transformer: its shape and what training changes of it. */
export interface Model {
  readonly config: TransformerConfig;
  /** All parameters; of a model with an adapter only the adapter's. */
  readonly params: Params;
  /** Present where `addLora` put an adapter on a model. */
  readonly adapter?: {
    readonly lora: LoraConfig;
    /** The parameters that stand still. They belong to the model below the adapter, which must outlive this one. */
    readonly base: Params;
  };
  /** A `ScalarModel` has a head of its own and is no `Model`: its `backbone` is. */
  readonly head?: never;
}

/**
 * A second model with the same numbers that shares nothing with the first but the base below its adapter, if it has
 * one. Free it with {@link disposeModel}.
 */
export function cloneModel(model: Model): Model {
  return { ...model, params: cloneParams(model.params) };
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

/** Frees the parameters; those below an adapter belong to another model and stay. */
export function disposeModel(model: Pick<Model, "params">): void {
  tf.dispose(Object.values(model.params));
}

export function cloneParams(params: Params): Params {
  return Object.fromEntries(
    Object.entries(params).map(([name, param]) => [name, tf.tidy(() => tf.variable(copyOf(param)))]),
  );
}

/** A product, because `clone()` would share storage with parameters that the optimizer updates in place. */
function copyOf(tensor: tf.Tensor): tf.Tensor {
  return tf.mul(tensor, 1);
}
