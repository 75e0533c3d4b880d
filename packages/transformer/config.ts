import { Count } from "@rlhf/core/setting";
import * as Schema from "effect/Schema";

/**
 * The shape of a transformer.
 *
 * - `gpt2`: a causal decoder (Radford et al. 2019) with learned positions, pre-norm blocks and tied embeddings.
 * - `masked-lm`: the same blocks without the causal mask, to fill in masked tokens as BERT does (Devlin et al. 2019).
 */
export const TransformerConfig = Schema.Struct({
  architecture: Schema.Literals(["gpt2", "masked-lm"]),
  /** Number of token embeddings. */
  vocabSize: Count,
  /** Longest sequence, in tokens: there are this many position embeddings. */
  contextLength: Count,
  /** Number of blocks. */
  layers: Count,
  /** Size of the residual stream, a multiple of `heads`. */
  width: Count,
  heads: Count,
}).check(
  Schema.makeFilter(
    ({ width, heads }) => width % heads === 0 || `width must be a multiple of heads (${heads}), got ${width}`,
  ),
);
export type TransformerConfig = typeof TransformerConfig.Type;
