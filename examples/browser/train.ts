/**
 * Makes the checkpoint that the page loads, in half a minute: a language model of small stories, half of which end well.
 *
 *     npx tsx examples/browser/train.ts
 *     npx tsx examples/browser/train.ts --folder FOLDER --steps 2
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import * as NodeServices from "@effect/platform-node/NodeServices";
import { fold, key, Progress, RunFolder } from "@rlhf/core";
import { joinDocuments } from "@rlhf/data";
import { PretrainConfig, pretrain } from "@rlhf/pretrain";
import { useBackend } from "@rlhf/tensor/backend";
import { tokenizerFromJson, trainBpe } from "@rlhf/tokenizer";
import { initModel, saveCheckpoint } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { stories } from "./stories.ts";

const { values } = parseArgs({
  options: {
    folder: { type: "string", default: fileURLToPath(new URL("public/checkpoint", import.meta.url)) },
    steps: { type: "string", default: "800" },
  },
});
await useBackend("auto");
const root = key(1);
const texts = stories(fold(root, "stories"), 12_000);
const tokenizer = tokenizerFromJson(trainBpe(texts, { vocabSize: 400 }));
const { eos } = tokenizer.specials;
const documents = (some: ReadonlyArray<string>) => joinDocuments(some.map(tokenizer.encode), eos);
const model = initModel(
  {
    architecture: "gpt2",
    vocabSize: tokenizer.vocabSize,
    contextLength: 64,
    layers: 2,
    width: 48,
    heads: 4,
  },
  fold(root, "model"),
);
const steps = Number(values.steps);
const program = Effect.gen(function* () {
  const { validationLoss } = yield* pretrain({
    model,
    tokens: documents(texts.slice(500)),
    validation: documents(texts.slice(0, 500)),
    config: PretrainConfig.make({
      steps,
      batchSize: 32,
      microBatchSize: 32,
      learningRate: 5e-3,
      warmupSteps: 20,
    }),
    key: fold(root, "pretrain"),
  });
  yield* saveCheckpoint(values.folder, model, tokenizer);
  console.log(
    `${validationLoss.toFixed(3)} nats a token on stories it has not seen; written to ${values.folder}`,
  );
});
await Effect.runPromise(
  program.pipe(Effect.provide([NodeServices.layer, Progress.layerSilent, RunFolder.layerMemory])),
);
