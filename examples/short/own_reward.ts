/**
 * A reward of your own: any function of text, here rules and a length term in one weighted sum. The policy first learns
 * words from a few sentences, then REINFORCE (RLOO) makes it polite. No reward model, no labels.
 */
import { Reference, Scorer, scoreByRules, scoreText, weightedSum } from "@rlhf/bandit-env";
import { fold, key } from "@rlhf/core";
import { encodePrompts } from "@rlhf/data";
import { initState, RlooConfig, trainRloo } from "@rlhf/policy-gradient";
import { PretrainConfig, pretrain } from "@rlhf/pretrain";
import { useBackend } from "@rlhf/tensor/backend";
import { tokenizerFromJson, trainBpe } from "@rlhf/tokenizer";
import { initModel } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { quietly } from "./quietly.ts";

const smoke = process.argv.includes("--smoke");
await useBackend("auto");
const root = key(1);
const names = ["Ada", "Ben", "Cleo", "Dan"];
const answers = [
  "Thank you, all is well.",
  "What do you want?",
  "All is well.",
  "Please come in, thank you.",
];
const texts = names.flatMap((name) => answers.map((answer) => `${name} is here. ${answer}`));
const tokenizer = tokenizerFromJson(trainBpe(texts, { vocabSize: 320 }));
const { eos } = tokenizer.specials;
const stream = Int32Array.from(texts.flatMap((text) => [...tokenizer.encode(text), eos]));
const policy = initModel(
  {
    architecture: "gpt2",
    vocabSize: tokenizer.vocabSize,
    contextLength: 32,
    layers: 1,
    width: 48,
    heads: 4,
  },
  fold(root, "policy"),
);
const learning = PretrainConfig.make({ steps: 120, batchSize: 8, warmupSteps: 10, learningRate: 5e-3 });
await quietly(
  pretrain({ model: policy, tokens: stream, validation: stream, config: learning, key: fold(root, "text") }),
);

const decode = (tokens: ReadonlyArray<number>) => tokenizer.decode(tokens, { skipSpecial: true });
const polite = scoreByRules(decode, [
  { weight: 1, holds: ({ response }) => /thank you/i.test(response) },
  { weight: 1, holds: ({ response }) => /please/i.test(response) },
  { weight: -1, holds: ({ response }) => response.includes("?") },
]);
const short = scoreText(decode, ({ response }) => -response.length / 100);
const reward = weightedSum([
  { score: polite, weight: 1 },
  { score: short, weight: 0.5 },
]);

const config = RlooConfig.make({
  iterations: smoke ? 5 : 40,
  batchSize: 64,
  minibatchSize: 32,
  maxNewTokens: 24,
  learningRate: 1e-3,
  warmupIterations: 0,
});
const scores: Array<number> = [];
const trained = await quietly(
  trainRloo({
    state: initState(policy, config),
    prompts: encodePrompts(
      tokenizer,
      names.map((name) => ({ id: name, text: `${name} is here.` })),
    ),
    config,
    specials: tokenizer.specials,
    key: fold(root, "train"),
    decode,
    afterIteration: ({ iteration }, { episodes, metrics }) =>
      Effect.sync(() => {
        scores.push(metrics.score!);
        if (iteration % 5 > 0) return;
        console.log(`${iteration}: ${metrics.score!.toFixed(2)} ${decode(episodes[0]!.response.tokens)}`);
      }),
  }).pipe(Effect.provideService(Reference, policy), Effect.provideService(Scorer, reward)),
);
console.log(`after ${trained.iteration} iterations: ${scores[0]!.toFixed(2)} → ${scores.at(-1)!.toFixed(2)}`);
if (scores.at(-1)! <= scores[0]!) throw new Error("the reward did not rise");
