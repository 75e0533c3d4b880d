import { readFileSync } from "node:fs";
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import { key } from "@rlhf/core/random";
import { expectFidelity, relativeError } from "@rlhf/core/testing/fidelity";
import { useBackend } from "@rlhf/tensor/backend";
import { createKvCache, decodeStep } from "@rlhf/tensor/decode_step";
import { embed } from "@rlhf/tensor/embed";
import { valueAndGrads } from "@rlhf/tensor/value_and_grads";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromHuggingFace, type HuggingFaceConfig } from "./_hugging_face.ts";
import { parameterLayouts } from "./_layout.ts";
import type { Sequences } from "./batch.ts";
import { loadCheckpoint } from "./checkpoint.ts";
import { hiddenStates, hiddenStatesAt } from "./hidden_states.ts";
import { maskedTokenLogProbs, nextTokenLogProbs } from "./log_probs.ts";
import { logits } from "./logits.ts";
import { cloneModel, disposeModel, type Model } from "./model.ts";
import { decoderSpec, decoderWeights } from "./parameters.ts";
import { decodeSafetensors } from "./safetensors.ts";
import { disposeScalarModel, initScalarModel, sequenceScores } from "./scalar_head.ts";
import { goldenPath, meanNegative } from "./testing/golden.ts";
import { atRealTokens, cpuAndNative, inputOf, readGoldenModel } from "./testing/golden_model.ts";

const files = Layer.merge(NodeFileSystem.layer, NodePath.layer);
const backends = await cpuAndNative();
const cases = ["gpt2", "llama", "qwen2", "qwen3", "bert"].flatMap((name) =>
  backends.map((backend) => [name, backend] as const),
);

