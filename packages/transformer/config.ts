import { Count, Positive } from "@rlhf/core/setting";
import * as Schema from "effect/Schema";

const shape = {
  /** Number of token embeddings. */
  vocabSize: Count,
  /** Longest sequence, in tokens. */
  contextLength: Count,
  /** Number of blocks. */
  layers: Count,
  /** Size of the residual stream. */
  width: Count,
  heads: Count,
};

const widthFitsHeads = Schema.makeFilter(
  ({ width, heads }: { readonly width: number; readonly heads: number }) =>
    width % heads === 0 || `width must be a multiple of heads (${heads}), got ${width}`,
);

/**
 * - `gpt2`: a causal decoder (Radford et al. 2019) with learned positions, pre-norm blocks and tied embeddings.
 * - `masked-lm`: the same blocks without the causal mask, to fill in masked tokens as BERT does.
 */
export const Gpt2Config = Schema.Struct({
  architecture: Schema.Literals(["gpt2", "masked-lm"]),
  ...shape,
}).check(widthFitsHeads);
export type Gpt2Config = typeof Gpt2Config.Type;

/** How rotary embeddings reach beyond the context of pretraining; `RopeScaling` of `@rlhf/tensor` has the equations. */
export const RopeScalingConfig = Schema.Union([
  Schema.Struct({ type: Schema.Literal("linear"), factor: Positive }),
  Schema.Struct({
    type: Schema.Literal("llama3"),
    factor: Positive,
    lowFrequencyFactor: Positive,
    highFrequencyFactor: Positive,
    originalContext: Count,
  }),
  Schema.Struct({
    type: Schema.Literal("yarn"),
    factor: Positive,
    originalContext: Count,
    betaFast: Positive,
    betaSlow: Positive,
    attentionFactor: Positive,
  }),
]);
export type RopeScalingConfig = typeof RopeScalingConfig.Type;

/**
 * Causal decoders with rotary positions, RMS norms, gated feed-forward layers and grouped keys and values.
 *
 * - `llama`: Touvron et al. 2023 (arXiv:2302.13971), Llama 2 and 3
 * - `qwen2`: queries, keys and values have biases (Yang et al. 2024, arXiv:2407.10671)
 * - `qwen3`: queries and keys of each head are normalised (Yang et al. 2025, arXiv:2505.09388)
 */
export const LlamaConfig = Schema.Struct({
  architecture: Schema.Literals(["llama", "qwen2", "qwen3"]),
  ...shape,
  /** Heads of keys and values; a divisor of `heads`. */
  kvHeads: Count,
  /** Size of one head, even. */
  headDim: Count,
  /** Inner size of the feed-forward layers. */
  innerWidth: Count,
  /** ε of every norm. */
  epsilon: Positive,
  /** Base of the rotary wavelengths. */
  ropeTheta: Positive,
  ropeScaling: Schema.optionalKey(RopeScalingConfig),
  /** Whether the unembedding is the token embedding. */
  tied: Schema.Boolean,
}).check(
  Schema.makeFilter(
    ({ heads, kvHeads }) =>
      heads % kvHeads === 0 || `heads must be a multiple of kvHeads (${kvHeads}), got ${heads}`,
  ),
  Schema.makeFilter(({ headDim }) => headDim % 2 === 0 || `headDim must be even, got ${headDim}`),
);
export type LlamaConfig = typeof LlamaConfig.Type;

/** A bidirectional encoder that fills in masked tokens (Devlin et al. 2019, arXiv:1810.04805): post-norm blocks. */
export const BertConfig = Schema.Struct({
  architecture: Schema.Literal("bert"),
  ...shape,
  innerWidth: Count,
  epsilon: Positive,
  /** Kinds of segments with an embedding of their own; all tokens here are of the first kind. */
  tokenTypes: Count,
}).check(widthFitsHeads);
export type BertConfig = typeof BertConfig.Type;

/** The shape of a transformer. */
export const TransformerConfig = Schema.Union([Gpt2Config, LlamaConfig, BertConfig]);
export type TransformerConfig = typeof TransformerConfig.Type;
