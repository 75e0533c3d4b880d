import { key } from "@rlhf/core/random";
import { useBackend } from "@rlhf/tensor/backend";
import { valueAndGrads } from "@rlhf/tensor/value_and_grads";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeEach, expect, it } from "vitest";
import { toSequences } from "./batch.ts";
import { dropout } from "./dropout.ts";
import { hiddenStates } from "./hidden_states.ts";
import { initModel } from "./init.ts";
import { nextTokenLogProbs } from "./log_probs.ts";
import { cloneModel, copyParams, disposeModel } from "./model.ts";
import { parameterCount } from "./parameters.ts";
import {
  cloneScalarModel,
  disposeScalarModel,
  initScalarModel,
  sequenceScores,
  tokenValues,
} from "./scalar_head.ts";
import { oneSequence } from "./testing/golden.ts";
import { tinyConfig, tinyModel } from "./testing/tiny_model.ts";

let tensors = 0;
beforeEach(async () => {
  await useBackend("cpu");
  tensors = tf.memory().numTensors;
});
afterEach(() => expect(tf.memory().numTensors).toBe(tensors));

/** The value of a tensor, which is freed. */
const take = async (tensor: tf.Tensor) => {
  const values = Array.from(await tensor.data());
  tensor.dispose();
  return values;
};
const expectClose = (found: ReadonlyArray<number>, expected: ReadonlyArray<number>) => {
  expect(found).toHaveLength(expected.length);
  found.forEach((value, i) => {
    expect(Math.abs(value - expected[i]!)).toBeLessThan(2e-6);
  });
};
const deviation = (values: ReadonlyArray<number>) => Math.hypot(...values) / Math.sqrt(values.length);

it("initialises as GPT-2 does, the same for the same key", async () => {
  const config = { ...tinyConfig, width: 64, vocabSize: 100 };
  const [model, same, other] = [
    initModel(config, key(1)),
    initModel(config, key(1)),
    initModel(config, key(2)),
  ];
  const values = async (from: typeof model, name: string) => Array.from(await from.params[name]!.data());
  expect(Object.values(model.params).reduce((sum, { size }) => sum + size, 0)).toBe(parameterCount(config));
  expect(deviation(await values(model, "transformer.wte.weight"))).toBeCloseTo(0.02, 3);
  expect(deviation(await values(model, "transformer.h.1.mlp.c_proj.weight"))).toBeCloseTo(0.01, 3);
  expect(new Set(await values(model, "transformer.h.0.ln_1.weight"))).toEqual(new Set([1]));
  expect(new Set(await values(model, "transformer.h.0.attn.c_attn.bias"))).toEqual(new Set([0]));
  const name = "transformer.h.0.attn.c_attn.weight";
  expect(await values(same, name)).toEqual(await values(model, name));
  expect(await values(other, name)).not.toEqual(await values(model, name));
  for (const each of [model, same, other]) disposeModel(each);
});

it("clones share nothing, and copying makes two models equal", async () => {
  const name = "transformer.ln_f.bias";
  const model = tinyModel();
  const clone = cloneModel(model);
  const original = Array.from(await model.params[name]!.data());
  tf.tidy(() => model.params[name]!.assign(tf.zeros([8])));
  copyParams(clone, model);
  expect(Array.from(await model.params[name]!.data())).toEqual(original);
  expect(() => copyParams({ params: {} }, model)).toThrow(/wte.weight must have shape \[11,8\], got none/);
  disposeModel(model);
  disposeModel(clone);
});

it("gives packed texts what each has alone", async () => {
  const model = tinyModel();
  const packed = toSequences({
    ids: Int32Array.of(3, 4, 5, 6, 7, 8, 9, 0),
    segments: Int32Array.of(1, 1, 1, 2, 2, 2, 2, 0),
    positions: Int32Array.of(0, 1, 2, 0, 1, 2, 3, 0),
    batch: 1,
    time: 8,
  });
  const judge = async (batch: typeof packed) => {
    const { logProbs, entropy } = nextTokenLogProbs(model, batch);
    tf.dispose([entropy, batch.ids, batch.segments, batch.positions]);
    return take(logProbs);
  };
  const alone = [...(await judge(oneSequence([3, 4, 5]))), ...(await judge(oneSequence([6, 7, 8, 9]))), 0];
  expectClose(await judge(packed), alone);
  disposeModel(model);
});

