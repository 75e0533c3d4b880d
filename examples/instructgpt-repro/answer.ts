import { type Key, Progress, type Tokens } from "@rlhf/core";
import { type Generation, generate, type Model } from "@rlhf/transformer";
import { Effect } from "effect";
import type { Setting } from "./setting.ts";

/** Sequences in the key–value cache at once. */
const slots = 64;

/** Has a model answer prompts, and shows how far it is. */
export const answer = Effect.fn("answer")(function* (
  { config, tokenizer }: Pick<Setting, "config" | "tokenizer">,
  input: {
    /** What progress calls it. */
    readonly stage: string;
    readonly model: Model;
    readonly prompts: ReadonlyArray<Tokens>;
    readonly temperature: number;
    readonly key: Key;
  },
) {
  const { stage, ...sampling } = input;
  const { publish } = yield* Progress;
  const total = input.prompts.length;
  let tokens = 0;
  let done = 0;
  yield* publish({ _tag: "Started", stage, total, unit: "answers" });
  const watch = Effect.gen(function* () {
    while (true) {
      yield* Effect.sleep("1 second");
      yield* publish({ _tag: "Step", stage, step: done, total, metrics: {}, tokens });
      tokens = 0;
    }
  });
  const work = Effect.promise((signal) =>
    generate(input.model, {
      ...sampling,
      maxNewTokens: config.ppo.maxNewTokens,
      eos: tokenizer.specials.eos,
      slots,
      onTokens: (sampled) => {
        tokens += sampled.length;
        done += sampled.filter(({ token }) => token === tokenizer.specials.eos).length;
      },
      signal,
    }),
  );
  const answers: ReadonlyArray<Generation> = yield* Effect.raceFirst(work, watch);
  const finished = answers.filter((one) => one.finished).length / total;
  yield* publish({ _tag: "Finished", stage, metrics: { "ended by themselves": finished } });
  return answers;
});
