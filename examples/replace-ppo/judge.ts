import { readFile } from "node:fs/promises";
import { fold, key, type MetricsRow, RunFolder } from "@rlhf/core";
import { distinct } from "@rlhf/eval";
import { words } from "@rlhf/labeler";
import { disposeModel, loadCheckpoint, type Model } from "@rlhf/transformer";
import { Effect, FileSystem } from "effect";
import { answer } from "../instructgpt-repro/answer.ts";
import type { Config } from "../instructgpt-repro/config.ts";
import { heldOutWinRate } from "../instructgpt-repro/judges.ts";
import type { Cost } from "./cost.ts";
import { klTo } from "./kl_to.ts";
import type { OpenRun } from "./open_run.ts";

/** What a policy of one seed answered. */
interface Answered {
  readonly seed: number;
  readonly texts: ReadonlyArray<string>;
  /** Mean tokens of an answer, end of sequence included. */
  readonly length: number;
}

/** Judges of one run: the same prompts, labellers and random numbers for every optimizer. */
export function judges(run: OpenRun, config: Config) {
  const { encoded, tokenizer, policy, labelers } = run;
  const asked = encoded.evaluation;
  const { temperature, resamples } = config.evaluation;

  const answerAll = Effect.fnUntraced(function* (name: string, model: Model, seed: number) {
    const answers = yield* answer(
      { config, tokenizer },
      {
        stage: `answers of ${name}, seed ${seed}`,
        model,
        prompts: asked.map(({ tokens }) => tokens),
        temperature,
        key: fold(key(seed), "answers"),
      },
    );
    const texts = answers.map(({ tokens }) => tokenizer.decode(tokens, { skipSpecial: true }).trim());
    return { seed, texts, length: mean(answers.map(({ tokens }) => tokens.length)) } satisfies Answered;
  });

  /** What is told of answers over all seeds. Diversity falls with the amount of text, so each seed has its own. */
  const describe = (answered: ReadonlyArray<Answered>) => ({
    length: mean(answered.map(({ length }) => length)),
    words: mean(answered.flatMap(({ texts }) => texts.map((text) => words(text).length))),
    distinct2: mean(answered.map(({ texts }) => distinct(texts.map(words), 2))),
    distinctAnswers: mean(answered.map(({ texts }) => new Set(texts).size / texts.length)),
  });

  /** The supervised policy that everyone started from, which all others are compared with. */
  const judgeStart = Effect.fnUntraced(function* (seeds: ReadonlyArray<number>) {
    const answered = yield* Effect.forEach(seeds, (seed) => answerAll("sft", policy, seed));
    return { answered, ...describe(answered) };
  });

  /** What the processes of one optimizer left, over those of its seeds that went through. */
  const judgeOptimizer = Effect.fnUntraced(function* (
    name: string,
    seeds: ReadonlyArray<number>,
    baseline: ReadonlyArray<Answered>,
  ) {
    const folder = yield* RunFolder;
    const files = yield* FileSystem.FileSystem;
    const runs = yield* Effect.forEach(
      seeds,
      Effect.fnUntraced(function* (seed) {
        const own = folder.file(`${name}-seed${seed}`);
        const model = yield* loadCheckpoint(`${own}/checkpoints/policy`, tokenizer);
        const answered = yield* answerAll(name, model, seed);
        const measuring = { policy: model, reference: policy, prompts: asked, tokenizer, config };
        const kl = yield* klTo({ ...measuring, key: fold(key(seed), "kl") });
        disposeModel(model);
        const cost: Cost = JSON.parse(yield* files.readFileString(`${own}/cost.json`));
        return { ...answered, ...cost, kl };
      }),
    );
    const compare = (own: ReadonlyArray<Answered>, draws: number) => {
      const against = own.map(({ seed }) => baseline.find((one) => one.seed === seed)!);
      return heldOutWinRate({
        prompts: own.flatMap(() => asked.map(({ prompt }) => prompt)),
        answers: { model: name, texts: own.flatMap(({ texts }) => texts) },
        baseline: { model: "sft", texts: against.flatMap(({ texts }) => texts) },
        labelers: labelers.heldOut,
        key: fold(key(config.seed), name),
        resamples: draws,
      });
    };
    const winRate = yield* compare(runs, resamples);
    const bySeed = yield* Effect.forEach(runs, (one) => compare([one], 1)); // only its value is shown
    return {
      name,
      runs,
      winRate,
      ...describe(runs),
      winRateBySeed: bySeed.map(({ rate }) => rate.value),
      kl: mean(runs.map(({ kl }) => kl)),
      seconds: mean(runs.map(({ seconds }) => seconds)),
      cpuSeconds: mean(runs.map(({ cpuSeconds }) => cpuSeconds)),
      peakMebibytes: Math.max(...runs.map(({ peakMebibytes }) => peakMebibytes)),
      curves: yield* curves(name, seeds[0]!),
    };
  });
  return { judgeStart, judgeOptimizer };
}
export type Judged = Effect.Success<ReturnType<ReturnType<typeof judges>["judgeOptimizer"]>>;
export type Start = Effect.Success<ReturnType<ReturnType<typeof judges>["judgeStart"]>>;

/** The rows of training that have a KL, under the optimizer's name. */
const curves = Effect.fnUntraced(function* (name: string, seed: number) {
  const folder = yield* RunFolder;
  const lines = yield* Effect.promise(() =>
    readFile(folder.file(`${name}-seed${seed}/metrics.jsonl`), "utf8"),
  );
  return lines
    .trim()
    .split("\n")
    .map((line): MetricsRow => JSON.parse(line))
    .filter(({ kl }) => kl !== undefined)
    .map((row): MetricsRow => ({ ...row, stage: name }));
});

function mean(values: ReadonlyArray<number>): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
