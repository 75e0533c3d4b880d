import type { DecoderSpec, DecoderWeights } from "@rlhf/tensor/decoder";
import type { TransformerConfig } from "./config.ts";
import type { Model } from "./model.ts";

/** ε of every layer norm (GPT-2). */
const normEpsilon = 1e-5;

/**
 * Name and shape of every parameter, in Hugging Face's GPT-2 layout: weights of linear maps are `[in, out]`, and the
 * unembedding is `transformer.wte.weight`.
 */
export function parameterShapes(config: TransformerConfig): Record<string, ReadonlyArray<number>> {
  const { width, vocabSize, contextLength, layers } = config;
  const shapes: Record<string, ReadonlyArray<number>> = {
    "transformer.wte.weight": [vocabSize, width],
    "transformer.wpe.weight": [contextLength, width],
  };
  const map = (name: string, from: number, to: number) => {
    shapes[`${name}.weight`] = [from, to];
    shapes[`${name}.bias`] = [to];
  };
  const norm = (name: string) => {
    shapes[`${name}.weight`] = [width];
    shapes[`${name}.bias`] = [width];
  };
  for (let layer = 0; layer < layers; layer++) {
    const block = `transformer.h.${layer}`;
    norm(`${block}.ln_1`);
    map(`${block}.attn.c_attn`, width, 3 * width);
    map(`${block}.attn.c_proj`, width, width);
    norm(`${block}.ln_2`);
    map(`${block}.mlp.c_fc`, width, 4 * width);
    map(`${block}.mlp.c_proj`, 4 * width, width);
  }
  norm("transformer.ln_f");
  return shapes;
}

/** The number of numbers in a model of this shape. */
export function parameterCount(config: TransformerConfig): number {
  return Object.values(parameterShapes(config))
    .map((shape) => shape.reduce((product, size) => product * size, 1))
    .reduce((sum, count) => sum + count, 0);
}

/** The constants that the blocks of this architecture compute with. */
export function decoderSpec(config: TransformerConfig): DecoderSpec {
  const { heads, width } = config;
  return {
    heads,
    kvHeads: heads,
    headDim: width / heads,
    norm: "layer",
    epsilon: normEpsilon,
    activation: "geluTanh",
  };
}

/** A model's parameters by the part they play. The tensors are the model's own. */
export function decoderWeights({ config, params }: Model): DecoderWeights {
  const param = (name: string) => params[`transformer.${name}`]!;
  const map = (name: string) => ({ weight: param(`${name}.weight`), bias: param(`${name}.bias`) });
  const norm = (name: string) => ({ gain: param(`${name}.weight`), bias: param(`${name}.bias`) });
  return {
    tokenEmbedding: param("wte.weight"),
    positionEmbedding: param("wpe.weight"),
    blocks: Array.from({ length: config.layers }, (_, layer) => ({
      attentionNorm: norm(`h.${layer}.ln_1`),
      qkv: map(`h.${layer}.attn.c_attn`),
      attentionOut: map(`h.${layer}.attn.c_proj`),
      feedForwardNorm: norm(`h.${layer}.ln_2`),
      up: map(`h.${layer}.mlp.c_fc`),
      down: map(`h.${layer}.mlp.c_proj`),
    })),
    finalNorm: norm("ln_f"),
    unembedding: param("wte.weight"),
  };
}
