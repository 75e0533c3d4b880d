import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeServices from "@effect/platform-node/NodeServices";
import { key } from "@rlhf/core/random";
import { expectFidelity, relativeError } from "@rlhf/core/testing/fidelity";
import { useBackend } from "@rlhf/tensor/backend";
import { valueAndGrads } from "@rlhf/tensor/value_and_grads";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parameterLayouts, predictsTokens, scalarHeadLayouts } from "./_layout.ts";
import { loadScalarAdapter, saveAdapter } from "./adapter_file.ts";
import { type Sequences, toSequences } from "./batch.ts";
import { loadCheckpoint, loadScalarModel, saveCheckpoint } from "./checkpoint.ts";
import { addLora } from "./lora.ts";
import { disposeModel } from "./model.ts";
import { decodeSafetensors } from "./safetensors.ts";
import {
  cloneScalarModel,
  disposeScalarModel,
  initScalarModel,
  type ScalarModel,
  sequenceScores,
} from "./scalar_head.ts";
import { goldenPath } from "./testing/golden.ts";
import { cpuAndNative, inputOf, readGoldenModel } from "./testing/golden_model.ts";

/** From bench/references/transformer_bert_scalar.py. */
const golden = readGoldenModel("bert_scalar");
const backends = await cpuAndNative();

const run = <A, E>(effect: Effect.Effect<A, E, NodeServices.NodeServices>) =>
  Effect.runPromise(Effect.provide(effect, NodeServices.layer));
const scoresOf = async (model: ScalarModel, batch: Sequences) => {
  const scores = sequenceScores(model, batch);
  const values = await scores.data<"float32">();
  scores.dispose();
  return values;
};
const free = (batch: Sequences) => tf.dispose([batch.ids, batch.segments, batch.positions]);

