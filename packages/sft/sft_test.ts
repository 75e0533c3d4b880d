import { Progress, type ProgressEvent } from "@rlhf/core/progress";
import { key } from "@rlhf/core/random";
import type { EncodedDemonstration } from "@rlhf/core/records";
import { RunFolder } from "@rlhf/core/run_folder";
import { demonstrationRow, pack, padRight } from "@rlhf/data";
import { useBackend } from "@rlhf/tensor/backend";
import {
  addLora,
  cloneModel,
  disposeModel,
  initModel,
  type Model,
  nextTokenLogProbs,
  toSequences,
} from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { SftConfig } from "./config.ts";
import { meanResponseLoss } from "./mean_response_loss.ts";
import { responseLoss } from "./response_loss.ts";
import { type EpochResult, type FinetuneInput, finetune } from "./train.ts";

const eos = 0;
let model: Model;
let tensorsBefore: number;

beforeAll(async () => {
  await useBackend("cpu");
});
beforeEach(() => {
  tensorsBefore = tf.memory().numTensors;
  model = initModel(
    { architecture: "gpt2", vocabSize: 16, contextLength: 20, layers: 1, width: 16, heads: 2 },
    key(1),
  );
});
afterEach(() => {
  disposeModel(model);
  expect(tf.memory().numTensors).toBe(tensorsBefore);
});

/** The response repeats the prompt's first token, then ends; lengths differ. */
const demonstrations: ReadonlyArray<EncodedDemonstration> = Array.from({ length: 24 }, (_, i) => {
  const word = 2 + (i % 6);
  return {
    prompt: [word, ...Array.from({ length: i % 3 }, () => 1)],
    response: [...Array.from({ length: 1 + (i % 4) }, () => word), eos],
  };
});

const input = (config: Partial<SftConfig> = {}): FinetuneInput => ({
  model,
  demonstrations: demonstrations.slice(0, 16),
  validation: demonstrations.slice(16),
  config: SftConfig.make({ epochs: 4, batchSize: 8, learningRate: 1e-2, dropout: 0, ...config }),
  key: key(2),
});

/** Runs a stage; also returns the metrics of its steps. */
async function run<A, E>(stage: Effect.Effect<A, E, Progress | RunFolder>) {
  const events: Array<ProgressEvent> = [];
  const watcher = Layer.succeed(Progress, {
    publish: (event) => Effect.sync(() => void events.push(event)),
    events: Stream.empty,
  });
  const layer = Layer.merge(watcher, RunFolder.layerMemory);
  const result = await Effect.runPromise(Effect.provide(stage, layer));
  return { result, metrics: events.flatMap((event) => (event._tag === "Step" ? [event.metrics] : [])) };
}

describe("responseLoss", () => {
  it("is the mean over response tokens, end-of-sequence included and prompts left out", async () => {
    const [demonstration] = demonstrations.slice(5) as [EncodedDemonstration];
    const batch = padRight([demonstrationRow(demonstration)], { padId: 15 });
    const { loss, logProbs } = tf.tidy(() => ({
      loss: responseLoss(model, batch),
      logProbs: nextTokenLogProbs(model, toSequences(batch)).logProbs,
    }));
    const all = await logProbs.data();
    const ofResponse = Array.from(demonstration.response, (_, i) => all[demonstration.prompt.length + i]!);
    const mean = ofResponse.reduce((sum, x) => sum + x, 0) / demonstration.response.length;
    expect((await loss.data())[0]).toBeCloseTo(-mean, 5);
    tf.dispose([loss, logProbs]);
  });

  it("does not change when demonstrations are packed", async () => {
    const rows = demonstrations.map(demonstrationRow);
    const packed = pack(rows, { length: 20, padId: 0, rowsPerBatch: 3 });
    const single = rows.map((row) => padRight([row], { padId: 0 }));
    expect(packed.length).toBeLessThan(single.length / 3);
    const loss = await Effect.runPromise(meanResponseLoss(model, packed));
    expect(loss).toBeCloseTo(await Effect.runPromise(meanResponseLoss(model, single)), 5);
  });
});

