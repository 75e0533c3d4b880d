/**
 * Is the optimizer right? A contextual bandit whose best policy is known: four contexts, eight arms, one token a response.
 * PPO without a KL penalty must find the best arm of every context, or this program fails.
 */
import { type Episode, Reference, Scorer } from "@rlhf/bandit-env";
import { fold, key, uniforms } from "@rlhf/core";
import * as ppo from "@rlhf/ppo";
import { useBackend } from "@rlhf/tensor/backend";
import { initModel, initScalarModel } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { quietly } from "./quietly.ts";

await useBackend("auto");
const root = key(1);
const [contexts, arms] = [4, 8];
const payoff = Array.from({ length: contexts }, (_, context) =>
  uniforms(fold(fold(root, "payoff"), context), arms),
);
const optimum = payoff.reduce((sum, row) => sum + Math.max(...row), 0) / contexts;

// Tokens: 0 to 7 are arms, 8 to 11 contexts. No token ends a response: its one token does.
const shape = { architecture: "gpt2", vocabSize: arms + contexts + 1, contextLength: 8 } as const;
const size = { layers: 1, width: 32, heads: 2 } as const;
const policy = initModel({ ...shape, ...size }, fold(root, "policy"));
const rewardModel = initScalarModel(
  initModel({ ...shape, ...size }, fold(root, "critic")),
  fold(root, "head"),
);
const prompts = payoff.map((_, context) => ({ id: `${context}`, tokens: [arms + context] }));
const pay = ({ prompt, response }: Episode) => payoff[prompt.tokens[0]! - arms]![response.tokens[0]!] ?? 0;

const config = ppo.PpoConfig.make({
  iterations: 60,
  batchSize: 64,
  minibatchSize: 64,
  maxNewTokens: 1,
  missingEosPenalty: 0,
  policyLearningRate: 5e-3,
  criticLearningRate: 5e-3,
  warmupIterations: 0,
  klControl: { _tag: "Fixed", coefficient: 0 },
  emaDecay: 0,
});
const means: Array<number> = [];
await quietly(
  ppo
    .train({
      state: ppo.initState({ policy, rewardModel, config }),
      prompts,
      config,
      specials: { eos: arms + contexts },
      key: fold(root, "train"),
      decode: (tokens) => tokens.join(" "),
      afterIteration: ({ iteration }, { metrics }) =>
        Effect.sync(() => {
          means.push(metrics.score!);
          if (iteration % 10 === 0) console.log(`iteration ${iteration}: ${metrics.score!.toFixed(3)}`);
        }),
    })
    .pipe(
      Effect.provideService(Reference, policy),
      Effect.provideService(Scorer, (episodes) => Effect.succeed(Float32Array.from(episodes, pay))),
      Effect.provideService(ppo.PretrainingBatches, ppo.PretrainingBatches.none),
    ),
);
const reached = means.slice(-5).reduce((sum, mean) => sum + mean, 0) / 5;
console.log(`optimum ${optimum.toFixed(3)}, reached ${reached.toFixed(3)}`);
if (reached < 0.97 * optimum) throw new Error("PPO did not reach the known optimum");
