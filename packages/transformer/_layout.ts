import type { BertConfig, Gpt2Config, LlamaConfig, TransformerConfig } from "./config.ts";

type Shape = ReadonlyArray<number>;

/** A tensor of a Hugging Face file whose numbers are a parameter, or part of one. */
export interface StoredPart {
  readonly name: string;
  readonly shape: Shape;
  /** The file has `[out, in]` where the parameter has `[in, out]`. */
  readonly transposed: boolean;
  /** Where it begins on the last axis of the parameter. */
  readonly start: number;
}

/** A parameter and where a checkpoint keeps it. */
export interface ParameterLayout {
  readonly name: string;
  readonly shape: Shape;
  readonly stored: ReadonlyArray<StoredPart>;
  /** Zeros where a checkpoint has none. */
  readonly optional?: boolean;
}

/**
 * The parameters of a model. Weights of linear maps are `[in, out]`, and the projections to queries, keys and values
 * are one matrix, as are those to gate and up: that is how the kernels read them. Names are Hugging Face's; the joint
 * matrices have the names that Phi-3 gives them.
 */
export function parameterLayouts(config: TransformerConfig): ReadonlyArray<ParameterLayout> {
  switch (config.architecture) {
    case "gpt2":
    case "masked-lm":
      return gpt2(config);
    case "bert":
      return bert(config);
    default:
      return llama(config);
  }
}

/** Whether a parameter belongs to the head over the vocabulary alone, which a scalar model does without. */
export const predictsTokens = (name: string): boolean =>
  name === "lm_head.weight" || name.startsWith("cls.predictions.");

/** The head of a scalar model: BERT's has a pooler below it, and of the others `transformers` has no bias. */
export function scalarHeadLayouts(
  config: TransformerConfig,
  { prefix = "", pooler = config.architecture === "bert" } = {},
): ReadonlyArray<ParameterLayout> {
  const { architecture, width } = config;
  const bert = architecture === "bert";
  const name = `${prefix}${bert ? "classifier" : "score"}`;
  return [
    ...(pooler ? joined(poolerName, width, [[`${prefix}${poolerName}`, width]], true) : []),
    { ...asStored("score.weight", [width]), stored: asStored(`${name}.weight`, [1, width]).stored },
    { ...asStored("score.bias", []), stored: asStored(`${name}.bias`, [1]).stored, optional: !bert },
  ];
}

export const poolerName = "bert.pooler.dense";

/** A parameter that the file has as it is. */
export const asStored = (name: string, shape: Shape): ParameterLayout => ({
  name,
  shape,
  stored: [{ name, shape, transposed: false, start: 0 }],
});

/** The maps `parts`, by name and size of their output, side by side in one matrix; each is `[out, in]` in the file. */
function joined(
  name: string,
  from: number,
  parts: ReadonlyArray<readonly [name: string, to: number]>,
  bias: boolean,
): Array<ParameterLayout> {
  let to = 0;
  const starts = parts.map(([, size]) => {
    to += size;
    return to - size;
  });
  const stored = (suffix: string, shapeOf: (size: number) => Shape, transposed: boolean) =>
    parts.map(([part, size], i) => ({
      name: `${part}.${suffix}`,
      shape: shapeOf(size),
      transposed,
      start: starts[i]!,
    }));
  const weight = {
    name: `${name}.weight`,
    shape: [from, to],
    stored: stored("weight", (size) => [size, from], true),
  };
  if (!bias) return [weight];
  return [weight, { name: `${name}.bias`, shape: [to], stored: stored("bias", (size) => [size], false) }];
}

