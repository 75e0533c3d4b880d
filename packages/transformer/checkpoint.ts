import { CheckpointNotFound, VocabularyMismatch } from "@rlhf/core/errors";
import { makeFolder } from "@rlhf/core/make_folder";
import { checkpointFiles } from "@rlhf/hub/checkpoint_files";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Path from "effect/Path";
import {
  fromHuggingFace,
  KnownModel,
  schemaOf,
  type TokenRoles,
  toHuggingFace,
  upgraded,
} from "./_hugging_face.ts";
import { type ParameterLayout, parameterLayouts, predictsTokens, scalarHeadLayouts } from "./_layout.ts";
import { decodeJson, invalid, readJson, writeJson } from "./_problems.ts";
import { openWeights, readParameters, storedParameters, weightsName } from "./_weight_files.ts";
import { TransformerConfig } from "./config.ts";
import { isCausal } from "./is_causal.ts";
import type { Model, Params } from "./model.ts";
import { type ScalarModel, scalarModel } from "./scalar_head.ts";
import { writeTensors } from "./tensor_file.ts";

/** What a checkpoint keeps of the tokenizer. `Tokenizer` of `@rlhf/tokenizer` is one. */
export interface CheckpointTokenizer {
  readonly vocabSize: number;
  readonly specials: TokenRoles;
  readonly idToToken: (id: number) => string | undefined;
  /** The contents of `tokenizer.json`. */
  readonly toJSON: () => unknown;
}

const configName = "config.json";

/**
 * Writes a checkpoint that Python's `transformers` opens: `config.json` and `model.safetensors`, with a tokenizer also
 * `tokenizer.json`, `tokenizer_config.json` and, of a causal language model, `generation_config.json`. A
 * {@link ScalarModel} becomes a model for sequence classification with one label; its bias, but for BERT's, is the extra
 * tensor `score.bias` `[1]`, which `transformers` leaves out of its logits.
 *
 * Every file is written whole under a temporary name and then renamed, `config.json` last. Fails with
 * `VocabularyMismatch` when the tokenizer has more tokens than the model, and with `InvalidInput` for a model with an
 * adapter (`saveAdapter`) and where `transformers` has no such network.
 */
export const saveCheckpoint = Effect.fn("transformer.saveCheckpoint")(function* (
  folder: string,
  model: Model | ScalarModel,
  tokenizer?: CheckpointTokenizer,
) {
  const path = yield* Path.Path;
  const { config, params } = model;
  const scalar = "backbone" in model;
  if ((scalar ? model.backbone : model).adapter !== undefined) {
    return yield* invalid({
      where: folder,
      problem: "a model with an adapter is no checkpoint of its own",
      remedy:
        "Save the adapter with saveAdapter, or the whole model with saveCheckpoint(folder, mergeLora(model))",
    });
  }
  const described = toHuggingFace(config, scalar, tokenizer?.specials);
  if (described === null) {
    return yield* invalid({
      where: folder,
      problem: `a ${config.architecture} with a scalar head has no layout in transformers`,
      remedy: "Use a causal model as the backbone",
    });
  }
  yield* checkVocabulary(folder, config, tokenizer);
  yield* makeFolder(folder);
  yield* writeTensors(path.join(folder, weightsName), storedParameters(layoutsOf(config, scalar), params));
  if (tokenizer !== undefined) {
    const { specials } = tokenizer;
    yield* writeJson(path.join(folder, "tokenizer.json"), tokenizer.toJSON());
    yield* writeJson(
      path.join(folder, "tokenizer_config.json"),
      tokenizerConfig(tokenizer, config.contextLength),
    );
    if (!scalar && isCausal(config)) {
      const generation = {
        eos_token_id: specials.eos,
        pad_token_id: specials.pad,
        bos_token_id: specials.bos,
      };
      yield* writeJson(path.join(folder, "generation_config.json"), generation);
    }
  }
  yield* writeJson(path.join(folder, configName), described);
});

