import { fold, type Key, uniforms } from "@rlhf/core/random";
import type { Activation, LinearWeights } from "@rlhf/tensor/decoder";
import { activate, linear } from "@rlhf/tensor/linear";
import * as tf from "@tensorflow/tfjs-core";
import { parameterLayouts } from "./_layout.ts";
import type { TransformerConfig } from "./config.ts";
import { dropout } from "./dropout.ts";
import type { LoraConfig } from "./lora_config.ts";
import { cloneParams, type Model, type Params } from "./model.ts";

/** One adapted map: y += alpha/rank · B A x for the outputs from `start` on. */
export interface LoraPart {
  /** A `[rank, in]`. */
  readonly down: tf.Tensor;
  /** B `[out, rank]`. */
  readonly up: tf.Tensor;
  readonly start: number;
  readonly scale: number;
  readonly dropout: number;
}

export interface AdaptedLinear extends LinearWeights {
  readonly lora?: ReadonlyArray<LoraPart> | undefined;
}

/** A linear map of the model that can be adapted, by its name in the file. */
interface Module {
  readonly name: string;
  readonly parameter: string;
  readonly from: number;
  readonly to: number;
  readonly start: number;
}

/** What PEFT puts before the names of the model below. */
const prefix = "base_model.model.";
const nameOf = (module: string, part: "A" | "B") => `${prefix}${module}.lora_${part}.weight`;

/**
 * Puts a fresh adapter on a model: y = x W + alpha/rank · (x Aᵀ) Bᵀ with A uniform in ±1/√in and B = 0, as PEFT
 * starts it, so that nothing changes at first. Only A and B are the new model's `params`; every stage that trains
 * `model.params` trains the adapter alone.
 *
 * @param model stays as it is and must outlive the new one; `withoutAdapter` gives it back as the reference policy
 * @throws RangeError when a target names no map of the model
 */
export function addLora(model: Model, lora: LoraConfig, key: Key): Model {
  if (model.adapter !== undefined) {
    throw new RangeError("Cannot add an adapter: the model has one already; merge it first (mergeLora)");
  }
  const params: Record<string, tf.Variable> = {};
  for (const [name, shape] of Object.entries(loraShapes(model.config, lora))) {
    const fresh = () => {
      if (name.endsWith(".lora_B.weight")) return tf.zeros([...shape]);
      const bound = 1 / Math.sqrt(shape[1]!);
      const values = uniforms(fold(key, name), shape[0]! * shape[1]!).map((u) => (2 * u - 1) * bound);
      return tf.tensor(values, [...shape], "float32");
    };
    params[name] = tf.tidy(() => tf.variable(fresh()));
  }
  return { config: model.config, params, adapter: { lora, base: model.params } };
}

/** The model below the adapter, which shares its parameters: the reference policy, at no memory. */
export function withoutAdapter(model: Model): Model {
  return { config: model.config, params: model.adapter?.base ?? model.params };
}

/**
 * A plain model with W + alpha/rank · (B A)ᵀ in the place of every adapted W. It shares nothing with the adapted one,
 * whose base keeps its very bits: there is nothing to undo. Free it with `disposeModel`.
 */
export function mergeLora(model: Model): Model {
  const merged = mergedParams(model);
  const rest = Object.entries(withoutAdapter(model).params).filter(([name]) => !(name in merged));
  return { config: model.config, params: { ...cloneParams(Object.fromEntries(rest)), ...merged } };
}

/** Only those parameters that an adapter changes, merged with it. The caller frees them. */
export function mergedParams(model: Model): Params {
  const { params: base } = withoutAdapter(model);
  return Object.fromEntries(
    Array.from(loraParts(model), ([parameter, parts]) => {
      const merged = tf.tidy(() => {
        const weight = base[parameter]!;
        const added = parts.map(({ down, up, start, scale }) => {
          const product = tf.matMul(down as tf.Tensor2D, up as tf.Tensor2D, true, true);
          return { start, value: tf.mul<tf.Tensor2D>(product, scale) };
        });
        return tf.variable(tf.add(weight, sideBySide(added, weight.shape[1]!)));
      });
      return [parameter, merged];
    }),
  );
}

