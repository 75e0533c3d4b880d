import { CheckpointNotFound, InvalidInput, type Problem, VocabularyMismatch } from "@rlhf/core/errors";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Path from "effect/Path";
import * as Schema from "effect/Schema";
import * as SchemaIssue from "effect/SchemaIssue";
import { fromHuggingFace, HuggingFaceConfig, type TokenRoles, toHuggingFace } from "./_hugging_face.ts";
import { TransformerConfig } from "./config.ts";
import type { Model } from "./model.ts";
import { parameterShapes } from "./parameters.ts";
import type { StoredTensor } from "./safetensors.ts";
import { type ScalarModel, scalarModel } from "./scalar_head.ts";
import { loadTensors, saveTensors } from "./tensor_file.ts";

/** What a checkpoint keeps of the tokenizer. `Tokenizer` of `@rlhf/tokenizer` is one. */
export interface CheckpointTokenizer {
  readonly vocabSize: number;
  readonly specials: TokenRoles;
  readonly idToToken: (id: number) => string | undefined;
  /** The contents of `tokenizer.json`. */
  readonly toJSON: () => unknown;
}

const configName = "config.json";
const weightsName = "model.safetensors";

/**
 * Writes a checkpoint that Python's `transformers` opens: `config.json` and `model.safetensors`, with a tokenizer also
 * `tokenizer.json` and `tokenizer_config.json`. A {@link ScalarModel} becomes a `GPT2ForSequenceClassification` with
 * one label; its bias is the extra tensor `score.bias` `[1]`, which `transformers` leaves out of its logits.
 *
 * Every file is written whole under a temporary name and then renamed, `config.json` last. Fails with
 * `VocabularyMismatch` when model and tokenizer differ in size.
 */
export const saveCheckpoint = Effect.fn("transformer.saveCheckpoint")(function* (
  folder: string,
  model: Model | ScalarModel,
  tokenizer?: CheckpointTokenizer,
) {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  const scalar = "head" in model;
  const writeJson = Effect.fnUntraced(function* (name: string, value: unknown) {
    const target = path.join(folder, name);
    yield* files.writeFileString(`${target}.partial`, `${JSON.stringify(value, null, 2)}\n`);
    yield* files.rename(`${target}.partial`, target);
  });

  yield* checkVocabulary(folder, model.config, tokenizer);
  yield* files.makeDirectory(folder, { recursive: true });
  const { "score.weight": weight, "score.bias": bias, ...backbone } = model.params;
  const head = scalar
    ? { "score.weight": tf.reshape(weight!, [1, -1]), "score.bias": tf.reshape(bias!, [1]) }
    : {};
  yield* saveTensors(path.join(folder, weightsName), { ...backbone, ...head }).pipe(
    Effect.ensuring(Effect.sync(() => tf.dispose(head))),
  );
  if (tokenizer !== undefined) {
    yield* writeJson("tokenizer.json", tokenizer.toJSON());
    yield* writeJson("tokenizer_config.json", tokenizerConfig(tokenizer, model.config.contextLength));
  }
  yield* writeJson(configName, toHuggingFace(model.config, scalar, tokenizer?.specials));
});

/**
 * Reads a language model from a folder in Hugging Face's GPT-2 layout. Free it with `disposeModel`.
 *
 * Fails with `CheckpointNotFound`, with `VocabularyMismatch` when a tokenizer is given that does not fit, and with
 * `InvalidInput` that lists everything wrong with the files: the tensor, the shape required and the shape found.
 */
export const loadCheckpoint = Effect.fn("transformer.loadCheckpoint")(function* (
  folder: string,
  tokenizer?: Pick<CheckpointTokenizer, "vocabSize">,
) {
  const { config, params } = yield* load(folder, false, tokenizer);
  const model: Model = { config, params };
  return model;
});

/** Reads a reward model or value network; fails as {@link loadCheckpoint} does. Free it with `disposeScalarModel`. */
export const loadScalarModel = Effect.fn("transformer.loadScalarModel")(function* (
  folder: string,
  tokenizer?: Pick<CheckpointTokenizer, "vocabSize">,
) {
  const { config, params } = yield* load(folder, true, tokenizer);
  return scalarModel(config, params);
});

