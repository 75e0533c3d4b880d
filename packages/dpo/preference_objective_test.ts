/** Everybody's rankings of some responses, with one forward pass for each, against their pairs one by one. */
import { responseMask } from "@rlhf/bandit-env";
import { key } from "@rlhf/core/random";
import { decidedPairs } from "@rlhf/reward/decided_pairs";
import { useBackend } from "@rlhf/tensor/backend";
import { disposeModel, initModel, type Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { episodesOf } from "./_responses.ts";
import type { PreferenceLoss } from "./config.ts";
import { preferenceObjective } from "./preference_objective.ts";

const shape = { vocabSize: 9, contextLength: 8, layers: 1, width: 8, heads: 2 };
let policy: Model;
beforeAll(async () => {
  await useBackend("cpu");
  policy = initModel({ architecture: "gpt2", ...shape }, key(1));
});
afterAll(() => disposeModel(policy));

/** Three people who disagree and tie, and one. */
const prompts = [
  {
    prompt: [2, 3],
    responses: [
      [4, 5, 1],
      [6, 1],
      [7, 7, 4, 1],
    ],
    refLogProbs: [-7, -4, -9],
    rankings: [
      [1, 2, 3],
      [2, 1, 1],
      [3, 1, 3],
    ],
  },
  {
    prompt: [8],
    responses: [
      [4, 1],
      [5, 6, 1],
    ],
    refLogProbs: [-5, -6],
    rankings: [[2, 1]],
  },
];

/** The objective of some prompts, and its gradients. */
const valueAndGrads = (
  part: typeof prompts,
  options: Parameters<typeof preferenceObjective>[2],
): ReadonlyArray<tf.Tensor> => {
  const objective = () => {
    const episodes = part.flatMap(episodesOf);
    const refLogProbs = tf.tensor1d(part.flatMap(({ refLogProbs }) => refLogProbs));
    const rankings = part.map(({ rankings }) => rankings);
    const batch = { episodes, mask: responseMask(episodes), refLogProbs, rankings };
    return preferenceObjective(policy, batch, options).loss;
  };
  const { value, grads } = tf.variableGrads(objective, Object.values(policy.params));
  return [value, ...Object.values(grads)];
};

const losses: ReadonlyArray<PreferenceLoss> = [
  { _tag: "Dpo", beta: 0.3, labelSmoothing: 0.1 },
  { _tag: "RobustDpo", beta: 0.3, flipRate: 0.1 },
  { _tag: "Ipo", tau: 0.3 },
  { _tag: "Kto", beta: 0.3, desirableWeight: 1, undesirableWeight: 2 },
  { _tag: "Orpo", lambda: 1 },
  { _tag: "Simpo", beta: 2, gamma: 0.5 },
];

it.each(losses)("is the mean over pairs and prompts, gradients too: $_tag", (loss) => {
  const options = { loss, temperature: 1, kl: 0.1 };
  tf.tidy(() => {
    const together = valueAndGrads(prompts, { ...options, share: 1 });
    const apart = prompts.flatMap(({ prompt, responses, refLogProbs, rankings }) => {
      const pairs = rankings.flatMap(decidedPairs);
      const share = 1 / (pairs.length * prompts.length);
      return pairs.map(([winner, loser]) => {
        const of = <T>(list: ReadonlyArray<T>) => [list[winner]!, list[loser]!];
        const pair = { prompt, responses: of(responses), refLogProbs: of(refLogProbs), rankings: [[1, 2]] };
        return valueAndGrads([pair], { ...options, share });
      });
    });
    expect(apart).toHaveLength(3 + 2 + 2 + 1);
    for (const [i, whole] of together.entries()) {
      const sum = tf.addN(apart.map((one) => one[i]!));
      const scale = Number(tf.max(tf.abs(whole)).dataSync()[0]);
      const difference = Number(tf.max(tf.abs(tf.sub(whole, sum))).dataSync()[0]);
      expect(difference).toBeLessThanOrEqual(2e-6 * Math.max(scale, 1e-3));
    }
  });
});