describe("finetune", () => {
  it("lowers the loss and keeps the epoch of the lowest validation loss", async () => {
    const { result, metrics } = await run(finetune(input({ epochs: 8, learningRate: 2e-2 })));
    expect(metrics).toHaveLength(16);
    expect(metrics.at(-1)!.loss).toBeLessThan(metrics[0]!.loss! / 2);
    expect(result.epochs.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(result.chosen.validationLoss).toBe(Math.min(...result.epochs.map((e) => e.validationLoss)));
    const kept = pack(demonstrations.slice(16).map(demonstrationRow), { length: 20, padId: 0 });
    expect(await Effect.runPromise(meanResponseLoss(result.model, kept))).toBeCloseTo(
      result.chosen.validationLoss,
      5,
    );
  });

  it("keeps the weights of the epoch with the highest score, even if its validation loss is not the lowest", async () => {
    const seen: Array<Model> = [];
    const worth = [1, 5, 3, 2];
    const score = (judged: Model) => Effect.sync(() => worth[seen.push(cloneModel(judged)) - 1]!);
    const { result } = await run(finetune({ ...input(), score }));
    expect(result.chosen).toMatchObject({ epoch: 2, validationScore: 5 });
    expect(result.chosen.validationLoss).toBeGreaterThan(result.epochs[3]!.validationLoss);
    for (const [name, param] of Object.entries(result.model.params)) {
      expect(await param.data()).toEqual(await seen[1]!.params[name]!.data());
    }
    seen.forEach(disposeModel);
  });

  it("shows the model after every epoch, as it was then", async () => {
    const losses: Array<number> = [];
    const rows = pack(demonstrations.slice(16).map(demonstrationRow), { length: 20, padId: 0 });
    const afterEpoch = (shown: Model, { epoch }: EpochResult) =>
      Effect.map(meanResponseLoss(shown, rows), (loss) => {
        losses[epoch - 1] = loss;
      });
    const { result } = await run(finetune({ ...input(), afterEpoch }));
    expect(losses).toEqual(result.epochs.map(({ validationLoss }) => validationLoss));
  });

  it("gives the same numbers for the same key, dropout included", async () => {
    const first = cloneModel(model);
    const second = cloneModel(model);
    const once = await run(finetune({ ...input({ epochs: 1, dropout: 0.2 }), model: first }));
    const again = await run(finetune({ ...input({ epochs: 1, dropout: 0.2 }), model: second }));
    const without = await run(finetune(input({ epochs: 1 })));
    expect(again.metrics).toEqual(once.metrics);
    expect(without.metrics).not.toEqual(once.metrics);
    disposeModel(first);
    disposeModel(second);
  });

  it("does not depend on the size of micro-batches", async () => {
    const copy = cloneModel(model);
    const whole = await run(finetune({ ...input({ epochs: 1, microBatchSize: 8 }), model: copy }));
    const parts = await run(finetune(input({ epochs: 1, microBatchSize: 1 })));
    parts.metrics.forEach((row, step) => {
      expect(row.loss).toBeCloseTo(whole.metrics[step]!.loss!, 4);
      expect(row.gradNorm).toBeCloseTo(whole.metrics[step]!.gradNorm!, 3);
    });
    disposeModel(copy);
  });

  it("stops at a loss that is not finite, with stage, step and metric", async () => {
    const gain = model.params["transformer.ln_f.weight"]!;
    tf.tidy(() => gain.assign(tf.fill(gain.shape, Number.NaN)));
    const { result } = await run(Effect.flip(finetune(input())));
    expect(result).toMatchObject({ _tag: "NonFiniteLoss", stage: "sft", step: 1, metric: "loss" });
  });

  it("names everything that is wrong with its input at once", async () => {
    const long = { prompt: Array<number>(20).fill(1), response: [2, eos] };
    const { result } = await run(
      Effect.flip(finetune({ ...input(), demonstrations: [long, demonstrations[0]!, long], validation: [] })),
    );
    expect(result._tag === "InvalidInput" && result.problems.map(({ where }) => where)).toEqual([
      "demonstrations[0]",
      "demonstrations[2]",
      "validation",
    ]);
  });
});

it("trains an adapter alone, which drops out at its own rate", async () => {
  // Embeddings that stay as small as a fresh model's would leave an adapter nothing to say.
  const embedding = model.params["transformer.wte.weight"]!;
  tf.tidy(() => embedding.assign(tf.mul(embedding, 20)));
  const numbers = () => Object.values(model.params).map((param) => Array.from(param.dataSync()));
  const original = numbers();
  const lora = { rank: 4, alpha: 8, dropout: 0.1, targetModules: ["c_attn", "c_fc"] };
  const adapted = addLora(model, lora, key(3));
  const { metrics } = await run(finetune({ ...input({ learningRate: 3e-2 }), model: adapted }));
  expect(metrics.at(-1)!.loss).toBeLessThan(0.9 * metrics[0]!.loss!);
  expect(numbers()).toEqual(original);
  disposeModel(adapted);
});
