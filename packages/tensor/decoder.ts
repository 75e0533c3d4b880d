import type * as tf from "@tensorflow/tfjs-core";
import type { RopeScaling } from "./rope_scaling.ts";

/** Nonlinearities that `linear` can apply: exact GELU (erf), its tanh approximation, SiLU and ReLU. */
export type Activation = "gelu" | "geluTanh" | "silu" | "relu";

/** Gain `[d]` and, for layer norms, bias `[d]`. */
export interface NormWeights {
  readonly gain: tf.Tensor;
  readonly bias?: tf.Tensor | undefined;
}

/** Weight `[in, out]` and bias `[out]`. */
export interface LinearWeights {
  readonly weight: tf.Tensor;
  readonly bias?: tf.Tensor | undefined;
}

export interface DecoderBlockWeights {
  readonly attentionNorm: NormWeights;
  /** `[d, (heads + 2 kvHeads) headDim]`, laid out as `attention` wants it. */
  readonly qkv: LinearWeights;
  /** Gains `[headDim]` where the spec has `headNorm`. */
  readonly queryNorm?: tf.Tensor | undefined;
  readonly keyNorm?: tf.Tensor | undefined;
  /** `[heads · headDim, d]`. */
  readonly attentionOut: LinearWeights;
  readonly feedForwardNorm: NormWeights;
  /** `[d, f]`, or `[d, 2f]` (gate, then up) where the activation is swiglu. */
  readonly up: LinearWeights;
  /** `[f, d]`. */
  readonly down: LinearWeights;
}

/** Weights of a pre-norm decoder: GPT-2 and the Llama family. */
export interface DecoderWeights {
  /** `[vocab, d]`. */
  readonly tokenEmbedding: tf.Tensor;
  /** `[context, d]`. */
  readonly positionEmbedding?: tf.Tensor | undefined;
  readonly blocks: ReadonlyArray<DecoderBlockWeights>;
  readonly finalNorm: NormWeights;
  /** `[vocab, d]`, often the token embedding itself. */
  readonly unembedding: tf.Tensor;
}

/** What a decoder is made of, apart from its weights. */
export interface DecoderSpec {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly norm: "layer" | "rms";
  readonly epsilon: number;
  readonly activation: Activation | "swiglu";
  /** Base of the rotary wavelengths; absent: no rotary embedding. */
  readonly ropeTheta?: number | undefined;
  readonly ropeScaling?: RopeScaling | undefined;
  /** The queries and keys of each head are normalised before they are rotated, as in Qwen 3. */
  readonly headNorm?: boolean | undefined;
}

/** Keys and values of the sequences that are being decoded, one per slot. */
export interface KvCache {
  readonly layers: number;
  readonly slots: number;
  /** Positions per slot. */
  readonly length: number;
  dispose(): void;
}
