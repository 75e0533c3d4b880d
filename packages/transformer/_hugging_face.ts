import { Count, Positive } from "@rlhf/core/setting";
import * as Schema from "effect/Schema";
import type { BertConfig, Gpt2Config, LlamaConfig, RopeScalingConfig, TransformerConfig } from "./config.ts";

/** Unknown to Python's `transformers`, which then refuses the folder: its GPT-2 is always causal. */
const maskedLanguageModel = "rlhf-masked-lm";

/** What Python's `transformers` calls the networks of each kind. */
const classes: Readonly<Record<TransformerConfig["architecture"], { language: string; scalar?: string }>> = {
  gpt2: { language: "GPT2LMHeadModel", scalar: "GPT2ForSequenceClassification" },
  "masked-lm": { language: maskedLanguageModel },
  llama: { language: "LlamaForCausalLM", scalar: "LlamaForSequenceClassification" },
  qwen2: { language: "Qwen2ForCausalLM", scalar: "Qwen2ForSequenceClassification" },
  qwen3: { language: "Qwen3ForCausalLM", scalar: "Qwen3ForSequenceClassification" },
  bert: { language: "BertForMaskedLM", scalar: "BertForSequenceClassification" },
};

const optional = Schema.optionalKey;
const off = optional(Schema.NullOr(Schema.Literal(false)));
const architectures = optional(Schema.NullOr(Schema.Array(Schema.String)));

const Gpt2File = Schema.Struct({
  model_type: Schema.Literals(["gpt2", maskedLanguageModel]),
  architectures,
  vocab_size: Count,
  n_positions: Count,
  n_embd: Count,
  n_layer: Count,
  n_head: Count,
  n_inner: optional(Schema.NullOr(Count)),
  activation_function: optional(Schema.Literal("gelu_new")),
  layer_norm_epsilon: optional(Schema.Literal(1e-5)),
  tie_word_embeddings: optional(Schema.Literal(true)),
  scale_attn_by_inverse_layer_idx: off,
}).check(
  Schema.makeFilter(({ n_inner = null, n_embd }) =>
    n_inner === null || n_inner === 4 * n_embd
      ? true
      : { path: ["n_inner"], issue: `must be 4 · n_embd = ${4 * n_embd}` },
  ),
);

const everyFrequency = {
  rope_theta: optional(Positive),
  partial_rotary_factor: optional(Schema.Literal(1)),
};
const RopeParameters = Schema.Union([
  Schema.Struct({ rope_type: Schema.Literal("default"), ...everyFrequency }),
  Schema.Struct({ rope_type: Schema.Literal("linear"), ...everyFrequency, factor: Positive }),
  Schema.Struct({
    rope_type: Schema.Literal("llama3"),
    ...everyFrequency,
    factor: Positive,
    low_freq_factor: Positive,
    high_freq_factor: Positive,
    original_max_position_embeddings: Count,
  }),
  Schema.Struct({
    rope_type: Schema.Literal("yarn"),
    ...everyFrequency,
    factor: Positive,
    original_max_position_embeddings: Count,
    beta_fast: optional(Schema.NullOr(Positive)),
    beta_slow: optional(Schema.NullOr(Positive)),
    attention_factor: optional(Schema.NullOr(Positive)),
    mscale: optional(Schema.Null),
    mscale_all_dim: optional(Schema.Null),
    truncate: optional(Schema.Literal(true)),
  }),
]);
type RopeParameters = typeof RopeParameters.Type;

const LlamaFile = Schema.Struct({
  model_type: Schema.Literals(["llama", "qwen2", "qwen3"]),
  architectures,
  vocab_size: Count,
  max_position_embeddings: Count,
  hidden_size: Count,
  intermediate_size: Count,
  num_hidden_layers: Count,
  num_attention_heads: Count,
  num_key_value_heads: optional(Schema.NullOr(Count)),
  head_dim: optional(Schema.NullOr(Count)),
  rms_norm_eps: optional(Positive),
  rope_parameters: RopeParameters,
  tie_word_embeddings: optional(Schema.Boolean),
  hidden_act: optional(Schema.Literal("silu")),
  attention_bias: off,
  mlp_bias: off,
  use_sliding_window: off,
  layer_types: optional(Schema.NullOr(Schema.Array(Schema.Literal("full_attention")))),
});

