/**
 * A pipeline of your own: pretraining, then a reward model from rankings of the base model's own continuations, then PPO.
 * Supervised fine-tuning is left out; no stage notices. The made-up labeller likes the token 3.
 */
import { Reference, rollout, Scorer } from "@rlhf/bandit-env";
import { type EncodedRanking, fold, integers, key } from "@rlhf/core";
import * as ppo from "@rlhf/ppo";
import { PretrainConfig, pretrain } from "@rlhf/pretrain";
import { RewardConfig, scoreEpisodes, trainReward } from "@rlhf/reward";
import { useBackend } from "@rlhf/tensor/backend";
import { initModel } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { quietly } from "./quietly.ts";

const smoke = process.argv.includes("--smoke");
await useBackend("auto");
const root = key(1);
const eos = 1;
const base = initModel(
  { architecture: "gpt2", vocabSize: 12, contextLength: 16, layers: 1, width: 32, heads: 4 },
  fold(root, "model"),
);
const prompts = Array.from({ length: 48 }, (_, i) => ({
  id: `${i}`,
  tokens: [4 + (i % 8), 4 + ((i * 5) % 8)],
}));
const liked = (tokens: ReadonlyArray<number>) => tokens.filter((token) => token === 3).length / tokens.length;

const pipeline = Effect.gen(function* () {
  // Text in which every token but the end of sequence is as likely as the others.
  const stream = integers(fold(root, "text"), 4000, 11).map((token) => token + 1);
  const learning = PretrainConfig.make({ steps: 60, batchSize: 16, warmupSteps: 5, learningRate: 3e-3 });
  yield* pretrain({ model: base, tokens: stream, validation: stream, config: learning, key: root });

  const writing = { policy: base, maxNewTokens: 8, eos, temperature: 1 };
  const samples = yield* Effect.forEach([0, 1, 2, 3], (turn) =>
    rollout({ ...writing, prompts, key: fold(fold(root, "samples"), turn) }),
  );
  const rankings = prompts.map(({ tokens }, i): EncodedRanking => {
    const responses = samples.map(({ episodes }) => episodes[i]!.response.tokens);
    const ranks = responses.map((one) => 1 + responses.filter((other) => liked(other) > liked(one)).length);
    return { prompt: tokens, responses, ranks };
  });
  const reward = yield* trainReward({
    policy: base,
    rankings: rankings.slice(8),
    validation: rankings.slice(0, 8),
    demonstrations: rankings.map(({ prompt, responses }) => ({ prompt, response: responses[0]! })),
    config: RewardConfig.make({ epochs: 6, batchSize: 8, learningRate: 3e-3 }),
    key: fold(root, "reward"),
  });

  const config = ppo.PpoConfig.make({
    iterations: smoke ? 8 : 40,
    batchSize: 64,
    minibatchSize: 32,
    maxNewTokens: 8,
    policyLearningRate: 3e-3,
    criticLearningRate: 3e-3,
    warmupIterations: 2,
  });
  const likedShare: Array<number> = [];
  yield* ppo
    .train({
      state: ppo.initState({ policy: base, rewardModel: reward.model, config }),
      prompts,
      config,
      specials: { eos },
      key: fold(root, "ppo"),
      decode: (tokens) => tokens.join(" "),
      afterIteration: ({ iteration }, { episodes, metrics }) =>
        Effect.sync(() => {
          const shares = episodes.map(({ response }) => liked(response.tokens));
          likedShare.push(shares.reduce((sum, share) => sum + share, 0) / shares.length);
          if (iteration % 4 > 0) return;
          console.log(
            `${iteration}: score ${metrics.score!.toFixed(2)}, liked ${likedShare.at(-1)!.toFixed(2)}, KL ${metrics.kl!.toFixed(2)}`,
          );
        }),
    })
    .pipe(
      Effect.provideService(Reference, base),
      Effect.provideService(Scorer, scoreEpisodes(reward.model)),
      Effect.provideService(ppo.PretrainingBatches, ppo.PretrainingBatches.none),
    );
  return { accuracy: reward.accuracy.accuracy, first: likedShare[0]!, last: likedShare.at(-1)! };
}).pipe(Effect.scoped);

const { accuracy, first, last } = await quietly(pipeline);
console.log(
  `reward model ${(100 * accuracy).toFixed(0)} % right; liked tokens ${first.toFixed(2)} → ${last.toFixed(2)}`,
);
if (last <= first) throw new Error("the policy did not come to like what the labeller likes");
