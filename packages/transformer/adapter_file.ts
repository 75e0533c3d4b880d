import { CheckpointNotFound } from "@rlhf/core/errors";
import { checkpointFiles } from "@rlhf/hub/checkpoint_files";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Path from "effect/Path";
import * as Schema from "effect/Schema";
import { asStored, type ParameterLayout, scalarHeadLayouts } from "./_layout.ts";
import { decodeJson, invalid, readJson, writeJson } from "./_problems.ts";
import { readParameters, storedParameters } from "./_weight_files.ts";
import { isCausal } from "./config.ts";
import { LoraConfig, loraShapes } from "./lora.ts";
import type { Model } from "./model.ts";
import { type ScalarModel, scalarModel } from "./scalar_head.ts";
import { openTensors, writeTensors } from "./tensor_file.ts";

const configName = "adapter_config.json";
const weightsName = "adapter_model.safetensors";

const off = Schema.optionalKey(Schema.NullOr(Schema.Literals([false, "none"])));
const nothing = Schema.optionalKey(
  Schema.NullOr(Schema.Record(Schema.String, Schema.Unknown)).check(
    Schema.makeFilter((value) => value === null || Object.keys(value).length === 0 || "is not implemented"),
  ),
);

/** What an `adapter_config.json` of PEFT says. Variants of LoRA that compute something else are refused. */
const PeftConfig = Schema.Struct({
  peft_type: Schema.Literal("LORA"),
  task_type: Schema.optionalKey(Schema.NullOr(Schema.String)),
  r: LoraConfig.fields.rank,
  lora_alpha: LoraConfig.fields.alpha,
  lora_dropout: LoraConfig.fields.dropout,
  target_modules: LoraConfig.fields.targetModules,
  bias: off,
  use_dora: off,
  use_rslora: off,
  use_qalora: off,
  use_bdlora: off,
  lora_bias: off,
  rank_pattern: nothing,
  alpha_pattern: nothing,
  exclude_modules: nothing,
  layers_to_transform: nothing,
  layer_replication: nothing,
  target_parameters: nothing,
  trainable_token_indices: nothing,
  alora_invocation_tokens: nothing,
  modules_to_save: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.Literal("score")))),
});

/**
 * Writes a model's adapter as PEFT does: `adapter_config.json` and `adapter_model.safetensors`, with the scalar head of
 * a reward model among its tensors. Fails with `InvalidInput` when the model has no adapter.
 *
 * @param base what PEFT is to load below it: a name on the Hub or a folder
 */
export const saveAdapter = Effect.fn("transformer.saveAdapter")(function* (
  folder: string,
  model: Model | ScalarModel,
  base: string,
) {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  const scalar = "backbone" in model;
  const { config, adapter } = scalar ? model.backbone : model;
  if (adapter === undefined) {
    return yield* invalid({
      where: folder,
      problem: "the model has no adapter",
      remedy: "Put one on it with addLora, or save the whole model with saveCheckpoint",
    });
  }
  const { rank, alpha, dropout, targetModules } = adapter.lora;
  yield* files.makeDirectory(folder, { recursive: true });
  const sources = storedParameters(adapterLayouts(scalar ? model.backbone : model, scalar), model.params);
  yield* writeTensors(path.join(folder, weightsName), sources);
  yield* writeJson(path.join(folder, configName), {
    peft_type: "LORA",
    task_type: scalar ? "SEQ_CLS" : isCausal(config) ? "CAUSAL_LM" : null,
    base_model_name_or_path: base,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: dropout,
    target_modules: targetModules,
    modules_to_save: scalar ? ["score"] : null,
    // GPT-2's maps are stored [in, out].
    fan_in_fan_out: config.architecture === "gpt2" || config.architecture === "masked-lm",
    bias: "none",
    inference_mode: true,
  } satisfies typeof PeftConfig.Type & Record<string, unknown>);
});

/**
 * Puts an adapter that PEFT or `saveAdapter` wrote on a model, which it does not change. Fails with
 * `CheckpointNotFound`, with `InvalidInput` that lists every tensor that does not fit, and with `HubError`.
 *
 * @param place a folder or a name on the Hub
 */
export const loadAdapter = Effect.fn("transformer.loadAdapter")(function* (place: string, base: Model) {
  const { folder, lora } = yield* readConfig(place);
  const model: Model = { config: base.config, params: {}, adapter: { lora, base: base.params } };
  const params = yield* readTensors(folder, model, false);
  return { ...model, params } satisfies Model;
});

/** The same for a reward model: adapter and scalar head. */
export const loadScalarAdapter = Effect.fn("transformer.loadScalarAdapter")(function* (
  place: string,
  base: Model,
) {
  const { folder, lora } = yield* readConfig(place);
  const backbone: Model = { config: base.config, params: {}, adapter: { lora, base: base.params } };
  return scalarModel(backbone, yield* readTensors(folder, backbone, true));
});

const readConfig = Effect.fnUntraced(function* (place: string) {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  const { folder, fetch } = yield* checkpointFiles(place);
  yield* fetch([configName, weightsName]);
  const file = path.join(folder, configName);
  if (!(yield* files.exists(file))) return yield* new CheckpointNotFound({ path: place });
  const remedy = "Only plain LoRA is implemented: train the adapter without this setting";
  const found = yield* decodeJson(PeftConfig, file, yield* readJson(file), remedy);
  const { r: rank, lora_alpha: alpha, lora_dropout: dropout, target_modules: targetModules } = found;
  return { folder, lora: { rank, alpha, dropout, targetModules } satisfies LoraConfig };
});

const readTensors = Effect.fnUntraced(function* (folder: string, model: Model, scalar: boolean) {
  const path = yield* Path.Path;
  const layouts = yield* Effect.try({
    try: () => adapterLayouts(model, scalar),
    catch: (error) =>
      invalid({
        where: path.join(folder, configName),
        problem: (error as Error).message,
        remedy: "Load the model that the adapter was trained on",
      }),
  });
  const file = path.join(folder, weightsName);
  return yield* Effect.scoped(
    Effect.flatMap(openTensors(file), (weights) => readParameters(folder, [weights], layouts)),
  );
});

/** The tensors of an adapter, and of the scalar head above it. */
function adapterLayouts({ config, adapter }: Model, scalar: boolean): ReadonlyArray<ParameterLayout> {
  const lora = Object.entries(loraShapes(config, adapter!.lora)).map(([name, shape]) =>
    asStored(name, shape),
  );
  return scalar ? [...lora, ...scalarHeadLayouts(config, "base_model.model.")] : lora;
}
