/** Who owns an array: reuse by the pool, sharing by stock kernels, updates in place, and memory over many steps. */
import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import { beforeEach, describe, expect, it } from "vitest";
import { integers, key } from "../core/random.ts";
import { adamwStep } from "../tensor/adamw_step.ts";
import { addInto } from "../tensor/add_into.ts";
import { attention } from "../tensor/attention.ts";
import { createKvCache, decodeStep } from "../tensor/decode_step.ts";
import type { DecoderSpec, KvCache } from "../tensor/decoder.ts";
import { embed } from "../tensor/embed.ts";
import { layerNorm } from "../tensor/layer_norm.ts";
import { linear } from "../tensor/linear.ts";
import { linearTokenLogProbs } from "../tensor/linear_token_log_probs.ts";
import { randomNumbers } from "../tensor/testing/numbers.ts";
import { valueAndGrads } from "../tensor/value_and_grads.ts";
import type { NativeBackend } from "./backend.ts";
import { register } from "./mod.ts";

let backend: NativeBackend;
beforeEach(async () => {
  register();
  await tf.setBackend("native");
  backend = tf.backend() as NativeBackend;
});

const size = 2000;
const range = (offset: number) => Float32Array.from({ length: size }, (_, i) => i + offset);

describe("ownership", () => {
  it("data() is a copy that later kernels do not touch", async () => {
    const x = tf.add(tf.tensor1d(range(0)), 0);
    const values = await x.data();
    expect(values.buffer.byteLength).toBe(4 * size);
    x.dispose();
    tf.mul(tf.tensor1d(range(0)), -1).dispose();
    tf.ones([size]).dispose();
    expect(values[7]).toBe(7);
  });
  it("a view made by a stock kernel keeps its array out of the pool", async () => {
    const x = tf.add(tf.tensor2d(range(0), [2, size / 2]), 0);
    // The stock kernel of strided slices answers with a view of its input.
    const row = tf.stridedSlice(x, [1, 0], [2, size / 2], [1, 1]);
    x.dispose();
    const overwrite = Array.from({ length: 4 }, () => tf.fill([2, size / 2], -1));
    expect((await row.data())[0]).toBe(size / 2);
    tf.dispose([row, overwrite]);
  });
  it("a clone survives its original", async () => {
    const x = tf.add(tf.tensor1d(range(0)), 1);
    const y = x.clone();
    x.dispose();
    const overwrite = tf.fill([size], -1);
    expect((await y.data())[3]).toBe(4);
    tf.dispose([y, overwrite]);
  });
});

describe("addInto", () => {
  const total = (sum: tf.Tensor) => addInto(sum, tf.add(tf.tensor1d(range(0)), 1));

  it("works in the memory of a sum that nobody shares", async () => {
    const sum = tf.add(tf.tensor1d(range(0)), 0);
    const own = backend.array(sum);
    const result = total(sum);
    expect(backend.array(result)).toBe(own);
    expect((await result.data())[3]).toBe(7);
    expect(sum.isDisposed).toBe(true);
    result.dispose();
  });
  it("leaves a clone of the sum alone", async () => {
    const sum = tf.add(tf.tensor1d(range(0)), 0);
    const clone = sum.clone();
    const result = total(sum);
    expect([(await clone.data())[3], (await result.data())[3]]).toEqual([3, 7]);
    tf.dispose([clone, result]);
  });
  it("frees what it was given", () => {
    const [before, data] = [tf.memory().numTensors, backend.numDataIds()];
    tf.tidy(() => total(tf.add(tf.tensor1d(range(0)), 0)).dispose());
    expect([tf.memory().numTensors, backend.numDataIds()]).toEqual([before, data]);
  });
});

describe("adamw in place", () => {
  const update = (
    step: number,
    param: tf.Variable,
    grad: tf.Tensor,
    first: tf.Variable,
    second: tf.Variable,
  ) =>
    adamwStep({
      params: { param },
      grads: { param: grad },
      firstMoments: { param: first },
      secondMoments: { param: second },
      step,
      learningRate: 0.5,
      beta1: 0.9,
      beta2: 0.999,
      epsilon: 1e-8,
      weightDecay: () => 0,
    });
  const zeros = () => tf.tidy(() => tf.variable(tf.zeros([size])));

  it("leaves clones, the user's array and the tensor that a variable was made from alone", async () => {
    const array = range(0);
    const origin = tf.tensor1d(array);
    const param = tf.variable(origin);
    const reference = param.clone();
    const [grad, first, second] = [tf.ones([size]), zeros(), zeros()];
    const before = await param.data();
    for (let step = 1; step <= 3; step++) update(step, param, grad, first, second);
    const after = await param.data();
    expect(after[5]).toBeCloseTo(5 - 1.5, 4);
    for (const kept of [array, await origin.data(), await reference.data(), before])
      expect(kept).toEqual(range(0));
    tf.dispose([origin, param, reference, grad, first, second]);
  });
  it("works in place when the variable is the only owner", () => {
    const param = tf.tidy(() => tf.variable(tf.add(tf.tensor1d(range(0)), 0)));
    const [grad, first, second] = [tf.ones([size]), zeros(), zeros()];
    update(1, param, grad, first, second);
    const own = backend.array(param);
    update(2, param, grad, first, second);
    expect(backend.array(param)).toBe(own);
    tf.dispose([param, grad, first, second]);
  });
  it("refuses a shared tensor that is no variable", () => {
    const x = tf.add(tf.tensor1d(range(0)), 0);
    const shared = x.clone();
    const attrs = {
      params: [x],
      grads: [x],
      firstMoments: [x],
      secondMoments: [x],
      step: 1,
      learningRate: 1,
      beta1: 0.9,
      beta2: 0.9,
      epsilon: 1,
      weightDecays: [0],
      gradScale: null,
    };
    expect(() => tf.engine().runKernel("RlhfAdamw", {}, attrs as unknown as tf.NamedAttrMap)).toThrow(
      TypeError,
    );
    tf.dispose([x, shared]);
  });
});

