import * as Schema from "effect/Schema";
import type { TransformerConfig } from "./config.ts";

const languageModel = "GPT2LMHeadModel";
const scalarModel = "GPT2ForSequenceClassification";
/** Unknown to Python's `transformers`, which then refuses the folder: its GPT-2 is always causal. */
const maskedLanguageModel = "rlhf-masked-lm";

/** What a `config.json` says about the network, in Hugging Face's words. Values that would change the math are refused. */
export const HuggingFaceConfig = Schema.Struct({
  model_type: Schema.Literals(["gpt2", maskedLanguageModel]),
  architectures: Schema.optionalKey(Schema.Array(Schema.String)),
  vocab_size: Schema.Int,
  n_positions: Schema.Int,
  n_embd: Schema.Int,
  n_layer: Schema.Int,
  n_head: Schema.Int,
  n_inner: Schema.optionalKey(Schema.NullOr(Schema.Int)),
  activation_function: Schema.optionalKey(Schema.Literal("gelu_new")),
  layer_norm_epsilon: Schema.optionalKey(Schema.Literal(1e-5)),
  tie_word_embeddings: Schema.optionalKey(Schema.Literal(true)),
  scale_attn_by_inverse_layer_idx: Schema.optionalKey(Schema.Literal(false)),
}).check(
  Schema.makeFilter(({ n_inner = null, n_embd }) =>
    n_inner === null || n_inner === 4 * n_embd
      ? true
      : { path: ["n_inner"], issue: `must be 4 · n_embd = ${4 * n_embd}` },
  ),
);
export type HuggingFaceConfig = typeof HuggingFaceConfig.Type;

/** The ids of tokens with a role, as `config.json` wants them. */
export interface TokenRoles {
  readonly eos: number;
  readonly pad: number;
  readonly bos?: number;
}

/** The `config.json` of a checkpoint; `scalar` says that it has a scalar head. */
export function toHuggingFace(config: TransformerConfig, scalar: boolean, roles?: TokenRoles) {
  const masked = config.architecture === "masked-lm";
  return {
    model_type: masked ? maskedLanguageModel : "gpt2",
    architectures: [scalar ? scalarModel : masked ? maskedLanguageModel : languageModel],
    vocab_size: config.vocabSize,
    n_positions: config.contextLength,
    n_embd: config.width,
    n_layer: config.layers,
    n_head: config.heads,
    n_inner: null,
    activation_function: "gelu_new",
    layer_norm_epsilon: 1e-5,
    tie_word_embeddings: true,
    resid_pdrop: 0,
    embd_pdrop: 0,
    attn_pdrop: 0,
    dtype: "float32",
    ...(scalar ? { id2label: { 0: "score" }, label2id: { score: 0 } } : {}),
    ...(roles === undefined
      ? {}
      : { bos_token_id: roles.bos ?? null, eos_token_id: roles.eos, pad_token_id: roles.pad }),
  } satisfies HuggingFaceConfig & Record<string, unknown>;
}

/** The shape that a `config.json` describes, not yet checked, and whether the checkpoint has a scalar head. */
export function fromHuggingFace(config: HuggingFaceConfig): {
  readonly shape: TransformerConfig;
  readonly scalar: boolean;
} {
  return {
    shape: {
      architecture: config.model_type === "gpt2" ? "gpt2" : "masked-lm",
      vocabSize: config.vocab_size,
      contextLength: config.n_positions,
      layers: config.n_layer,
      width: config.n_embd,
      heads: config.n_head,
    },
    scalar: config.architectures?.includes(scalarModel) ?? false,
  };
}