/**
 * Reads a language model in Hugging Face's layout: GPT-2, Llama, Qwen 2, Qwen 3 or BERT, in F32, F16 or BF16, in one
 * file or several. The numbers go block by block from the file to their place, so that little more than the model's own
 * size is needed. Free it with `disposeModel`.
 *
 * Fails with `CheckpointNotFound`, with `VocabularyMismatch` when a tokenizer is given that has more tokens, with
 * `InvalidInput` that lists everything wrong with the files: the tensor, the shape required and the shape found, and
 * with `HubError`. What the configuration forbids is found before the weights are fetched.
 *
 * @param place a folder, or a name on the Hub such as `openai-community/gpt2` or `Qwen/Qwen3-0.6B@main`
 */
export const loadCheckpoint = Effect.fn("transformer.loadCheckpoint")(function* (
  place: string,
  tokenizer?: Pick<CheckpointTokenizer, "vocabSize">,
) {
  const model: Model = yield* load(place, false, tokenizer);
  return model;
});

/** Reads a reward model or value network; fails as {@link loadCheckpoint} does. Free it with `disposeScalarModel`. */
export const loadScalarModel = Effect.fn("transformer.loadScalarModel")(function* (
  place: string,
  tokenizer?: Pick<CheckpointTokenizer, "vocabSize">,
) {
  const { config, params } = yield* load(place, true, tokenizer);
  return scalarModel({ config }, params);
});

const load = Effect.fnUntraced(function* (
  place: string,
  scalar: boolean,
  tokenizer: Pick<CheckpointTokenizer, "vocabSize"> | undefined,
) {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  const checkpoint = yield* checkpointFiles(place);
  const { folder } = checkpoint;
  const configPath = path.join(folder, configName);
  yield* checkpoint.fetch([configName]);
  if (!(yield* files.exists(configPath))) return yield* new CheckpointNotFound({ path: place });
  const remedy = "Use a checkpoint of GPT-2, Llama, Qwen 2, Qwen 3 or BERT with these settings";
  const json = upgraded(yield* readJson(configPath));
  const known = yield* decodeJson(KnownModel, configPath, json, remedy);
  const found = fromHuggingFace(yield* decodeJson(schemaOf(known), configPath, json, remedy));
  const config = yield* decodeJson(TransformerConfig, configPath, found.shape, remedy);
  if (found.scalar !== scalar) {
    return yield* invalid({
      where: configPath,
      problem: found.scalar
        ? "this is a scalar model, not a language model"
        : "this is a language model without scalar head",
      remedy: found.scalar ? "Load it with loadScalarModel" : "Load it with loadCheckpoint",
    });
  }
  yield* checkVocabulary(place, config, tokenizer);
  const params: Params = yield* Effect.scoped(
    Effect.flatMap(openWeights(checkpoint), (weights) =>
      readParameters(folder, weights, layoutsOf(config, scalar)),
    ),
  );
  return { config, params };
});

/** The parameters of a language model, or of a scalar model, which has a head in the place of the unembedding. */
function layoutsOf(config: TransformerConfig, scalar: boolean): ReadonlyArray<ParameterLayout> {
  const layouts = parameterLayouts(config);
  if (!scalar) return layouts;
  return [...layouts.filter(({ name }) => !predictsTokens(name)), ...scalarHeadLayouts(config)];
}

/** An embedding may have more rows than the tokenizer tokens: many are padded to a round number. */
function checkVocabulary(
  where: string,
  config: TransformerConfig,
  tokenizer: Pick<CheckpointTokenizer, "vocabSize"> | undefined,
): Effect.Effect<void, VocabularyMismatch> {
  return tokenizer === undefined || tokenizer.vocabSize <= config.vocabSize
    ? Effect.void
    : Effect.fail(new VocabularyMismatch({ where, expected: config.vocabSize, found: tokenizer.vocabSize }));
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