const BertFile = Schema.Struct({
  model_type: Schema.Literal("bert"),
  architectures,
  vocab_size: Count,
  max_position_embeddings: Count,
  hidden_size: Count,
  intermediate_size: Count,
  num_hidden_layers: Count,
  num_attention_heads: Count,
  layer_norm_eps: optional(Positive),
  type_vocab_size: optional(Count),
  hidden_act: optional(Schema.Literal("gelu")),
  position_embedding_type: optional(Schema.Literal("absolute")),
  tie_word_embeddings: optional(Schema.Literal(true)),
  is_decoder: off,
  add_cross_attention: off,
});

const schemas = {
  gpt2: Gpt2File,
  [maskedLanguageModel]: Gpt2File,
  llama: LlamaFile,
  qwen2: LlamaFile,
  qwen3: LlamaFile,
  bert: BertFile,
};
type ModelType = keyof typeof schemas;

/** What must be known of a `config.json` before the rest of it can be understood. */
export const KnownModel = Schema.Struct({
  model_type: Schema.Literals(Object.keys(schemas) as Array<ModelType>),
});

/** What a `config.json` says about the network, in Hugging Face's words. */
export type HuggingFaceConfig = (typeof schemas)[ModelType]["Type"];

/** The settings of a kind of network. Values that would change the math are refused. */
export function schemaOf({
  model_type,
}: {
  readonly model_type: ModelType;
}): Schema.Codec<HuggingFaceConfig, unknown> {
  return schemas[model_type] as Schema.Codec<HuggingFaceConfig, unknown>;
}

/** A `config.json` with its rotary settings where version 5 of `transformers` has them. */
export function upgraded(json: unknown): unknown {
  if (typeof json !== "object" || json === null) return json;
  const { rope_theta, rope_scaling, rope_parameters, ...rest } = json as Record<string, unknown>;
  const given = (rope_parameters ?? rope_scaling ?? {}) as Record<string, unknown>;
  const { type, rope_type = type ?? "default", ...settings } = given;
  return {
    ...rest,
    rope_parameters: { ...(rope_theta !== undefined && { rope_theta }), ...settings, rope_type },
  };
}

/** The ids of tokens with a role, as `config.json` wants them. */
export interface TokenRoles {
  readonly eos: number;
  readonly pad: number;
  readonly bos?: number;
}

/** The `config.json` of a checkpoint; `scalar` says that it has a scalar head. Null where `transformers` has no such network. */
export function toHuggingFace(config: TransformerConfig, scalar: boolean, roles?: TokenRoles) {
  const { language, scalar: classifier } = classes[config.architecture];
  const name = scalar ? classifier : language;
  if (name === undefined) return null;
  return {
    architectures: [name],
    ...networkOf(config),
    dtype: "float32",
    ...(scalar ? { id2label: { 0: "score" }, label2id: { score: 0 } } : {}),
    ...(roles === undefined
      ? {}
      : { bos_token_id: roles.bos ?? null, eos_token_id: roles.eos, pad_token_id: roles.pad }),
  };
}

function networkOf(config: TransformerConfig) {
  switch (config.architecture) {
    case "gpt2":
    case "masked-lm":
      return gpt2Network(config);
    case "bert":
      return bertNetwork(config);
    default:
      return llamaNetwork(config);
  }
}

function gpt2Network(config: Gpt2Config) {
  return {
    model_type: config.architecture === "gpt2" ? "gpt2" : maskedLanguageModel,
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
  } satisfies typeof Gpt2File.Type & Record<string, unknown>;
}

function llamaNetwork(config: LlamaConfig) {
  return {
    model_type: config.architecture,
    vocab_size: config.vocabSize,
    max_position_embeddings: config.contextLength,
    hidden_size: config.width,
    intermediate_size: config.innerWidth,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    head_dim: config.headDim,
    rms_norm_eps: config.epsilon,
    rope_parameters: ropeParameters(config),
    tie_word_embeddings: config.tied,
    hidden_act: "silu",
    attention_bias: false,
    attention_dropout: 0,
  } satisfies typeof LlamaFile.Type & Record<string, unknown>;
}

function bertNetwork(config: BertConfig) {
  return {
    model_type: "bert",
    vocab_size: config.vocabSize,
    max_position_embeddings: config.contextLength,
    hidden_size: config.width,
    intermediate_size: config.innerWidth,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    layer_norm_eps: config.epsilon,
    type_vocab_size: config.tokenTypes,
    hidden_act: "gelu",
    tie_word_embeddings: true,
    hidden_dropout_prob: 0,
    attention_probs_dropout_prob: 0,
  } satisfies typeof BertFile.Type & Record<string, unknown>;
}

