/** tfjs's own kernels on the GPU against the stock cpu backend, on odd shapes and odd numbers; none may fall back. */
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { bools, floats, ints, RandomSource } from "../backend-native/testing/numbers.ts";
import { useBackend } from "../tensor/backend.ts";
import { expectClose, type Raw, runOn, withOddNumbers } from "../tensor/testing/run_on.ts";
import { fallbackCounts, resetFallbackCounts } from "./mod.ts";
import { hasDevice } from "./testing/emulator.ts";

type Operation = (tensors: tf.Tensor[]) => tf.Tensor | tf.Tensor[];

const bytesInUse = () => (tf.memory() as tf.MemoryInfo & { numBytesInGPU: number }).numBytesInGPU;

/** Compares the backends; the second time with NaN and infinities among the numbers. */
const compare = async (inputs: Raw[], operation: Operation, tolerance = 2e-6, special = true) => {
  for (const given of special ? [inputs, withOddNumbers(inputs)] : [inputs])
    expectClose(await runOn("cuda", given, operation), await runOn("cpu", given, operation), tolerance);
};

/** Moving elements changes none of them. */
const same = (raw: Raw, operation: Operation) => compare([raw], operation, 0, false);

describe.skipIf(!hasDevice())("plain kernels", () => {
  const source = new RandomSource(1);

  beforeAll(async () => {
    await useBackend("cpu");
    await useBackend("cuda");
  });
  beforeEach(resetFallbackCounts);
  afterEach(() => expect(fallbackCounts()).toEqual({}));

  /** Pairs of shapes that broadcast. */
  const broadcasts: Array<[number[], number[]]> = [
    [[], []],
    [[7], []],
    [[], [1]],
    [[5], [3, 5]],
    [
      [3, 1],
      [1, 5],
    ],
    [
      [4, 33, 17],
      [4, 33, 17],
    ],
    [
      [4, 33, 17],
      [33, 1],
    ],
    [
      [2, 1, 3, 1, 5],
      [1, 4, 3, 2, 1],
    ],
    [
      [0, 5],
      [1, 5],
    ],
  ];

  it.each(
    Object.entries({
      add: tf.add,
      sub: tf.sub,
      mul: tf.mul,
      div: tf.div,
      maximum: tf.maximum,
      minimum: tf.minimum,
      squaredDifference: tf.squaredDifference,
      equal: tf.equal,
      notEqual: tf.notEqual,
      greater: tf.greater,
      greaterEqual: tf.greaterEqual,
      less: tf.less,
      lessEqual: tf.lessEqual,
    }),
  )("%s of float32 and int32", async (name, operation) => {
    for (const [a, b] of broadcasts) {
      await compare([floats(source, a, 3), floats(source, b, 3)], ([x, y]) => operation(x!, y!));
      if (name === "squaredDifference") continue;
      await compare([ints(source, a, 5), ints(source, b, 5)], ([x, y]) => operation(x!, y!));
    }
  });

  it("pow, and the logic of booleans", async () => {
    for (const [a, b] of broadcasts) {
      await compare(
        [floats(source, a), floats(source, b, 2)],
        ([x, y]) => tf.pow(tf.abs(x!), y!),
        1e-5,
        false,
      );
      const flags = [bools(source, a), bools(source, b)];
      await compare(flags, ([x, y]) => [tf.logicalAnd(x!, y!), tf.logicalOr(x!, y!), tf.equal(x!, y!)]);
      await compare(flags, ([x]) => tf.logicalNot(x!));
    }
    await compare([floats(source, [99], 2)], ([x]) => tf.pow(x!, tf.scalar(2)));
  });

  it.each(
    Object.entries({
      abs: tf.abs,
      ceil: tf.ceil,
      cos: tf.cos,
      erf: tf.erf,
      exp: tf.exp,
      expm1: tf.expm1,
      floor: tf.floor,
      log: tf.log,
      log1p: tf.log1p,
      neg: tf.neg,
      reciprocal: tf.reciprocal,
      relu: tf.relu,
      round: tf.round,
      rsqrt: tf.rsqrt,
      sigmoid: tf.sigmoid,
      sign: tf.sign,
      sin: tf.sin,
      softplus: tf.softplus,
      sqrt: tf.sqrt,
      square: tf.square,
      tanh: tf.tanh,
      step: (x: tf.Tensor) => tf.step(x, 0.25),
      leakyRelu: (x: tf.Tensor) => tf.leakyRelu(x, 0.1),
      clip: (x: tf.Tensor) => tf.clipByValue(x, -0.5, 0.75),
      zerosLike: tf.zerosLike,
      onesLike: tf.onesLike,
    } satisfies Record<string, (x: tf.Tensor) => tf.Tensor>),
  )("%s", async (name, operation) => {
    // Sines of 1e30 depend on the library.
    const special = name !== "sin" && name !== "cos";
    for (const shape of [[], [1], [17], [0, 4], [33, 31]]) {
      for (const scale of [0.01, 1, 30]) {
        await compare([floats(source, shape, scale)], ([x]) => operation(x!), 2e-6, special);
      }
    }
  });

  it("casts between all types", async () => {
    for (const shape of [[], [5], [0, 4], [33, 31]]) {
      for (const raw of [floats(source, shape, 50), ints(source, shape, 3), bools(source, shape)]) {
        for (const dtype of ["float32", "int32", "bool"] as const)
          await same(raw, ([x]) => tf.cast(x!, dtype));
      }
    }
    const values = Float32Array.of(2.5, -2.5, 3e9, -3e9, 1e20, Number.NaN, Infinity);
    await same({ values, shape: [7], dtype: "float32" }, ([x]) => tf.cast(x!, "int32"));
  });

  it.each(Object.entries({ sum: tf.sum, mean: tf.mean, max: tf.max, min: tf.min, prod: tf.prod }))(
    "%s along any axes",
    async (name, operation) => {
      const shapes = [[], [1], [17], [0, 4], [33, 31], [5, 1, 9], [2, 3, 4, 5], [3, 20_000], [1100, 2, 5]];
      for (const shape of shapes) {
        if (shape.includes(0) && name !== "sum") continue;
        const axes = shape.map((_, axis) => axis);
        for (const axis of [undefined, ...axes, axes.filter((axis) => axis % 2 === 0), axes.slice(1)]) {
          const raw = floats(source, shape, name === "prod" ? 0.5 : 1);
          const tolerance = name === "sum" ? 1e-5 : 2e-6;
          await compare([raw], ([x]) => operation(x!, axis), tolerance, name !== "prod");
          await compare([raw], ([x]) => operation(x!, axis, true), tolerance, false);
          if (name === "mean" || name === "prod") continue;
          await same(ints(source, shape, 1000), ([x]) => operation(x!, axis));
        }
      }
    },
  );

  it("all, any, argMax, argMin, softmax, logSoftmax, logSumExp", async () => {
    for (const shape of [[1], [5, 3], [7, 33], [2, 3, 100], [3, 4097]]) {
      const raw = floats(source, shape, 4);
      await same(bools(source, shape), ([x]) => [tf.all(x!, -1), tf.any(x!, -1)]);
      await same(raw, ([x]) => [tf.argMax(x!, -1), tf.argMin(x!, -1)]);
      await compare([raw], ([x]) => tf.softmax(x!));
      await compare([raw], ([x]) => tf.logSoftmax(x!));
      await compare([raw], ([x]) => tf.logSumExp(x!, -1), 2e-6, false);
    }
    // Masked attention: all of a row but one −∞.
    const masked = Float32Array.from({ length: 64 }, (_, i) => (i % 9 === 0 ? i : -Infinity));
    await compare(
      [{ values: masked, shape: [8, 8], dtype: "float32" }],
      ([x]) => tf.softmax(x!),
      2e-6,
      false,
    );
  });

  it("cumsum along any axis", async () => {
    for (const shape of [[1], [9], [5, 70], [2, 3, 4]]) {
      for (const axis of shape.keys())
        for (const exclusive of [false, true])
          for (const reverse of [false, true])
            await compare(
              [floats(source, shape)],
              ([x]) => tf.cumsum(x!, axis, exclusive, reverse),
              2e-6,
              false,
            );
    }
  });

  const everyType = (shape: number[]): Raw[] => [
    floats(source, shape),
    ints(source, shape, 9),
    bools(source, shape),
  ];

  it("transpose, slice, pad, tile, reverse, reshape", async () => {
    const orders: Array<[number[], number[]]> = [
      [
        [64, 47],
        [1, 0],
      ],
      [
        [5, 33, 2, 17],
        [0, 2, 1, 3],
      ],
      [
        [2, 3, 4, 5, 6],
        [4, 2, 0, 1, 3],
      ],
      [
        [0, 3],
        [1, 0],
      ],
    ];
    for (const [shape, order] of orders)
      for (const raw of everyType(shape)) await same(raw, ([x]) => tf.transpose(x!, order));
    for (const raw of everyType([4, 5, 6])) {
      await same(raw, ([x]) => tf.slice(x!, [1, 0, 2], [2, 5, 3]));
      await same(raw, ([x]) => tf.slice(x!, [3], [1]));
      await same(raw, ([x]) => tf.tile(x!, [2, 1, 3]));
      await same(raw, ([x]) => tf.reverse(x!, [0, 2]));
      await same(raw, ([x]) => tf.expandDims(tf.reshape(x!, [20, -1]), 1));
      if (raw.dtype === "bool") continue;
      const paddings: Array<[number, number]> = [
        [0, 1],
        [2, 0],
        [1, 1],
      ];
      await same(raw, ([x]) => tf.pad(x!, paddings, 7));
    }
    await same(floats(source, [1, 5]), ([x]) => tf.broadcastTo(x!, [300, 5]));
  });

  it("concat, stack, split, unstack", async () => {
    for (const axis of [0, 1, 2, -1]) {
      const shape = [3, 4, 2];
      const other = shape.with(axis, shape.at(axis)! + 1);
      for (const [i, raw] of everyType(shape).entries()) {
        await compare([raw, everyType(other)[i]!], ([x, y]) => tf.concat([x!, y!], axis), 0, false);
        await same(raw, ([x]) => tf.stack([x!, x!], axis));
        await same(raw, ([x]) => tf.unstack(x!, axis));
      }
      await same(floats(source, [6, 6, 6]), ([x]) => tf.split(x!, [1, 3, 2], axis));
    }
  });

  it("gather, unsortedSegmentSum, oneHot, where, addN, fill", async () => {
    for (const raw of everyType([5, 4, 3])) {
      for (const axis of [0, 1, 2]) {
        const indices = ints(source, [2, 7], raw.shape[axis]!);
        await compare([raw, indices], ([x, i]) => tf.gather(x!, i as tf.Tensor2D, axis), 0, false);
      }
      const [first, second] = [ints(source, [5, 2], 4), ints(source, [5, 2], 3)];
      await compare([raw, first], ([x, i]) => tf.gather(x!, i as tf.Tensor2D, 1, 1), 0, false);
      await compare([raw, second], ([x, i]) => tf.gather(x!, i as tf.Tensor2D, 2, 1), 0, false);
      await compare(
        [bools(source, [5, 4, 3]), raw],
        ([c, x]) => tf.where(c!, x!, tf.zerosLike(x!)),
        0,
        false,
      );
    }
    const values = Int32Array.from({ length: 600 }, (_, i) => ((i * 7) % 6) - 1);
    const segments: Raw = { values, shape: [600], dtype: "int32" };
    const sum: Operation = ([x, ids]) => tf.unsortedSegmentSum(x!, ids as tf.Tensor1D, 4);
    await compare([floats(source, [600, 3]), segments], sum, 2e-6, false);
    const places: Raw = {
      values: Int32Array.of(2, 1, 0, 0, 2, 1, 1, 3, 0, 0),
      shape: [5, 2],
      dtype: "int32",
    };
    const scatter: Operation = ([i, x]) => tf.scatterND(i!, x!, [3, 4, 6]);
    await compare([places, floats(source, [5, 6])], scatter, 2e-6, false);
    const scalars: Operation = ([i, x]) => tf.scatterND(i!, x!, [3, 4]);
    await compare([places, floats(source, [5])], scalars, 2e-6, false);
    for (const depth of [2, 50])
      await same(ints(source, [2, 9], 4), ([x]) => tf.oneHot(x as tf.Tensor2D, depth, 2, -1));
    await compare([floats(source, [300])], ([x]) => tf.addN([x!, x!, tf.ones([300])]));
    await same(floats(source, [3]), () => [tf.fill([3, 5], 2.5), tf.fill([4], 7, "int32"), tf.zeros([0, 2])]);
  });

  it("matMul of matrices and batches", async () => {
    const sizes = [
      [1, 1, 1],
      [1, 300, 70],
      [29, 64, 1],
      [57, 100, 33],
      [64, 31, 0],
      [0, 5, 4],
    ];
    for (const [m, n, k] of sizes as Array<[number, number, number]>)
      for (const transposeA of [false, true])
        for (const transposeB of [false, true]) {
          const a = floats(source, transposeA ? [k, m] : [m, k]);
          const b = floats(source, transposeB ? [n, k] : [k, n]);
          await compare([a, b], ([x, y]) => tf.matMul(x!, y!, transposeA, transposeB), 1e-5, false);
        }
    const batches: Array<[number[], number[]]> = [
      [
        [3, 5, 7],
        [3, 7, 4],
      ],
      [
        [1, 5, 7],
        [3, 7, 4],
      ],
      [
        [4, 33, 65],
        [65, 40],
      ],
    ];
    for (const [a, b] of batches) {
      await compare([floats(source, a), floats(source, b)], ([x, y]) => tf.matMul(x!, y!), 1e-5, false);
    }
    // The stock kernel cannot broadcast both sides at once.
    const [a, b] = [floats(source, [2, 1, 5, 7]), floats(source, [1, 3, 7, 4])];
    const spread: Operation = ([x, y]) => tf.matMul(tf.tile(x!, [1, 3, 1, 1]), tf.tile(y!, [2, 1, 1, 1]));
    const actual = await runOn("cuda", [a, b], ([x, y]) => tf.matMul(x!, y!));
    expectClose(actual, await runOn("cpu", [a, b], spread), 1e-5);
  });

  it("gives NaN for an index that is none", async () => {
    await tf.setBackend("cuda");
    const y = tf.tidy(() => tf.gather(tf.ones([5, 2]), tf.tensor1d([4, 5, -1], "int32")));
    expect(Array.from(await y.data())).toEqual([1, 1, Number.NaN, Number.NaN, Number.NaN, Number.NaN]);
    y.dispose();
  });

  it("refuses what does not fit and leaves no memory behind", async () => {
    await tf.setBackend("cuda");
    const before = bytesInUse();
    tf.tidy(() => {
      expect(() => tf.add(tf.ones([3]), tf.ones([4]))).toThrow();
      expect(() => tf.matMul(tf.ones([3, 2]), tf.ones([4, 3]))).toThrow();
    });
    expect(bytesInUse()).toBe(before);
  });
});

it.skipIf(!hasDevice())("counts what runs in JavaScript, and gives its numbers", async () => {
  await useBackend("cuda");
  resetFallbackCounts();
  const y = tf.tidy(() => tf.atan(tf.ones([3])));
  expect(Array.from(await y.data())).toEqual(
    Array.from(Float32Array.of(1, 1, 1), (x) => Math.fround(Math.atan(x))),
  );
  y.dispose();
  expect(fallbackCounts()).toEqual({ Atan: 1 });
});
