import { fold, key, RunFolder } from "@rlhf/core";
import { chunkStream } from "@rlhf/data";
import { loadTokenizer } from "@rlhf/tokenizer";
import { loadCheckpoint, loadScalarModel } from "@rlhf/transformer";
import { Effect, FileSystem } from "effect";
import type { Config } from "../instructgpt-repro/config.ts";
import type { LastStage } from "./last_stage.ts";
import type { OpenRun } from "./open_run.ts";

const [stageName, corpusName] = ["stage.json", "corpus.bin"];

type HandedOver = Pick<LastStage, "prompts" | "rankings" | "validation" | "config"> & {
  readonly from: string;
};

/**
 * Leaves what the processes of the optimizers need, in tokens: none of them reads WordNet, whose memory would hide their
 * own.
 */
export const handOver = Effect.fn("handOver")(function* (
  from: string,
  config: Config,
  { encoded, rankings, validation }: OpenRun,
) {
  const folder = yield* RunFolder;
  const files = yield* FileSystem.FileSystem;
  const stage: HandedOver = { from, config, prompts: encoded.prompts, rankings, validation };
  yield* folder.writeText(stageName, JSON.stringify(stage));
  const { buffer, byteOffset, byteLength } = encoded.corpus.train;
  yield* files.writeFile(folder.file(corpusName), new Uint8Array(buffer, byteOffset, byteLength));
});

/** The last stage as it was handed over in the run folder `path`, with the random numbers of a seed. */
export const takeOver = Effect.fn("takeOver")(function* (path: string, seed: number) {
  const files = yield* FileSystem.FileSystem;
  const { from, ...handed }: HandedOver = JSON.parse(yield* files.readFileString(`${path}/${stageName}`));
  const corpus = yield* files.readFile(`${path}/${corpusName}`);
  const tokenizer = yield* loadTokenizer(`${from}/checkpoints/policy-1`);
  const length = handed.config.model.contextLength;
  const tokens = new Int32Array(Uint8Array.from(corpus).buffer); // a copy, which is aligned
  const stage: LastStage = {
    ...handed,
    policy: yield* loadCheckpoint(`${from}/checkpoints/policy-1`, tokenizer),
    rewardModel: yield* loadScalarModel(`${from}/checkpoints/reward-1`, tokenizer),
    pretraining: chunkStream(tokens, { length }).map((row) => ({ tokens: row })),
    tokenizer,
    key: fold(key(seed), "last stage"),
  };
  return stage;
});
