import { Count, NonNegative, Positive, Share, setting } from "@rlhf/core";
import { PpoConfig } from "@rlhf/ppo";
import { PretrainConfig } from "@rlhf/pretrain";
import { RewardConfig } from "@rlhf/reward";
import { SftConfig } from "@rlhf/sft";
import { Schema } from "effect";
import { LoraSettings } from "./lora.ts";

const FileOrNone = Schema.NullOr(Schema.NonEmptyString);

/** The whole run. Every leaf is a flag (`--ppo.iterations 20`), and the run folder keeps the decoded values. */
export const Config = Schema.Struct({
  seed: setting(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)), 1, "One seed, the same numbers"),
  backend: setting(
    Schema.Literals(["auto", "cuda", "webgpu", "native", "wasm", "cpu", "tensorflow"]),
    "auto",
    "Who computes: auto takes cuda or webgpu where there is a GPU, else native where its addon is built, else wasm",
  ),
  rounds: setting(
    Count,
    1,
    "Rounds of comparisons, reward model and PPO, each on the policy of the one before",
  ),
  run: setting(FileOrNone, null, "Run folder; runs/<preset>-seed<seed> unless given"),
  base: setting(
    FileOrNone,
    null,
    "Checkpoint to fine-tune in place of pretraining, with its tokenizer: a folder, or a name on the Hugging Face Hub; --model is the same",
  ),
  corpus: setting(
    FileOrNone,
    null,
    "Pretraining text of your own: a file or a folder of .txt, .md or .jsonl",
  ),
  demonstrations: setting(FileOrNone, null, "Demonstrations of your own: .json or .jsonl"),
  comparisons: setting(
    FileOrNone,
    null,
    "People's rankings, in place of the simulated labellers: .json or .jsonl",
  ),
  vocabulary: setting(
    Schema.Int.check(Schema.isGreaterThanOrEqualTo(258)),
    4096,
    "Tokens of the byte-level BPE trained on the corpus, the 256 bytes, end of sequence and padding included",
  ),
  model: Schema.Struct({
    layers: setting(Count, 4, "Transformer blocks"),
    width: setting(Count, 256, "Size of the residual stream"),
    heads: setting(Count, 4, "Attention heads"),
    contextLength: setting(Count, 64, "Longest sequence, prompt and response together, in tokens"),
  }).check(
    Schema.makeFilter(
      ({ width, heads }) =>
        width % heads === 0 || { path: ["width"], issue: `must be a multiple of --model.heads ${heads}` },
    ),
  ),
  lora: setting(LoraSettings, { rank: 0 }, "Adapters in place of the weights"),
  tasks: Schema.Struct({
    demonstrations: setting(Count, 6000, "Demonstrations made from WordNet"),
    validation: setting(Count, 300, "Held-out demonstrations"),
    prompts: setting(Count, 3000, "Prompts for comparisons and PPO"),
    evaluation: setting(
      Count,
      400,
      "Prompts with new phrasings, words and combinations; of your own data at most so many of a kind are held out",
    ),
  }),
  pretrain: PretrainConfig,
  sft: SftConfig,
  comparing: Schema.Struct({
    prompts: setting(Count, 1000, "Prompts whose answers are ranked"),
    fewest: setting(
      Schema.Int.check(Schema.isGreaterThanOrEqualTo(2)),
      4,
      "Answers per prompt, at least. InstructGPT: 4",
    ),
    most: setting(
      Schema.Int.check(Schema.isGreaterThanOrEqualTo(2)),
      9,
      "Answers per prompt, at most. InstructGPT: 9",
    ),
    labelers: setting(Count, 1, "Labellers who rank the answers to each prompt, of seven. InstructGPT: 1"),
    validationShare: setting(Share, 0.15, "Share of the prompts that only measure the reward model"),
    noise: setting(
      NonNegative,
      0.06,
      "How often simulated labellers slip; tuned so that two agree on about 73 % of pairs, as InstructGPT's people did",
    ),
    overlap: setting(Share, 0.1, "Share of the prompts that every labeller ranks, to measure agreement"),
  }).check(
    Schema.makeFilter(
      ({ fewest, most }) =>
        fewest <= most || { path: ["fewest"], issue: `must not exceed --comparing.most ${most}` },
    ),
  ),
  reward: RewardConfig,
  ppo: PpoConfig,
  evaluation: Schema.Struct({
    temperature: setting(Positive, 1, "Sampling temperature of the answers that are compared"),
    resamples: setting(Count, 1000, "Bootstrap resamples of an interval"),
  }),
}).check(
  Schema.makeFilter(
    ({ base, model: { contextLength }, ppo: { maxNewTokens } }) =>
      base !== null || // whose own context counts
      maxNewTokens < contextLength || {
        path: ["ppo", "maxNewTokens"],
        issue: `must leave room for a prompt within --model.contextLength ${contextLength}`,
      },
  ),
);
export type Config = typeof Config.Type;