it("scores a sequence at its last real token, whatever the batch and the padding", async () => {
  const model = initScalarModel(tinyModel(), key(3));
  tf.tidy(() => model.head.bias.assign(tf.scalar(0.25)));
  const batch = toSequences({
    ids: Int32Array.of(3, 4, 5, 0, 0, 0, 6, 7),
    segments: Int32Array.of(1, 1, 1, 0, 0, 0, 1, 1),
    positions: Int32Array.of(0, 1, 2, 0, 0, 0, 0, 1),
    batch: 2,
    time: 4,
  });
  const scores = await take(sequenceScores(model, batch));
  const values = await take(tokenValues(model, batch));
  expect(scores).toEqual([values[2], values[7]]);
  for (const [index, tokens] of [
    [3, 4, 5],
    [6, 7],
  ].entries()) {
    const alone = oneSequence(tokens);
    expectClose(await take(sequenceScores(model, alone)), [scores[index]!]);
    tf.dispose([alone.ids, alone.segments, alone.positions]);
  }
  const valueNetwork = cloneScalarModel(model);
  expect(Object.keys(valueNetwork.params).sort()).toEqual(Object.keys(model.params).sort());
  expectClose(await take(sequenceScores(valueNetwork, batch)), scores);
  tf.dispose([batch.ids, batch.segments, batch.positions]);
  disposeScalarModel(valueNetwork);
  disposeScalarModel(model);
});

it("has gradients for head and backbone of a scalar model", async () => {
  const model = initScalarModel(tinyModel(), key(3));
  const batch = oneSequence([3, 4, 5]);
  const { value, grads } = valueAndGrads(() => tf.sum(sequenceScores(model, batch)), model.params);
  expect(await take(grads["score.bias"]!)).toEqual([1]);
  expect(deviation(Array.from(await grads["score.weight"]!.data()))).toBeGreaterThan(0);
  expect(deviation(Array.from(await grads["transformer.wte.weight"]!.data()))).toBeGreaterThan(0);
  tf.dispose([value, ...Object.values(grads), batch.ids, batch.segments, batch.positions]);
  disposeScalarModel(model);
});

it("drops out by key, and only when asked to", async () => {
  const model = tinyModel();
  const batch = oneSequence([3, 4, 5, 6]);
  const states = async (rate: number, seed: number) =>
    take(hiddenStates(model, batch, { dropout: { rate, key: key(seed) } }));
  const plain = await take(hiddenStates(model, batch));
  expectClose(await states(0, 1), plain);
  const dropped = await states(0.5, 1);
  expect(await states(0.5, 1)).toEqual(dropped);
  expect(await states(0.5, 2)).not.toEqual(dropped);
  expect(dropped).not.toEqual(plain);
  await expect(states(1, 1)).rejects.toThrow(/rate must lie in/);
  tf.dispose([batch.ids, batch.segments, batch.positions]);
  disposeModel(model);
});

it("refuses rows longer than the context and tensors that disagree", () => {
  const model = tinyModel();
  const long = oneSequence(Array.from({ length: 25 }, () => 3));
  expect(() => hiddenStates(model, long)).toThrow(/at most 24 tokens.*got 25/);
  const short = oneSequence([3]);
  expect(() => hiddenStates(model, { ...long, segments: short.segments })).toThrow(/must share one shape/);
  tf.dispose([long, short].flatMap(({ ids, segments, positions }) => [ids, segments, positions]));
  disposeModel(model);
});

it("drops the share it is told to and keeps the mean", async () => {
  const [size, rate] = [40_000, 0.3];
  const kept = await take(tf.tidy(() => dropout(tf.ones([size]), { rate, key: key(1) })));
  expect(kept.filter((value) => value === 0).length / size).toBeCloseTo(rate, 2);
  expect(kept.reduce((sum, value) => sum + value, 0) / size).toBeCloseTo(1, 2);
});