function gpt2({ width, vocabSize, contextLength, layers }: Gpt2Config): Array<ParameterLayout> {
  const map = (name: string, from: number, to: number) => [
    asStored(`${name}.weight`, [from, to]),
    asStored(`${name}.bias`, [to]),
  ];
  const norm = (name: string) => [asStored(`${name}.weight`, [width]), asStored(`${name}.bias`, [width])];
  return [
    asStored("transformer.wte.weight", [vocabSize, width]),
    asStored("transformer.wpe.weight", [contextLength, width]),
    ...blocks(layers, "transformer.h", (block) => [
      ...norm(`${block}.ln_1`),
      ...map(`${block}.attn.c_attn`, width, 3 * width),
      ...map(`${block}.attn.c_proj`, width, width),
      ...norm(`${block}.ln_2`),
      ...map(`${block}.mlp.c_fc`, width, 4 * width),
      ...map(`${block}.mlp.c_proj`, 4 * width, width),
    ]),
    ...norm("transformer.ln_f"),
  ];
}

function llama(config: LlamaConfig): Array<ParameterLayout> {
  const { architecture, vocabSize, layers, width, heads, kvHeads, headDim, innerWidth, tied } = config;
  return [
    asStored("model.embed_tokens.weight", [vocabSize, width]),
    ...blocks(layers, "model.layers", (block) => {
      const attention = `${block}.self_attn`;
      return [
        asStored(`${block}.input_layernorm.weight`, [width]),
        ...joined(
          `${attention}.qkv_proj`,
          width,
          [
            [`${attention}.q_proj`, heads * headDim],
            [`${attention}.k_proj`, kvHeads * headDim],
            [`${attention}.v_proj`, kvHeads * headDim],
          ],
          architecture === "qwen2",
        ),
        ...(architecture === "qwen3"
          ? [
              asStored(`${attention}.q_norm.weight`, [headDim]),
              asStored(`${attention}.k_norm.weight`, [headDim]),
            ]
          : []),
        ...joined(`${attention}.o_proj`, heads * headDim, [[`${attention}.o_proj`, width]], false),
        asStored(`${block}.post_attention_layernorm.weight`, [width]),
        ...joined(
          `${block}.mlp.gate_up_proj`,
          width,
          [
            [`${block}.mlp.gate_proj`, innerWidth],
            [`${block}.mlp.up_proj`, innerWidth],
          ],
          false,
        ),
        ...joined(`${block}.mlp.down_proj`, innerWidth, [[`${block}.mlp.down_proj`, width]], false),
      ];
    }),
    asStored("model.norm.weight", [width]),
    ...(tied ? [] : [asStored("lm_head.weight", [vocabSize, width])]),
  ];
}

function bert(config: BertConfig): Array<ParameterLayout> {
  const { vocabSize, contextLength, tokenTypes, layers, width, innerWidth } = config;
  const norm = (name: string) => [asStored(`${name}.weight`, [width]), asStored(`${name}.bias`, [width])];
  const map = (name: string, from: number, to: number) => joined(name, from, [[name, to]], true);
  const head = "cls.predictions";
  return [
    asStored("bert.embeddings.word_embeddings.weight", [vocabSize, width]),
    asStored("bert.embeddings.position_embeddings.weight", [contextLength, width]),
    asStored("bert.embeddings.token_type_embeddings.weight", [tokenTypes, width]),
    ...norm("bert.embeddings.LayerNorm"),
    ...blocks(layers, "bert.encoder.layer", (block) => {
      const attention = `${block}.attention.self`;
      return [
        ...joined(
          `${attention}.qkv_proj`,
          width,
          ["query", "key", "value"].map((part) => [`${attention}.${part}`, width] as const),
          true,
        ),
        ...map(`${block}.attention.output.dense`, width, width),
        ...norm(`${block}.attention.output.LayerNorm`),
        ...map(`${block}.intermediate.dense`, width, innerWidth),
        ...map(`${block}.output.dense`, innerWidth, width),
        ...norm(`${block}.output.LayerNorm`),
      ];
    }),
    ...map(`${head}.transform.dense`, width, width),
    ...norm(`${head}.transform.LayerNorm`),
    asStored(`${head}.bias`, [vocabSize]),
  ];
}

function blocks(
  layers: number,
  prefix: string,
  parametersOf: (block: string) => ReadonlyArray<ParameterLayout>,
): Array<ParameterLayout> {
  return Array.from({ length: layers }, (_, layer) => parametersOf(`${prefix}.${layer}`)).flat();
}