let tensors = 0;
describe.each(backends)("a BERT with one label on %s", (backend) => {
  let model: ScalarModel;
  let batch: Sequences;
  const check = (formula: string, error: number) =>
    expectFidelity({ formula: `bert: ${formula}`, source: golden.source, error, limit: 1e-5 });

  beforeEach(async () => {
    await useBackend(backend);
    tensors = tf.memory().numTensors;
    model = await run(loadScalarModel(goldenPath("bert_scalar")));
    batch = inputOf(golden, golden.right);
  });
  afterEach(() => {
    disposeScalarModel(model);
    free(batch);
    expect(tf.memory().numTensors).toBe(tensors);
  });

  it("gives transformers' scores", async () => {
    check(
      "scores of the sequence classifier",
      relativeError(await scoresOf(model, batch), golden.right.scores),
    );
  });

  it("gives transformers' loss and gradients of a ranking", async () => {
    const expected = decodeSafetensors(await readFile(goldenPath("bert_scalar_gradients.safetensors")));
    const { value, grads } = valueAndGrads(() => {
      const scores = sequenceScores(model, batch);
      const behind = tf.sub(tf.slice(scores, [1], [2]), tf.slice(scores, [0], [2]));
      return tf.mean(tf.softplus(behind)) as tf.Scalar;
    }, model.params);
    check("ranking loss of the sequence classifier", relativeError(await value.data(), [golden.right.loss]));
    const layouts = [
      ...parameterLayouts(model.config).filter(({ name }) => !predictsTokens(name)),
      ...scalarHeadLayouts(model.config),
    ];
    for (const { name, stored } of layouts) {
      const joint = tf.tidy(() => {
        const parts = stored.map((part) => {
          const { values, shape } = expected[part.name]!;
          const tensor = tf.tensor(values, [...shape]);
          return part.transposed ? tf.transpose(tensor) : tensor;
        });
        return parts.length === 1 ? parts[0]! : tf.concat(parts, -1);
      });
      const error = relativeError(await grads[name]!.data(), await joint.data());
      check("gradients of the sequence classifier", error);
      joint.dispose();
    }
    tf.dispose([value, Object.values(grads)]);
  });

  it("scores a row as it does without padding, which may stand on the left", async () => {
    const row = golden.right.ids.slice(golden.time, golden.time + 5);
    const alone = toSequences({
      ids: Int32Array.from([0, 0, ...row]),
      segments: Int32Array.from([0, 0, 1, 1, 1, 1, 1]),
      positions: Int32Array.from([0, 0, 0, 1, 2, 3, 4]),
      batch: 1,
      time: 7,
    });
    expect(relativeError(await scoresOf(model, alone), [golden.right.scores[1]!])).toBeLessThan(1e-5);
    free(alone);
  });

  it("is saved as transformers does", async () => {
    const folder = await mkdtemp(join(tmpdir(), "bert-"));
    const names = ["classifier.bias", "classifier.weight", "bert.pooler.dense.weight"];
    try {
      await run(saveCheckpoint(folder, model));
      const read = async (from: string) => decodeSafetensors(await readFile(join(from, "model.safetensors")));
      const [ours, theirs] = [await read(folder), await read(goldenPath("bert_scalar"))];
      expect(Object.keys(ours)).toEqual(expect.arrayContaining(names));
      expect(Object.keys(ours).sort()).toEqual(Object.keys(theirs).sort());
      for (const [name, { shape, values }] of Object.entries(theirs)) {
        expect(ours[name]!.shape, name).toEqual(shape);
        expect(ours[name]!.values, name).toEqual(values);
      }
      const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
      expect(config.architectures).toEqual(["BertForSequenceClassification"]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

it("becomes a reward model from a masked language model, and a copy of it", async () => {
  await useBackend("cpu");
  tensors = tf.memory().numTensors;
  const model = initScalarModel(await run(loadCheckpoint(goldenPath("bert"))), key(1));
  expect(Object.keys(model.params).filter((name) => /pooler|cls|score/.test(name))).toEqual([
    "bert.pooler.dense.weight",
    "bert.pooler.dense.bias",
    "score.weight",
    "score.bias",
  ]);
  const copy = cloneScalarModel(model);
  const batch = inputOf(golden, golden.right);
  expect(await scoresOf(copy, batch)).toEqual(await scoresOf(model, batch));
  free(batch);
  for (const each of [model, copy]) disposeScalarModel(each);
  expect(tf.memory().numTensors).toBe(tensors);
});

describe("a BERT reward model with an adapter", () => {
  const { source, bert_scalar: expected } = JSON.parse(readFileSync(goldenPath("lora.json"), "utf8"));
  const rankingLoss = (scores: tf.Tensor1D) => {
    const behind = tf.sub(tf.slice(scores, [1], [2]), tf.slice(scores, [0], [2]));
    return tf.mean(tf.softplus(behind)) as tf.Scalar;
  };

  it.each(backends)("gives PEFT's scores, loss and gradients on %s", async (backend) => {
    await useBackend(backend);
    tensors = tf.memory().numTensors;
    const check = (what: string, error: number) =>
      expectFidelity({ formula: `LoRA on a BERT reward model: ${what}`, source, error, limit: 1e-5 });
    const base = await run(loadScalarModel(goldenPath("bert_scalar")));
    const model = await run(loadScalarAdapter(goldenPath("bert_scalar_lora"), base.backbone));
    const batch = inputOf(golden, golden.right);
    check("scores", relativeError(await scoresOf(model, batch), expected.scores));
    const { value, grads } = valueAndGrads(() => rankingLoss(sequenceScores(model, batch)), model.params);
    check("loss", relativeError(await value.data(), [expected.loss]));
    expect(Object.keys(grads).sort()).toEqual(Object.keys(expected.gradients).sort());
    for (const [name, gradient] of Object.entries(grads)) {
      check("gradients", relativeError(await gradient.data(), expected.gradients[name]));
    }
    tf.dispose([value, Object.values(grads)]);
    free(batch);
    for (const each of [model, base]) disposeScalarModel(each);
    expect(tf.memory().numTensors).toBe(tensors);
  });

  it("grows out of a masked language model, trains its pooler, and is saved with it", async () => {
    await useBackend("cpu");
    tensors = tf.memory().numTensors;
    const folder = await mkdtemp(join(tmpdir(), "bert-lora-"));
    try {
      const base = await run(loadCheckpoint(goldenPath("bert")));
      const lora = { rank: 1, alpha: 1, dropout: 0, targetModules: ["query", "value"] };
      const model = initScalarModel(addLora(base, lora, key(2)), key(3));
      expect(Object.keys(model.params)).toContain("bert.pooler.dense.weight");
      const plain = initScalarModel(await run(loadCheckpoint(goldenPath("bert"))), key(3));
      const batch = inputOf(golden, golden.right);
      expect(await scoresOf(model, batch)).toEqual(await scoresOf(plain, batch)); // B is 0
      tf.tidy(() => {
        for (const param of Object.values(model.params)) param.assign(tf.add(param, 0.1));
      });
      await run(saveAdapter(folder, model, "bert"));
      const config = JSON.parse(await readFile(join(folder, "adapter_config.json"), "utf8"));
      expect(config.modules_to_save).toEqual(["classifier", "pooler"]);
      const loaded = await run(loadScalarAdapter(folder, base));
      expect(await scoresOf(loaded, batch)).toEqual(await scoresOf(model, batch));
      const poolerless = run(Effect.flip(loadScalarAdapter(goldenPath("bert_scalar_lora"), base)));
      expect((await poolerless).message).toContain("BERT's pooler");
      free(batch);
      for (const each of [model, plain, loaded]) disposeScalarModel(each);
      disposeModel(base);
      expect(tf.memory().numTensors).toBe(tensors);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
