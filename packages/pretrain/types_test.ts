import type { Progress } from "@rlhf/core/progress";
import { RunFolder } from "@rlhf/core/run_folder";
import type { Model } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { expect, it } from "vitest";
import { crossEntropy } from "./cross_entropy.ts";
import { type PretrainInput, pretrain } from "./train.ts";
import { type PretrainMaskedInput, pretrainMasked } from "./train_masked.ts";

/** What is left to provide once nothing but progress and the run folder is missing. */
type Ready<A, E> = Effect.Effect<A, E, Progress | RunFolder>;

it("is a compile error to leave a service out, or to pass another kind of record", () => {
  const check = (input: PretrainInput, masked: PretrainMaskedInput) => {
    const complete: Ready<{ readonly model: Model }, unknown> = pretrain(input);
    // @ts-expect-error no Progress
    const unwatched: Effect.Effect<unknown, unknown> = Effect.provide(pretrain(input), RunFolder.layerMemory);
    // @ts-expect-error text has to be encoded first
    const unencoded = pretrain({ ...input, tokens: "Once upon a time" });
    // @ts-expect-error the mask token is missing
    const unmasked = pretrainMasked({ ...input, sequences: masked.sequences });
    // @ts-expect-error rows of tokens have to be put into batches first
    const unbatched = crossEntropy(input.model, masked.sequences);
    return { complete, unwatched, unencoded, unmasked, unbatched };
  };
  expect(check).toBeTypeOf("function");
});
