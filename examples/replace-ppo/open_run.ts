import { fold, InvalidInput, key } from "@rlhf/core";
import { readRankings } from "@rlhf/data";
import { simulatedLabelers } from "@rlhf/labeler";
import { loadTokenizer } from "@rlhf/tokenizer";
import { loadCheckpoint } from "@rlhf/transformer";
import { Effect, FileSystem, Schema } from "effect";
import { Config } from "../instructgpt-repro/config.ts";
import type { PipelineData } from "../instructgpt-repro/data.ts";
import { encodeData } from "../instructgpt-repro/encode.ts";

/** The settings of a run of `examples/instructgpt-repro`. Fails with `InvalidInput` unless its first round has a reward model. */
export const readConfig = Effect.fn("readConfig")(function* (path: string) {
  const files = yield* FileSystem.FileSystem;
  const needed = ["config.json", "comparisons-1.jsonl", "checkpoints/policy-1", "checkpoints/reward-1"];
  const missing = yield* Effect.filter(needed, (name) =>
    Effect.map(files.exists(`${path}/${name}`), (exists) => !exists),
  );
  const problems = missing.map((name) => ({
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
 * What a run of `examples/instructgpt-repro` had before its last stage, of the first round: there the policy is the
 * supervised one. Comparisons come back in tokens from their text; what the policy did not finish stays unfinished.
 */
export const openRun = Effect.fn("openRun")(function* (path: string, config: Config, data: PipelineData) {
  const root = key(config.seed);
  const tokenizer = yield* loadTokenizer(`${path}/checkpoints/policy-1`);
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
    encoded: yield* encodeData(data, tokenizer, config),
    rankings: rankings.slice(held),
    validation: rankings.slice(0, held),
    labelers: simulatedLabelers({
      criteria: data.criteria,
      key: fold(root, "labelers"),
      temperature: config.comparing.noise,
    }),
  };
});
export type OpenRun = Effect.Success<ReturnType<typeof openRun>>;
