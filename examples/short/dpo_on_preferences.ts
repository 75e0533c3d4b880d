/**
 * DPO on a preference file: any that `@rlhf/data` reads. Without an argument it is `preferences.jsonl`, 31 comparisons by
 * people from Anthropic's HH-RLHF (MIT license). The policy first learns the dialogues' language by fine-tuning on the
 * preferred answers; on so little data it memorizes, so watch the training pairs come apart, not the validation.
 *
 *     npx tsx dpo_on_preferences.ts your_preferences.jsonl
 */
import { fileURLToPath } from "node:url";
import * as NodeServices from "@effect/platform-node/NodeServices";
import { fold, key } from "@rlhf/core";
import { encodeRankings, readRankings } from "@rlhf/data";
import { DpoConfig, trainDpo } from "@rlhf/dpo";
import { finetune, SftConfig } from "@rlhf/sft";
import { useBackend } from "@rlhf/tensor/backend";
import { tokenizerFromJson, trainBpe } from "@rlhf/tokenizer";
import { initModel } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { quietly } from "./quietly.ts";

const smoke = process.argv.includes("--smoke");
const file = process.argv.slice(2).find((argument) => !argument.startsWith("--"));
await useBackend("auto");
const root = key(1);

const pipeline = Effect.gen(function* () {
  const preferences = yield* readRankings(
    file ?? fileURLToPath(new URL("preferences.jsonl", import.meta.url)),
  );
  const texts = preferences.flatMap(({ prompt, responses }) => [prompt, ...responses]);
  const tokenizer = tokenizerFromJson(trainBpe(texts, { vocabSize: 400 }));
  const rankings = encodeRankings(tokenizer, preferences);
  const longest = Math.max(
    ...rankings.flatMap(({ prompt, responses }) => responses.map((one) => prompt.length + one.length)),
  );
  const policy = initModel(
    {
      architecture: "gpt2",
      vocabSize: tokenizer.vocabSize,
      contextLength: Math.ceil(longest / 8) * 8,
      layers: 2,
      width: 64,
      heads: 4,
    },
    fold(root, "model"),
  );
  const [validation, training] = [rankings.slice(0, 6), rankings.slice(6)];
  const preferred = (some: typeof rankings) =>
    some.map(({ prompt, responses, ranks }) => ({ prompt, response: responses[ranks.indexOf(1)]! }));
  yield* finetune({
    model: policy,
    demonstrations: preferred(training),
    validation: preferred(validation),
    config: SftConfig.make({ epochs: smoke ? 1 : 4, batchSize: 8, learningRate: 2e-3 }),
    key: fold(root, "sft"),
  });
  const config = DpoConfig.make({ epochs: smoke ? 3 : 10, batchSize: 8, learningRate: 3e-4 });
  const judgedBy = (some: typeof rankings) =>
    trainDpo({ policy, rankings: training, validation: some, config, key: fold(root, "dpo") });
  const onTraining = yield* judgedBy(training);
  const onValidation = yield* judgedBy(validation);
  return { pairs: training.length, onTraining: onTraining.accuracy, onValidation: onValidation.accuracy };
});

const { pairs, onTraining, onValidation } = await quietly(pipeline.pipe(Effect.provide(NodeServices.layer)));
console.log(`${pairs} preferences; the trained policy agrees with`);
console.log(`  ${(100 * onTraining.accuracy).toFixed(0)} % of those it was trained on`);
console.log(`  ${(100 * onValidation.accuracy).toFixed(0)} % of the ${onValidation.pairs} it was not`);
if (onTraining.accuracy < 0.8) throw new Error("DPO did not learn the preferences");
