import type { Key, Tokens } from "@rlhf/core";
import type { FrontierRun } from "@rlhf/eval";
import { goldUtility, type SimulatedLabeler } from "@rlhf/labeler";
import * as ppo from "@rlhf/ppo";
import { type RewardModel, scoreEpisodes } from "@rlhf/reward";
import type { Tokenizer } from "@rlhf/tokenizer";
import { cloneModel, type Model } from "@rlhf/transformer";
import { Effect, Layer } from "effect";
import type { Asked } from "./encode.ts";
import type { TaskPrompt } from "./tasks.ts";

/**
 * Trains a copy of the policy with PPO, or PPO-ptx where the config has a ptx coefficient, and keeps the averaged
 * weights. The gold reward of every rollout is recorded beside the learned one; training never sees it.
 */
export const reinforce = Effect.fn("reinforce")(function* (input: {
  readonly policy: Model;
  readonly rewardModel: RewardModel;
  readonly prompts: ReadonlyArray<Asked>;
  /** Rows of pretraining text, as long as the context. */
  readonly pretraining: ReadonlyArray<{ readonly tokens: Tokens }>;
  readonly gold: ReadonlyArray<SimulatedLabeler<TaskPrompt>>;
  readonly tokenizer: Tokenizer;
  readonly config: ppo.PpoConfig;
  readonly key: Key;
}) {
  const { policy, rewardModel, prompts, pretraining, gold, tokenizer, config, key } = input;
  const decode = (tokens: ReadonlyArray<number>) => tokenizer.decode(tokens, { skipSpecial: true }).trim();
  const promptOf = new Map(prompts.map(({ id, prompt }) => [id, prompt]));
  const points: Array<FrontierRun["points"][number]> = [];
  const run = ppo.stageName(config);

  const measureGold = ({ episodes }: ppo.PpoReport) =>
    Effect.sync(() => {
      if (gold.length === 0) return {};
      const utilities = episodes.map(({ prompt, response }) =>
        goldUtility(gold, promptOf.get(prompt.id)!, decode(response.tokens)),
      );
      return { gold: utilities.reduce((sum, utility) => sum + utility, 0) / utilities.length };
    });
  const recordPoint = (_: ppo.PpoState, { metrics: { kl, score, gold } }: ppo.PpoReport) =>
    Effect.sync(() => {
      points.push({ kl: kl!, learned: score!, ...(gold === undefined ? {} : { gold }) });
    });

  const services = Layer.mergeAll(
    Layer.succeed(ppo.Reference, policy),
    Layer.succeed(ppo.Scorer, scoreEpisodes(rewardModel)),
    Layer.succeed(
      ppo.PretrainingBatches,
      ppo.PretrainingBatches.fromRows(pretraining, { padId: tokenizer.specials.pad }),
    ),
  );
  const model = yield* Effect.acquireUseRelease(
    Effect.sync(() => ppo.initState({ policy, rewardModel, config })),
    (state) =>
      ppo
        .train({
          state,
          prompts,
          config,
          specials: tokenizer.specials,
          key,
          decode,
          measure: measureGold,
          afterIteration: recordPoint,
          gathered: { save: () => points, restore: (saved: typeof points) => void points.push(...saved) },
        })
        .pipe(Effect.map((trained) => cloneModel(trained.averagedPolicy))),
    (state) => Effect.sync(() => ppo.disposeState(state)),
  ).pipe(Effect.provide(services));
  const first = points[0];
  const gained = points.map(({ kl, learned, gold: value }) => ({
    kl,
    learned: learned! - first!.learned!,
    ...(value === undefined ? {} : { gold: value - first!.gold! }),
  }));
  return { run, model, frontier: { run, points: gained } satisfies FrontierRun };
});