/** Name and shape of every tensor of an adapter, as PEFT's `adapter_model.safetensors` has them. */
export function loraShapes(config: TransformerConfig, lora: LoraConfig): Record<string, [number, number]> {
  return Object.fromEntries(
    targets(config, lora).flatMap(
      ({ name, from, to }): Array<[string, [number, number]]> => [
        [nameOf(name, "A"), [lora.rank, from]],
        [nameOf(name, "B"), [to, lora.rank]],
      ],
    ),
  );
}

/** The adapted maps by the parameter that they are part of. */
export function loraParts({ config, params, adapter }: Model): ReadonlyMap<string, ReadonlyArray<LoraPart>> {
  const parts = new Map<string, Array<LoraPart>>();
  if (adapter === undefined) return parts;
  const { rank, alpha, dropout: rate } = adapter.lora;
  for (const { name, parameter, start } of targets(config, adapter.lora)) {
    const [down, up] = [params[nameOf(name, "A")]!, params[nameOf(name, "B")]!];
    const part: LoraPart = { down, up, start, scale: alpha / rank, dropout: rate };
    parts.set(parameter, [...(parts.get(parameter) ?? []), part]);
  }
  return parts;
}

/**
 * `linear` through a map that may have an adapter: activation(x W + bias + adapter) + residual. A pass with dropout
 * gives a key, and the adapter drops out at its own rate.
 */
export function adapted<R extends tf.Rank>(
  x: tf.Tensor<R>,
  { weight, bias, lora }: AdaptedLinear,
  options: {
    readonly activation?: Activation;
    readonly residual?: tf.Tensor<R>;
    readonly dropoutKey?: Key | undefined;
  } = {},
): tf.Tensor<R> {
  const { activation, residual, dropoutKey } = options;
  if (lora === undefined) return linear(x, weight, { bias, activation, residual });
  return tf.tidy(() => {
    const parts = lora.map(({ down, up, start, scale, dropout: rate }) => {
      const input = dropoutKey === undefined ? x : dropout(x, { rate, key: fold(dropoutKey, start) });
      const low = linear(input, down, { transposeWeight: true });
      return { start, value: tf.mul<tf.Tensor<R>>(linear(low, up, { transposeWeight: true }), scale) };
    });
    const y = linear(x, weight, { bias, residual: sideBySide(parts, weight.shape[1]!) });
    const active = activation === undefined ? y : activate(y, activation);
    return residual === undefined ? active : tf.add<tf.Tensor<R>>(active, residual);
  });
}

/** Tensors one after the other on the last axis of length `size`, each from its start, with zeros between them. */
function sideBySide<T extends tf.Tensor>(
  parts: ReadonlyArray<{ readonly start: number; readonly value: T }>,
  size: number,
): T {
  const rows = parts[0]!.value.shape.slice(0, -1);
  const pieces: Array<tf.Tensor> = [];
  let end = 0;
  const fillTo = (start: number) => {
    if (start > end) pieces.push(tf.zeros([...rows, start - end]));
  };
  for (const { start, value } of parts) {
    fillTo(start);
    pieces.push(value);
    end = start + value.shape.at(-1)!;
  }
  fillTo(size);
  return (pieces.length === 1 ? pieces[0]! : tf.concat(pieces, -1)) as T;
}

/** The maps that the config's targets name, in the order of the parameters. */
function targets(config: TransformerConfig, { targetModules }: LoraConfig): ReadonlyArray<Module> {
  const found = adaptableModules(config);
  const isNamed = (name: string, target: string) => name === target || name.endsWith(`.${target}`);
  for (const target of targetModules) {
    if (!found.some(({ name }) => isNamed(name, target))) {
      const names = [...new Set(found.map(({ name }) => name.split(".").at(-1)))];
      throw new RangeError(
        `Cannot adapt the model: targetModules must name maps of ${config.architecture} (${names.join(", ")}), got ${target}`,
      );
    }
  }
  return found.filter(({ name }) => targetModules.some((target) => isNamed(name, target)));
}

/** Every linear map inside the blocks. */
function adaptableModules(config: TransformerConfig): ReadonlyArray<Module> {
  return parameterLayouts(config).flatMap(({ name, shape, stored }) =>
    shape.length !== 2 || !/\.(h|layers?)\.\d+\./.test(name)
      ? []
      : stored.map((part) => ({
          name: part.name.slice(0, -".weight".length),
          parameter: name,
          from: shape[0]!,
          to: part.transposed ? part.shape[0]! : part.shape[1]!,
          start: part.start,
        })),
  );
}
