import { Count, CountOrZero, Positive } from "@rlhf/core/setting";
import { checkpointFiles } from "@rlhf/hub/checkpoint_files";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Path from "effect/Path";
import * as Schema from "effect/Schema";
import { decodeJson, readJson } from "./_problems.ts";

/** The settings of `generate` that a checkpoint recommends; those it is silent about are missing. */
export interface GenerationSettings {
  readonly eos?: ReadonlyArray<number>;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly repetitionPenalty?: number;
}

const optional = <S extends Schema.Top>(schema: S) => Schema.optionalKey(Schema.NullOr(schema));

const GenerationFile = Schema.Struct({
  eos_token_id: optional(Schema.Union([CountOrZero, Schema.Array(CountOrZero)])),
  do_sample: optional(Schema.Boolean),
  temperature: optional(Positive),
  top_k: optional(CountOrZero),
  top_p: optional(Positive.check(Schema.isLessThanOrEqualTo(1))),
  repetition_penalty: optional(Positive),
  num_beams: optional(Count.check(Schema.isLessThanOrEqualTo(1))),
});

const generationName = "generation_config.json";

/**
 * Reads the `generation_config.json` of a checkpoint, in a folder or on the Hub. As in `transformers`,
 * `do_sample: false` or its absence means greedy decoding: `topK` 1. Without the file nothing is recommended. Fails
 * with `InvalidInput` when it is corrupt or asks for beams, and with `HubError`.
 */
export const loadGenerationSettings = Effect.fn("transformer.loadGenerationSettings")(function* (
  place: string,
) {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  const { folder, fetch } = yield* checkpointFiles(place);
  yield* fetch([generationName]);
  const file = path.join(folder, generationName);
  const none: GenerationSettings = {};
  if (!(yield* files.exists(file))) return none;
  const found = yield* decodeJson(GenerationFile, file, yield* readJson(file), "Mend or remove the file");
  const { eos_token_id: eos, repetition_penalty: repetitionPenalty } = found;
  const settings: GenerationSettings = {
    ...(eos != null && { eos: typeof eos === "number" ? [eos] : eos }),
    ...(repetitionPenalty != null && { repetitionPenalty }),
    ...(found.do_sample === true
      ? {
          ...(found.temperature != null && { temperature: found.temperature }),
          ...(found.top_k != null && { topK: found.top_k }),
          ...(found.top_p != null && { topP: found.top_p }),
        }
      : { topK: 1 }),
  };
  return settings;
});