it("decoding sees weights that changed in place", async () => {
  let seed = 0;
  const variable = (...shape: number[]) =>
    tf.tidy(() => tf.variable(tf.mul(tf.tensor(randomNumbers(seed++, shape), shape), 1)));
  const [vocab, width] = [40, 32];
  const norm = () => ({ gain: variable(width), bias: variable(width) });
  const weights = {
    tokenEmbedding: variable(vocab, width),
    positionEmbedding: variable(8, width),
    blocks: [
      {
        attentionNorm: norm(),
        qkv: { weight: variable(width, 3 * width) },
        attentionOut: { weight: variable(width, width) },
        feedForwardNorm: norm(),
        up: { weight: variable(width, 64) },
        down: { weight: variable(64, width) },
      },
    ],
    finalNorm: norm(),
    unembedding: variable(vocab, width),
  };
  const spec: DecoderSpec = {
    heads: 2,
    kvHeads: 2,
    headDim: 16,
    norm: "layer",
    epsilon: 1e-5,
    activation: "gelu",
  };
  const zero = Int32Array.from([0]);
  const step = async (cache: KvCache) => {
    const logits = decodeStep({
      spec,
      weights,
      cache,
      ids: zero,
      slots: zero,
      positions: zero,
      outputRows: zero,
    });
    const values = await logits.data();
    logits.dispose();
    return values;
  };
  const size = { layers: 1, slots: 1, length: 8 };
  const cache = createKvCache(spec, size);
  const before = await step(cache);
  const params = { up: weights.blocks[0]!.up.weight, unembedding: weights.unembedding };
  const like = () =>
    tf.tidy(() => ({
      up: tf.variable(tf.ones([width, 64])),
      unembedding: tf.variable(tf.ones([vocab, width])),
    }));
  const [grads, firstMoments, secondMoments] = [like(), like(), like()];
  const options = {
    step: 1,
    learningRate: 0.3,
    beta1: 0.9,
    beta2: 0.99,
    epsilon: 1e-8,
    weightDecay: () => 0,
  };
  adamwStep({ params, grads, firstMoments, secondMoments, ...options });
  const after = await step(cache);
  const fresh = createKvCache(spec, size);
  expect(after).not.toEqual(before);
  expect(after).toEqual(await step(fresh));
  cache.dispose();
  fresh.dispose();
  const { blocks, ...others } = weights;
  tf.dispose([blocks, others, grads, firstMoments, secondMoments] as unknown as tf.TensorContainer);
});

it("stays flat over 1,000 training steps", async () => {
  let seed = 0;
  const [vocab, width, batch, time, heads] = [80, 32, 4, 16, 2];
  const variable = (...shape: number[]) =>
    tf.tidy(() => tf.variable(tf.tensor(randomNumbers(seed++, shape, 0.1), shape)));
  const params = {
    embedding: variable(vocab, width),
    gain: variable(width),
    bias: variable(width),
    qkv: variable(width, 3 * width),
    out: variable(width, width),
    up: variable(width, 4 * width),
    down: variable(4 * width, width),
  };
  const moments = () =>
    Object.fromEntries(
      Object.entries(params).map(([name, param]) => [
        name,
        tf.tidy(() => tf.variable(tf.zerosLike(param as tf.Tensor))),
      ]),
    );
  const [firstMoments, secondMoments] = [moments(), moments()];
  const ids = tf.tensor2d(integers(key(1), batch * time, vocab), [batch, time], "int32");
  const loss = () => {
    let x = embed(params.embedding, ids) as tf.Tensor3D;
    const normed = () => layerNorm(x, params.gain, params.bias);
    const mixed = attention(linear(normed(), params.qkv), { heads, kvHeads: heads, causal: true });
    x = linear(mixed, params.out, { residual: x });
    x = linear(linear(normed(), params.up, { activation: "gelu" }), params.down, { residual: x });
    const rows = tf.reshape(x, [batch * time, width]) as tf.Tensor2D;
    const { logProbs } = linearTokenLogProbs(rows, params.embedding, tf.reshape(ids, [-1]) as tf.Tensor1D);
    return tf.neg(tf.mean(logProbs)) as tf.Scalar;
  };
  const losses: number[] = [];
  const step = async (number: number) => {
    const { value, grads } = valueAndGrads(loss, params);
    const schedule = { step: number, learningRate: 1e-3, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };
    adamwStep({ params, grads, firstMoments, secondMoments, ...schedule, weightDecay: () => 0 });
    losses.push((await value.data())[0]!);
    tf.dispose([value, grads]);
  };
  const state = () => ({
    tensors: tf.memory().numTensors,
    data: backend.numDataIds(),
    pooled: backend.pool.bytes,
  });
  for (let i = 1; i <= 20; i++) await step(i);
  const before = state();
  const resident = process.memoryUsage().arrayBuffers;
  for (let i = 21; i <= 1000; i++) await step(i);
  expect(state()).toEqual(before);
  expect(process.memoryUsage().arrayBuffers - resident).toBeLessThan(20e6);
  expect(losses.at(-1)).toBeLessThan(0.7 * losses[0]!);
  tf.dispose([params, firstMoments, secondMoments, ids]);
});
