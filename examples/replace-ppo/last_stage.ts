import type { EncodedRanking, Key, Progress, RunFolder, Tokens } from "@rlhf/core";
import type { RewardModel } from "@rlhf/reward";
import type { Tokenizer } from "@rlhf/tokenizer";
import type { Model } from "@rlhf/transformer";
import type { Effect } from "effect";
import type { Config } from "../instructgpt-repro/config.ts";
import type { Asked } from "../instructgpt-repro/encode.ts";

/** What the last stage of the pipeline is given, the same whoever trains. */
export interface LastStage {
  /** What training starts from, and the reference of the KL. It is not changed. */
  readonly policy: Model;
  readonly rewardModel: RewardModel;
  readonly prompts: ReadonlyArray<Asked>;
  /** The comparisons that the reward model learned from, for those who need no reward model. */
  readonly rankings: ReadonlyArray<EncodedRanking>;
  /** Those that it was measured with. */
  readonly validation: ReadonlyArray<EncodedRanking>;
  /** Rows of pretraining text, as long as the context. */
  readonly pretraining: ReadonlyArray<{ readonly tokens: Tokens }>;
  readonly tokenizer: Tokenizer;
  /** Settings of the whole pipeline. Those under `ppo` say how much everyone may sample, and how far the KL may go. */
  readonly config: Config;
  readonly key: Key;
}

/** Whatever can stand in PPO's place: the result is the policy to judge. */
export type Optimize = (stage: LastStage) => Effect.Effect<Model, Error, Progress | RunFolder>;
