import type { DecoderBlockWeights, DecoderSpec, DecoderWeights, NormWeights } from "@rlhf/tensor/decoder";
import type * as tf from "@tensorflow/tfjs-core";
import { parameterLayouts } from "./_layout.ts";
import type { BertConfig, Gpt2Config, TransformerConfig } from "./config.ts";
import { type AdaptedLinear, loraParts } from "./lora.ts";
import type { Model } from "./model.ts";

/** ε of every layer norm of GPT-2. */
const gpt2Epsilon = 1e-5;

/**
 * Name and shape of every parameter, under Hugging Face's names. Weights of linear maps are `[in, out]`; where the
 * unembedding is the token embedding, it has no entry of its own.
 */
export function parameterShapes(config: TransformerConfig): Record<string, ReadonlyArray<number>> {
  return Object.fromEntries(parameterLayouts(config).map(({ name, shape }) => [name, shape]));
}

/** The number of numbers in a model of this shape. */
export function parameterCount(config: TransformerConfig): number {
  return Object.values(parameterShapes(config))
    .map((shape) => shape.reduce((product, size) => product * size, 1))
    .reduce((sum, count) => sum + count, 0);
}

/** A config of pre-norm decoder blocks: all but BERT's. */
export type DecoderConfig = Exclude<TransformerConfig, BertConfig>;

/** The constants that the blocks of this architecture compute with. */
export function decoderSpec(config: TransformerConfig): DecoderSpec {
  assertDecoder(config);
  const { heads, width } = config;
  if (isGpt2(config)) {
    return {
      heads,
      kvHeads: heads,
      headDim: width / heads,
      norm: "layer",
      epsilon: gpt2Epsilon,
      activation: "geluTanh",
    };
  }
  const { kvHeads, headDim, epsilon, ropeTheta, ropeScaling } = config;
  return {
    heads,
    kvHeads,
    headDim,
    norm: "rms",
    epsilon,
    activation: "swiglu",
    ropeTheta,
    ropeScaling,
    headNorm: config.architecture === "qwen3",
  };
}

/** A block whose maps may carry an adapter, which `decodeStep` does not know about. */
export type AdaptedBlock = Omit<DecoderBlockWeights, "qkv" | "attentionOut" | "up" | "down"> & {
  readonly [Map in "qkv" | "attentionOut" | "up" | "down"]: AdaptedLinear;
};
export interface AdaptedDecoderWeights extends DecoderWeights {
  readonly blocks: ReadonlyArray<AdaptedBlock>;
}

/** A model's parameters by the part they play. The tensors are the model's own. */
export function decoderWeights(model: Model): AdaptedDecoderWeights {
  assertDecoder(model.config);
  return isGpt2(model.config) ? gpt2Weights(model) : llamaWeights(model);
}

function gpt2Weights(model: Model): AdaptedDecoderWeights {
  const { param, map, norm } = partsOf(model);
  return {
    tokenEmbedding: param("transformer.wte.weight"),
    positionEmbedding: param("transformer.wpe.weight"),
    blocks: Array.from({ length: model.config.layers }, (_, layer) => {
      const block = `transformer.h.${layer}`;
      return {
        attentionNorm: norm(`${block}.ln_1`),
        qkv: map(`${block}.attn.c_attn`),
        attentionOut: map(`${block}.attn.c_proj`),
        feedForwardNorm: norm(`${block}.ln_2`),
        up: map(`${block}.mlp.c_fc`),
        down: map(`${block}.mlp.c_proj`),
      };
    }),
    finalNorm: norm("transformer.ln_f"),
    unembedding: param("transformer.wte.weight"),
  };
}

function llamaWeights(model: Model): AdaptedDecoderWeights {
  const { find, param, map, norm } = partsOf(model);
  return {
    tokenEmbedding: param("model.embed_tokens.weight"),
    blocks: Array.from({ length: model.config.layers }, (_, layer) => {
      const block = `model.layers.${layer}`;
      return {
        attentionNorm: norm(`${block}.input_layernorm`),
        qkv: map(`${block}.self_attn.qkv_proj`),
        queryNorm: find(`${block}.self_attn.q_norm.weight`),
        keyNorm: find(`${block}.self_attn.k_norm.weight`),
        attentionOut: map(`${block}.self_attn.o_proj`),
        feedForwardNorm: norm(`${block}.post_attention_layernorm`),
        up: map(`${block}.mlp.gate_up_proj`),
        down: map(`${block}.mlp.down_proj`),
      };
    }),
    finalNorm: norm("model.norm"),
    unembedding: find("lm_head.weight") ?? param("model.embed_tokens.weight"),
  };
}

/** Access to parameters by name, whether an adapter lies above them or not. */
export function partsOf(model: Model) {
  const lora = loraParts(model);
  const find = (name: string): tf.Variable | undefined => model.params[name] ?? model.adapter?.base[name];
  const param = (name: string): tf.Variable => {
    const found = find(name);
    if (found === undefined) throw new RangeError(`Cannot use the model: it has no parameter ${name}`);
    return found;
  };
  return {
    find,
    param,
    map: (name: string): AdaptedLinear => ({
      weight: param(`${name}.weight`),
      bias: find(`${name}.bias`),
      lora: lora.get(`${name}.weight`),
    }),
    norm: (name: string): NormWeights => ({ gain: param(`${name}.weight`), bias: find(`${name}.bias`) }),
  };
}

function isGpt2(config: TransformerConfig): config is Gpt2Config {
  return config.architecture === "gpt2" || config.architecture === "masked-lm";
}

function assertDecoder(config: TransformerConfig): asserts config is DecoderConfig {
  if (config.architecture === "bert") {
    throw new RangeError("Cannot take the parts of a decoder: BERT's blocks are an encoder's");
  }
}