function ropeParameters({ ropeTheta: rope_theta, ropeScaling }: LlamaConfig): RopeParameters {
  switch (ropeScaling?.type) {
    case undefined:
      return { rope_type: "default", rope_theta };
    case "linear":
      return { rope_type: "linear", rope_theta, factor: ropeScaling.factor };
    case "llama3":
      return {
        rope_type: "llama3",
        rope_theta,
        factor: ropeScaling.factor,
        low_freq_factor: ropeScaling.lowFrequencyFactor,
        high_freq_factor: ropeScaling.highFrequencyFactor,
        original_max_position_embeddings: ropeScaling.originalContext,
      };
    case "yarn":
      return {
        rope_type: "yarn",
        rope_theta,
        factor: ropeScaling.factor,
        original_max_position_embeddings: ropeScaling.originalContext,
        beta_fast: ropeScaling.betaFast,
        beta_slow: ropeScaling.betaSlow,
        attention_factor: ropeScaling.attentionFactor,
      };
  }
}

function ropeScaling(rope: RopeParameters): { readonly ropeScaling?: RopeScalingConfig } {
  switch (rope.rope_type) {
    case "default":
      return {};
    case "linear":
      return { ropeScaling: { type: "linear", factor: rope.factor } };
    case "llama3":
      return {
        ropeScaling: {
          type: "llama3",
          factor: rope.factor,
          lowFrequencyFactor: rope.low_freq_factor,
          highFrequencyFactor: rope.high_freq_factor,
          originalContext: rope.original_max_position_embeddings,
        },
      };
    case "yarn":
      return {
        ropeScaling: {
          type: "yarn",
          factor: rope.factor,
          originalContext: rope.original_max_position_embeddings,
          betaFast: rope.beta_fast ?? 32,
          betaSlow: rope.beta_slow ?? 1,
          attentionFactor: rope.attention_factor ?? Math.max(1, 0.1 * Math.log(rope.factor) + 1),
        },
      };
  }
}

/** The shape that a `config.json` describes, not yet checked, and whether the checkpoint has a scalar head. */
export function fromHuggingFace(config: HuggingFaceConfig): {
  readonly shape: TransformerConfig;
  readonly scalar: boolean;
} {
  const shape = shapeOf(config);
  const { scalar } = classes[shape.architecture];
  return { shape, scalar: scalar !== undefined && (config.architectures?.includes(scalar) ?? false) };
}

function shapeOf(config: HuggingFaceConfig): TransformerConfig {
  switch (config.model_type) {
    case "gpt2":
    case maskedLanguageModel:
      return {
        architecture: config.model_type === "gpt2" ? "gpt2" : "masked-lm",
        vocabSize: config.vocab_size,
        contextLength: config.n_positions,
        layers: config.n_layer,
        width: config.n_embd,
        heads: config.n_head,
      };
    case "bert":
      return {
        architecture: "bert",
        vocabSize: config.vocab_size,
        contextLength: config.max_position_embeddings,
        layers: config.num_hidden_layers,
        width: config.hidden_size,
        heads: config.num_attention_heads,
        innerWidth: config.intermediate_size,
        epsilon: config.layer_norm_eps ?? 1e-12,
        tokenTypes: config.type_vocab_size ?? 2,
      };
    default:
      return {
        architecture: config.model_type,
        vocabSize: config.vocab_size,
        contextLength: config.max_position_embeddings,
        layers: config.num_hidden_layers,
        width: config.hidden_size,
        heads: config.num_attention_heads,
        kvHeads: config.num_key_value_heads ?? config.num_attention_heads,
        headDim: config.head_dim ?? defaultHeadDim(config),
        innerWidth: config.intermediate_size,
        epsilon: config.rms_norm_eps ?? 1e-6,
        ropeTheta: config.rope_parameters.rope_theta ?? 10_000,
        ...ropeScaling(config.rope_parameters),
        tied: config.tie_word_embeddings ?? false,
      };
  }
}

/** Qwen 3 has heads of 128 unless it says otherwise; the others share out the width. */
function defaultHeadDim(config: typeof LlamaFile.Type): number {
  return config.model_type === "qwen3" ? 128 : Math.floor(config.hidden_size / config.num_attention_heads);
}
