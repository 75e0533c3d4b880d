/**
 * An environment of your own: prompts are short sequences of digits, and a response is right as far as it says them
 * backwards. The reward is a program that reads tokens; there is no reward model and no text. Trained with GRPO.
 */
import { type Episode, Reference, Scorer, scoreEach } from "@rlhf/bandit-env";
import { fold, integers, key } from "@rlhf/core";
import { GrpoConfig, initState, trainGrpo } from "@rlhf/policy-gradient";
import { useBackend } from "@rlhf/tensor/backend";
import { initModel } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { quietly } from "./quietly.ts";

const smoke = process.argv.includes("--smoke");
await useBackend("auto");
const root = key(1);
const [digits, length] = [4, 3];
const [separator, eos] = [digits, digits + 1];
const prompts = Array.from({ length: 64 }, (_, i) => ({
  id: `${i}`,
  tokens: [...integers(fold(fold(root, "prompts"), i), length, digits), separator],
}));

/** Share of the places that are right, the end of sequence after the last digit being one of them. */
const reward = ({ prompt, response }: Episode) => {
  const wanted = [...prompt.tokens.slice(0, length).reverse(), eos];
  return wanted.filter((token, place) => response.tokens[place] === token).length / wanted.length;
};

const policy = initModel(
  { architecture: "gpt2", vocabSize: digits + 2, contextLength: 8, layers: 2, width: 64, heads: 4 },
  fold(root, "policy"),
);
const config = GrpoConfig.make({
  iterations: smoke ? 15 : 150,
  batchSize: 256,
  minibatchSize: 128,
  groupSize: 8,
  maxNewTokens: length + 1,
  missingEosPenalty: 0,
  learningRate: 2e-3,
  klControl: { _tag: "Fixed", coefficient: 0 },
});
const scores: Array<number> = [];
await quietly(
  trainGrpo({
    state: initState(policy, config),
    prompts,
    config,
    specials: { eos },
    key: fold(root, "train"),
    decode: (tokens) => tokens.join(" "),
    afterIteration: ({ iteration }, { metrics }) =>
      Effect.sync(() => {
        scores.push(metrics.score!);
        if (iteration % 10 === 0) console.log(`iteration ${iteration}: ${metrics.score!.toFixed(3)} of 1`);
      }),
  }).pipe(Effect.provideService(Reference, policy), Effect.provideService(Scorer, scoreEach(reward))),
);
if (scores.at(-1)! < (smoke ? scores[0]! + 0.1 : 0.8)) throw new Error("the reward did not rise");