const load = Effect.fnUntraced(function* (
  folder: string,
  scalar: boolean,
  tokenizer: Pick<CheckpointTokenizer, "vocabSize"> | undefined,
) {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  const configPath = path.join(folder, configName);
  const weightsPath = path.join(folder, weightsName);
  for (const file of [configPath, weightsPath]) {
    if (!(yield* files.exists(file))) return yield* new CheckpointNotFound({ path: folder });
  }
  const found = fromHuggingFace(
    yield* decodeConfig(HuggingFaceConfig, configPath, yield* readJson(configPath)),
  );
  const config = yield* decodeConfig(TransformerConfig, configPath, found.shape);
  if (found.scalar !== scalar) {
    return yield* invalid({
      where: configPath,
      problem: found.scalar
        ? "this is a scalar model, not a language model"
        : "this is a language model without scalar head",
      remedy: found.scalar ? "Load it with loadScalarModel" : "Load it with loadCheckpoint",
    });
  }
  yield* checkVocabulary(folder, config, tokenizer);

  const shapes: Record<string, ReadonlyArray<number>> = {
    ...parameterShapes(config),
    ...(scalar ? { "score.weight": [1, config.width] } : {}),
  };
  const stored = yield* loadTensors(weightsPath);
  const tensors = yield* matchTensors(weightsPath, stored, shapes);
  const params: Record<string, tf.Variable> = {};
  for (const [name, values] of Object.entries(tensors)) {
    params[name] = variable(values, name === "score.weight" ? [config.width] : shapes[name]!);
  }
  if (scalar) params["score.bias"] = variable(stored["score.bias"]?.values ?? new Float32Array(1), []);
  return { config, params };
});

/** The values of every tensor that the model needs, or all that is wrong with them. */
function matchTensors(
  file: string,
  stored: Readonly<Record<string, StoredTensor>>,
  shapes: Readonly<Record<string, ReadonlyArray<number>>>,
): Effect.Effect<Record<string, Float32Array>, InvalidInput> {
  const problems: Array<Problem> = [];
  const values: Record<string, Float32Array> = {};
  for (const [name, shape] of Object.entries(shapes)) {
    // The files of the original GPT-2 leave the prefix out.
    const tensor = stored[name] ?? stored[name.replace("transformer.", "")];
    if (tensor?.values instanceof Float32Array && tf.util.arraysEqual([...tensor.shape], [...shape])) {
      values[name] = tensor.values;
    } else {
      const given = tensor === undefined ? "no such tensor" : `shape [${tensor.shape}]`;
      problems.push({
        where: `${file}: ${name}`,
        problem: `floating-point numbers of shape [${shape}] are required, found ${given}`,
        remedy: `Check that ${configName} belongs to this file`,
      });
    }
  }
  return problems.length > 0 ? Effect.fail(new InvalidInput({ problems })) : Effect.succeed(values);
}

function checkVocabulary(
  where: string,
  config: TransformerConfig,
  tokenizer: Pick<CheckpointTokenizer, "vocabSize"> | undefined,
): Effect.Effect<void, VocabularyMismatch> {
  return tokenizer === undefined || tokenizer.vocabSize === config.vocabSize
    ? Effect.void
    : Effect.fail(new VocabularyMismatch({ where, expected: config.vocabSize, found: tokenizer.vocabSize }));
}

const readJson = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem.FileSystem;
  const text = yield* files.readFileString(path);
  return yield* Effect.try({
    try: () => JSON.parse(text) as unknown,
    catch: (error) =>
      new InvalidInput({
        problems: [
          { where: path, problem: (error as Error).message, remedy: "Copy or download the file again" },
        ],
      }),
  });
});

function decodeConfig<T, E>(
  schema: Schema.Codec<T, E>,
  where: string,
  value: unknown,
): Effect.Effect<T, InvalidInput> {
  return Schema.decodeUnknownEffect(schema)(value, { errors: "all" }).pipe(
    Effect.mapError(
      ({ issue }) =>
        new InvalidInput({
          problems: SchemaIssue.makeFormatterStandardSchemaV1()(issue).issues.map(
            ({ path = [], message }) => ({
              where: [where, ...path.map(String)].join(": "),
              problem: message,
              remedy: "Use a checkpoint with GPT-2's own settings",
            }),
          ),
        }),
    ),
  );
}

function invalid(problem: Problem): InvalidInput {
  return new InvalidInput({ problems: [problem] });
}

function variable(values: StoredTensor["values"], shape: ReadonlyArray<number>): tf.Variable {
  return tf.tidy(() => tf.variable(tf.tensor(values, [...shape], "float32")));
}

function tokenizerConfig({ specials, idToToken }: CheckpointTokenizer, contextLength: number) {
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    model_max_length: contextLength,
    eos_token: idToToken(specials.eos),
    pad_token: idToToken(specials.pad),
    bos_token: specials.bos === undefined ? undefined : idToToken(specials.bos),
  };
}
