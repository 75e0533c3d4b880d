import { fold, InvalidInput, key } from "@rlhf/core";
import { readRankings } from "@rlhf/data";
import { loadTokenizer, tokenizerFromJson, trainBpe } from "@rlhf/tokenizer";
import { initModel, loadCheckpoint } from "@rlhf/transformer";
import { Effect, FileSystem, Schema } from "effect";
import { labelersOf } from "../instructgpt-repro/comparisons.ts";
import { Config } from "../instructgpt-repro/config.ts";
import { loadData } from "../instructgpt-repro/data.ts";
import { encodeData } from "../instructgpt-repro/encode.ts";
import type { Setting } from "../instructgpt-repro/setting.ts";

const needed = ["config.json", "comparisons-1.jsonl", "checkpoints/policy-1", "checkpoints/reward-1"];

const missingIn = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem.FileSystem;
  return yield* Effect.filter(needed, (name) =>
    Effect.map(files.exists(`${path}/${name}`), (exists) => !exists),
  );
});

/** Whether a run folder has all that comes before the last stage. */
export const isComplete = (path: string) => Effect.map(missingIn(path), ({ length }) => length === 0);

/** The settings of a run of `examples/instructgpt-repro`. Fails with `InvalidInput` unless its first round has a reward model. */
export const readConfig = Effect.fn("readConfig")(function* (path: string) {
  const files = yield* FileSystem.FileSystem;
  const problems = (yield* missingIn(path)).map((name) => ({
    where: "--from",
    problem: `${path} has no ${name}`,
    remedy: "Name the run folder of examples/instructgpt-repro, once its reward model is trained",
  }));
  if (problems.length > 0) return yield* new InvalidInput({ problems });
  const json: unknown = JSON.parse(yield* files.readFileString(`${path}/config.json`));
  const config = yield* Schema.decodeUnknownEffect(Config)(json);
  if (config.comparisons === null) return config;
  const problem = `${path} was trained on people's rankings, and no simulated labeller knows their taste`;
  const remedy = "Name a run without --comparisons: held-out labellers must judge";
  return yield* new InvalidInput({ problems: [{ where: "--from", problem, remedy }] });
});

/**
 * What the stages start from: the tokenizer of the run at `path` and its policy, which is also as large as all other models,
 * or fresh ones where the stages before the last are still to be trained.
 */
export const prepare = Effect.fn("prepare")(function* (path: string, config: Config) {
  const data = yield* loadData(config, fold(key(config.seed), "data"));
  const checkpoint = `${path}/checkpoints/policy-1`;
  const trained = yield* isComplete(path);
  const tokenizer = trained
    ? yield* loadTokenizer(checkpoint)
    : tokenizerFromJson(trainBpe(data.corpus.train, { vocabSize: config.vocabulary }));
  const shape = { architecture: "gpt2", vocabSize: tokenizer.vocabSize, ...config.model } as const;
  const base = trained
    ? yield* loadCheckpoint(checkpoint, tokenizer)
    : initModel(shape, fold(key(config.seed), "model"));
  return {
    config,
    data,
    tokenizer,
    encoded: yield* encodeData(data, tokenizer, config),
    base,
  } satisfies Setting;
});

/**
 * What a run of `examples/instructgpt-repro` had before its last stage, of the first round: there the policy is the
 * supervised one. Comparisons come back in tokens from their text; what the policy did not finish stays unfinished.
 */
export const openRun = Effect.fn("openRun")(function* (path: string, setting: Setting) {
  const { config, tokenizer, encoded } = setting;
  const policy = yield* loadCheckpoint(`${path}/checkpoints/policy-1`, tokenizer);
  const texts = yield* readRankings(`${path}/comparisons-1.jsonl`);
  const rankings = texts.map(({ prompt, responses, ranks }) => ({
    prompt: tokenizer.encode(prompt),
    responses: responses.map((text) =>
      [...tokenizer.encode(text), tokenizer.specials.eos].slice(0, config.ppo.maxNewTokens),
    ),
    ranks,
  }));
  const held = Math.ceil(rankings.length * config.comparing.validationShare);
  return {
    tokenizer,
    policy,
    encoded,
    rankings: rankings.slice(held),
    validation: rankings.slice(0, held),
    labelers: labelersOf(setting),
  };
});
export type OpenRun = Effect.Success<ReturnType<typeof openRun>>;
