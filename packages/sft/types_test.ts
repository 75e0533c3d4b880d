import type { Progress } from "@rlhf/core/progress";
import type { EncodedPrompt, EncodedRanking } from "@rlhf/core/records";
import { RunFolder } from "@rlhf/core/run_folder";
import type { Model } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { expect, it } from "vitest";
import { type FinetuneInput, finetune } from "./train.ts";

/** What is left to provide once nothing but progress and the run folder is missing. */
type Ready<A, E> = Effect.Effect<A, E, Progress | RunFolder>;

it("is a compile error to leave a service out, or to pass another kind of record", () => {
  const check = (
    input: FinetuneInput,
    prompts: ReadonlyArray<EncodedPrompt>,
    rankings: ReadonlyArray<EncodedRanking>,
    score: (model: Model) => Effect.Effect<number, "busy">,
  ) => {
    const complete: Ready<{ readonly model: Model }, unknown> = finetune(input);
    // @ts-expect-error no Progress
    const unwatched: Effect.Effect<unknown, unknown> = Effect.provide(finetune(input), RunFolder.layerMemory);
    // @ts-expect-error prompts have no response
    const unanswered = finetune({ ...input, demonstrations: prompts });
    // @ts-expect-error rankings have several responses
    const ranked = finetune({ ...input, validation: rankings });
    // @ts-expect-error the score's own failure is not among those that a stage without a score has
    const unscored: ReturnType<typeof finetune<never, never>> = finetune({ ...input, score });
    return { complete, unwatched, unanswered, ranked, unscored };
  };
  expect(check).toBeTypeOf("function");
});