/** The checkpoints hold bfloat16 (Llama), float16 in two files with an index (Qwen 2) and float32. */
describe.each(cases)("%s on %s gives what transformers gives", (name, backend) => {
  const golden = readGoldenModel(name);
  const maskedLm = name === "bert";
  const check = (what: string, error: number) =>
    expectFidelity({ formula: `${name}: ${what}`, source: golden.source, error, limit: 1e-5 });
  let model: Model;
  let before = 0;

  beforeAll(async () => {
    await useBackend(backend);
    before = tf.memory().numTensors;
    model = await Effect.runPromise(Effect.provide(loadCheckpoint(goldenPath(name)), files));
  });
  afterAll(() => {
    disposeModel(model);
    expect(tf.memory().numTensors).toBe(before);
  });

  const run = async (padding: "left" | "right", f: (batch: Sequences) => tf.Tensor) => {
    const batch = inputOf(golden, golden[padding]);
    const result = tf.tidy(() => f(batch));
    const values = await result.data<"float32">();
    tf.dispose([result, batch.ids, batch.segments, batch.positions]);
    return values;
  };
  const loss = (batch: Sequences): tf.Scalar =>
    maskedLm
      ? tf.tidy(() => {
          const real = tf.cast(batch.segments, "float32");
          const { logProbs } = maskedTokenLogProbs(model, batch, batch.ids);
          return tf.neg(tf.div(tf.sum(tf.mul(logProbs, real)), tf.sum(real))) as tf.Scalar;
        })
      : meanNegative(nextTokenLogProbs(model, batch).logProbs, batch.segments);

  it.each(["right", "left"] as const)("padded on the %s: hidden states, logits, loss", async (padding) => {
    const expected = golden[padding];
    const hidden = await run(padding, (batch) => atRealTokens(hiddenStates(model, batch), batch.segments));
    check(`hidden states, padded ${padding}`, relativeError(hidden, expected.hidden));
    const found = await run(padding, (batch) => atRealTokens(logits(model, batch), batch.segments));
    check(`logits, padded ${padding}`, relativeError(found, expected.logits));
    check(`loss, padded ${padding}`, relativeError(await run(padding, loss), [expected.loss]));
  });

  it.each(["right", "left"] as const)("padded on the %s: hidden states of every layer", async (padding) => {
    for (const [layers, expected] of golden[padding].layers.entries()) {
      // The first blocks are a model of their own, the final norm included.
      const cut: Model = { ...model, config: { ...model.config, layers } };
      const hidden = await run(padding, (batch) => atRealTokens(hiddenStates(cut, batch), batch.segments));
      check(
        `hidden states after ${layers} of ${model.config.layers} layers`,
        relativeError(hidden, expected),
      );
    }
  });

  it("at some places what the whole has there, gradients too", async () => {
    const batch = inputOf(golden, golden.right);
    const places = tf.tensor1d([3, 1, 1, golden.time], "int32");
    const weights = tf.randomNormal<tf.Rank.R2>([places.size, model.config.width], 0, 1, "float32", 1);
    const weigh = (rows: tf.Tensor) => tf.sum(tf.mul(rows, weights));
    const some = valueAndGrads(() => weigh(hiddenStatesAt(model, batch, places)), model.params);
    const all = valueAndGrads(() => {
      return weigh(embed(tf.reshape(hiddenStates(model, batch), [-1, model.config.width]), places));
    }, model.params);
    expect(relativeError(await some.value.data(), await all.value.data())).toBeLessThan(1e-5);
    for (const [name, grad] of Object.entries(some.grads)) {
      expect(relativeError(await grad.data(), await all.grads[name]!.data())).toBeLessThan(1e-5);
    }
    tf.dispose([places, weights, some, all, { ...batch }] as Array<tf.TensorContainer>);
  });

  it("gradients of every parameter", async () => {
    const expected = decodeSafetensors(readFileSync(goldenPath(`${name}_gradients.safetensors`)));
    const batch = inputOf(golden, golden.right);
    const { value, grads } = valueAndGrads(() => loss(batch), model.params);
    for (const layout of parameterLayouts(model.config)) {
      const parts = layout.stored.map(({ name }) => expected[name]!);
      const joint = tf.tidy(() => {
        const tensors = parts.map(({ values, shape }, i) => {
          const tensor = tf.tensor(values, [...shape]);
          return layout.stored[i]!.transposed ? tf.transpose(tensor) : tensor;
        });
        return tensors.length === 1 ? tensors[0]! : tf.concat(tensors, -1);
      });
      // Joint parameters are compared whole: the gradient of BERT's key bias alone is 0 but for rounding.
      const error = relativeError(await grads[layout.name]!.data(), await joint.data());
      check("gradients of all parameters", error);
      joint.dispose();
    }
    tf.dispose([value, ...Object.values(grads), batch.ids, batch.segments, batch.positions]);
  });

  it.runIf(golden.cachedLogits)("logits with a key–value cache", async () => {
    const spec = decoderSpec(model.config);
    const weights = decoderWeights(model);
    const cache = createKvCache(spec, { layers: model.config.layers, slots: 1, length: golden.time });
    const found: Array<number> = [];
    for (const [from, to] of [
      [0, 3],
      [3, 4],
      [4, golden.time],
    ] as const) {
      const rows = Int32Array.from({ length: to - from }, (_, i) => i);
      const step = decodeStep({
        spec,
        weights,
        cache,
        ids: Int32Array.from(golden.right.ids.slice(from, to)),
        slots: new Int32Array(to - from),
        positions: rows.map((row) => row + from),
        outputRows: rows,
      });
      found.push(...(await step.data()));
      step.dispose();
    }
    cache.dispose();
    check("logits with a key–value cache", relativeError(found, golden.cachedLogits!));
  });

  it.runIf(golden.scoreWeight)("scores of its sequence classifier", async () => {
    const scorer = initScalarModel(cloneModel(model), key(1));
    tf.tidy(() => scorer.head.weight.assign(tf.tensor1d([...golden.scoreWeight!])));
    for (const padding of ["right", "left"] as const) {
      const scores = await run(padding, (batch) => sequenceScores(scorer, batch));
      check("scores of the sequence classifier", relativeError(scores, golden[padding].scores));
    }
    disposeScalarModel(scorer);
  });

  it.each(Object.entries(golden.scaled ?? {}))(
    "logits with %s scaling",
    async (scaling, { rope_parameters, logits: expected }) => {
      const file = JSON.parse(readFileSync(`${goldenPath(name)}/config.json`, "utf8"));
      const { shape } = fromHuggingFace({ ...file, rope_parameters } as HuggingFaceConfig);
      const scaled: Model = { ...model, config: shape };
      const found = await run("right", (batch) => atRealTokens(logits(scaled, batch), batch.segments));
      check(`logits with ${scaling} RoPE scaling`, relativeError(found, expected));
    },
  );
});
