import { RunFolder } from "@rlhf/core";
import type { RewardModel } from "@rlhf/reward";
import type { Tokenizer } from "@rlhf/tokenizer";
import {
  loadAdapter,
  loadCheckpoint,
  type Model,
  saveAdapter,
  saveCheckpoint,
  withoutAdapter,
} from "@rlhf/transformer";
import { Effect } from "effect";
import type { Comparisons } from "./comparisons.ts";

/**
 * A checkpoint in the run folder, in Hugging Face's layout with its tokenizer; an adapter in PEFT's, which belongs on the
 * checkpoint `base`.
 */
export const save = Effect.fn("save")(function* (
  name: string,
  model: Model | RewardModel,
  tokenizer: Tokenizer,
) {
  const folder = yield* RunFolder;
  const path = folder.file(`checkpoints/${name}`);
  const { adapter } = "backbone" in model ? model.backbone : model;
  yield* adapter === undefined
    ? saveCheckpoint(path, model, tokenizer)
    : saveAdapter(path, model, folder.file("checkpoints/base"));
});

/** The supervised model after each epoch, to be read when it is wanted, as {@link save} has written it under `sft-<epoch>`. */
export const loadEpochs = (count: number, base: Model, tokenizer: Tokenizer) =>
  Array.from({ length: count }, (_, i) =>
    Effect.gen(function* () {
      const folder = yield* RunFolder;
      const path = folder.file(`checkpoints/sft-${i + 1}`);
      return yield* base.adapter === undefined
        ? loadCheckpoint(path, tokenizer)
        : loadAdapter(path, withoutAdapter(base));
    }),
  );

/** The rankings as text, in the form in which `--comparisons` reads them. */
export const saveComparisons = Effect.fn("saveComparisons")(function* (
  round: number,
  { texts }: Comparisons,
) {
  const folder = yield* RunFolder;
  yield* folder.writeText(
    `comparisons-${round}.jsonl`,
    texts.map((ranking) => `${JSON.stringify(ranking)}\n`).join(""),
  );
});
