import { RunFolder } from "@rlhf/core";
import type { RewardModel } from "@rlhf/reward";
import type { Tokenizer } from "@rlhf/tokenizer";
import { loadCheckpoint, type Model, saveCheckpoint } from "@rlhf/transformer";
import { Effect } from "effect";
import type { Comparisons } from "./comparisons.ts";

/** A checkpoint in the run folder, in Hugging Face's layout, with its tokenizer. */
export const save = Effect.fn("save")(function* (
  name: string,
  model: Model | RewardModel,
  tokenizer: Tokenizer,
) {
  const folder = yield* RunFolder;
  yield* saveCheckpoint(folder.file(`checkpoints/${name}`), model, tokenizer);
});

/** The supervised model after each epoch, as {@link save} has written it under `sft-<epoch>`. */
export const loadEpochs = Effect.fn("loadEpochs")(function* (count: number, tokenizer: Tokenizer) {
  const folder = yield* RunFolder;
  return yield* Effect.forEach(
    Array.from({ length: count }, (_, i) => i + 1),
    (epoch) => loadCheckpoint(folder.file(`checkpoints/sft-${epoch}`), tokenizer),
  );
});

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
