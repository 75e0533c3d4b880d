import { CheckpointNotFound } from "@rlhf/core/errors";
import { makeFolder } from "@rlhf/core/make_folder";
import { checkpointFiles } from "@rlhf/hub/checkpoint_files";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Path from "effect/Path";
import * as Schema from "effect/Schema";
import { hasPooler } from "./_bert.ts";
import { asStored, type ParameterLayout, poolerName, scalarHeadLayouts } from "./_layout.ts";
import { decodeJson, invalid, readJson, writeJson } from "./_problems.ts";
import { readParameters, storedParameters } from "./_weight_files.ts";
import type { TransformerConfig } from "./config.ts";
import { isCausal } from "./is_causal.ts";
import { loraShapes } from "./lora.ts";
import { LoraConfig } from "./lora_config.ts";
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
  modules_to_save: Schema.optionalKey(
    Schema.NullOr(Schema.Array(Schema.Literals(["score", "classifier", "pooler"]))),
  ),
});

/**
 * Writes a model's adapter as PEFT does: `adapter_config.json` and `adapter_model.safetensors`, with the scalar head of
 * a reward model, and BERT's pooler where it is trained, among its tensors. Fails with `InvalidInput` when the model has no adapter.
 *
 * @param base what PEFT is to load below it: a name on the Hub or a folder
 */
export const saveAdapter = Effect.fn("transformer.saveAdapter")(function* (
  folder: string,
  model: Model | ScalarModel,
  base: string,
) {
  const path = yield* Path.Path;
  const scalar = "backbone" in model;
  const backbone = scalar ? model.backbone : model;
  const { config, adapter } = backbone;
  if (adapter === undefined) {
    return yield* invalid({
      where: folder,
      problem: "the model has no adapter",
      remedy: "Put one on it with addLora, or save the whole model with saveCheckpoint",
    });
  }
  const { rank, alpha, dropout, targetModules } = adapter.lora;
  yield* makeFolder(folder);
  const pooler = `${poolerName}.weight` in model.params;
  const layouts = [...loraLayouts(backbone), ...(scalar ? headLayouts(config, pooler) : [])];
  const sources = storedParameters(layouts, model.params);
  yield* writeTensors(path.join(folder, weightsName), sources);
  yield* writeJson(path.join(folder, configName), {
    peft_type: "LORA",
    task_type: scalar ? "SEQ_CLS" : isCausal(config) ? "CAUSAL_LM" : null,
    base_model_name_or_path: base,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: dropout,
    target_modules: targetModules,
    modules_to_save: scalar ? headModules(config, pooler) : null,
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
  const params = yield* readTensors(folder, model, []);
  return { ...model, params } satisfies Model;
});

/**
 * The same for a reward model: adapter and scalar head. Below that of a BERT whose pooler is not among its tensors, as PEFT
 * leaves it, lies the backbone of the classifier that it was trained on.
 */
export const loadScalarAdapter = Effect.fn("transformer.loadScalarAdapter")(function* (
  place: string,
  base: Model,
) {
  const { folder, lora, saved } = yield* readConfig(place);
  const { config } = base;
  const backbone: Model = { config, params: {}, adapter: { lora, base: base.params } };
  const pooler = saved.includes("pooler");
  if (config.architecture === "bert" && !pooler && !hasPooler(base)) {
    return yield* invalid({
      where: folder,
      problem: "neither the adapter nor the model below it has BERT's pooler",
      remedy: "Load the classifier that it was trained on (loadScalarModel), and give its backbone",
    });
  }
  return scalarModel(backbone, yield* readTensors(folder, backbone, headLayouts(config, pooler)));
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
  const lora: LoraConfig = { rank, alpha, dropout, targetModules };
  return { folder, lora, saved: found.modules_to_save ?? [] };
});

const readTensors = Effect.fnUntraced(function* (
  folder: string,
  model: Model,
  head: ReadonlyArray<ParameterLayout>,
) {
  const path = yield* Path.Path;
  const layouts = yield* Effect.try({
    try: () => [...loraLayouts(model), ...head],
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

function loraLayouts({ config, adapter }: Model): ReadonlyArray<ParameterLayout> {
  return Object.entries(loraShapes(config, adapter!.lora)).map(([name, shape]) => asStored(name, shape));
}

/** What a reward model trains besides. */
function headLayouts(config: TransformerConfig, pooler: boolean): ReadonlyArray<ParameterLayout> {
  return scalarHeadLayouts(config, { prefix: "base_model.model.", pooler });
}

/** PEFT's names of the same. */
function headModules(config: TransformerConfig, pooler: boolean): Array<"score" | "classifier" | "pooler"> {
  if (config.architecture !== "bert") return ["score"];
  return pooler ? ["classifier", "pooler"] : ["classifier"];
}
