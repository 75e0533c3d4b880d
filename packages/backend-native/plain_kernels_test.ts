/** The native versions of tfjs's own kernels against the stock cpu backend, on odd shapes and odd numbers. */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { useBackend } from "../tensor/backend.ts";
import { sizeOf } from "../tensor/testing/numbers.ts";
import { expectClose, type Raw, runOn, withOddNumbers } from "../tensor/testing/run_on.ts";
import { fallbackCounts, resetFallbackCounts } from "./mod.ts";
import { bools, describeInstructionSets, floats, ints, RandomSource, runNative } from "./testing/numbers.ts";

type Operation = (tensors: tf.Tensor[]) => tf.Tensor | tf.Tensor[];

/** Runs on both backends; the second time with NaN and infinities among the numbers. */
const compare = async (inputs: Raw[], operation: Operation, tolerance = 2e-6, special = true) => {
  for (const given of special ? [inputs, withOddNumbers(inputs)] : [inputs])
    expectClose(await runNative(given, operation), await runOn("cpu", given, operation), tolerance);
};

/** Pairs of shapes that broadcast. */
const broadcasts: Array<[number[], number[]]> = [
  [[], []],
  [[7], [7]],
  [[7], []],
  [[], [1]],
  [[3, 5], [5]],
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
    [4, 1, 17],
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
  [
    [1, 1],
    [1, 1, 1],
  ],
  [[300, 129], [129]],
];

describeInstructionSets(() => {
  describe("binary", () => {
    const source = new RandomSource(1);
    const operations: Record<string, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor> = {
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
    };
    for (const [name, operation] of Object.entries(operations)) {
      it(`${name} of float32 and int32`, async () => {
        for (const [a, b] of broadcasts) {
          await compare([floats(source, a, 3), floats(source, b, 3)], ([x, y]) => operation(x!, y!));
          await compare([ints(source, a, 5), ints(source, b, 5)], ([x, y]) => operation(x!, y!));
        }
      });
    }
    it("pow", async () => {
      for (const [a, b] of broadcasts) {
        const inputs = [floats(source, a, 1), floats(source, b, 2)];
        await compare(inputs, ([x, y]) => tf.pow(tf.abs(x!), y!), 1e-5, false);
      }
      await compare([floats(source, [99], 2)], ([x]) => tf.pow(x!, tf.scalar(2)));
    });
    it("logic of booleans", async () => {
      for (const [a, b] of broadcasts) {
        const inputs = [bools(source, a), bools(source, b)];
        await compare(inputs, ([x, y]) => [tf.logicalAnd(x!, y!), tf.logicalOr(x!, y!), tf.equal(x!, y!)]);
        await compare(inputs, ([x]) => tf.logicalNot(x!));
      }
    });
    it("refuses shapes that do not broadcast", async () => {
      await useBackend("native");
      expect(() => tf.add(tf.ones([3]), tf.ones([4]))).toThrow();
    });
  });

  const shapes: number[][] = [
    [],
    [1],
    [15],
    [16],
    [17],
    [1, 1],
    [3, 7],
    [0, 4],
    [33, 31],
    [5, 1, 9],
    [2, 3, 4, 5],
  ];
  const large = [300, 201];

  describe("unary", () => {
    const source = new RandomSource(2);
    const operations: Record<string, (x: tf.Tensor) => tf.Tensor> = {
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
      step: (x) => tf.step(x, 0.25),
      leakyRelu: (x) => tf.leakyRelu(x, 0.1),
      clip: (x) => tf.clipByValue(x, -0.5, 0.75),
      zerosLike: tf.zerosLike,
      onesLike: tf.onesLike,
    };
    for (const [name, operation] of Object.entries(operations)) {
      it(name, async () => {
        for (const shape of [...shapes, large]) {
          for (const scale of [0.01, 1, 30]) {
            // Stock erf is an approximation of seven digits; sines of 1e30 depend on the library.
            const special = name !== "sin" && name !== "cos";
            await compare([floats(source, shape, scale)], ([x]) => operation(x!), 2e-6, special);
          }
        }
      });
    }
    it("exp from the smallest to the largest number", async () => {
      const values = Float32Array.from({ length: 4001 }, (_, i) => -110 + i * 0.05);
      const [result] = await runNative([{ values, shape: [4001], dtype: "float32" }], ([x]) => tf.exp(x!));
      for (const [i, x] of values.entries()) {
        const exact = Math.fround(Math.exp(x));
        const error = Math.abs(result!.values[i]! - exact);
        if (!(result!.values[i] === exact)) expect(error).toBeLessThanOrEqual(4e-7 * exact + 3e-45);
      }
    });
    it("casts between all types", async () => {
      const raws = shapes.flatMap((shape) => [
        floats(source, shape, 50),
        ints(source, shape, 3),
        bools(source, shape),
      ]);
      for (const raw of raws) {
        for (const dtype of ["float32", "int32", "bool"] as const) {
          await compare([raw], ([x]) => tf.cast(x!, dtype), 0, false);
        }
      }
      const odd = Float32Array.from([2.5, -2.5, 3e9, -3e9, 1e20, Number.NaN, Infinity]);
      await compare([{ values: odd, shape: [7], dtype: "float32" }], ([x]) => tf.cast(x!, "int32"), 0, false);
    });
  });

  describe("reductions", () => {
    const source = new RandomSource(3);
    const operations: Record<string, (x: tf.Tensor, axis?: number | number[], keep?: boolean) => tf.Tensor> =
      {
        sum: tf.sum,
        mean: tf.mean,
        max: tf.max,
        min: tf.min,
      };
    for (const [name, operation] of Object.entries(operations)) {
      it(name, async () => {
        for (const shape of [...shapes, large, [20000], [3, 20000], [257, 2, 65]]) {
          if (sizeOf(shape) === 0 && name !== "sum") continue;
          const axes = shape.map((_, axis) => axis);
          const choices = [
            undefined,
            ...axes,
            axes.filter((axis) => axis % 2 === 0),
            axes.slice(1),
            [-1].slice(axes.length === 0 ? 1 : 0),
          ];
          for (const axis of choices) {
            const raw = floats(source, shape);
            await compare([raw], ([x]) => operation(x!, axis), 1e-5);
            await compare([raw], ([x]) => operation(x!, axis, true), 1e-5, false);
          }
        }
      });
    }
    it("prod, softmax, logSoftmax, logSumExp", async () => {
      for (const shape of [[1], [5, 3], [7, 33], [2, 3, 100], [3, 4097]]) {
        await compare([floats(source, shape, 4)], ([x]) => tf.softmax(x!));
        await compare([floats(source, shape, 4)], ([x]) => tf.logSoftmax(x!));
        await compare([floats(source, shape, 4)], ([x]) => tf.logSumExp(x!, -1), 2e-6, false);
        await compare([floats(source, shape, 0.5)], ([x]) => tf.prod(x!, 0), 2e-6, false);
      }
    });
    it("cumsum along any axis", async () => {
      for (const shape of [[1], [9], [5, 3], [2, 3, 4]]) {
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
  });

  describe("layout", () => {
    const source = new RandomSource(4);
    const everyType = (shape: number[]): Raw[] => [
      floats(source, shape),
      ints(source, shape, 100),
      bools(source, shape),
    ];
    const same = (raw: Raw, operation: Operation) => compare([raw], operation, 0, false);

    it("transpose", async () => {
      const cases: Array<[number[], number[]]> = [
        [
          [3, 5],
          [1, 0],
        ],
        [
          [64, 47],
          [1, 0],
        ],
        [
          [2, 3, 4],
          [2, 0, 1],
        ],
        [
          [2, 3, 4],
          [0, 2, 1],
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
        [
          [1, 7, 1],
          [2, 1, 0],
        ],
      ];
      for (const [shape, order] of cases)
        for (const raw of everyType(shape)) await same(raw, ([x]) => tf.transpose(x!, order));
    });
    it("slice, pad, tile, reverse", async () => {
      for (const raw of everyType([4, 5, 6])) {
        await same(raw, ([x]) => tf.slice(x!, [1, 0, 2], [2, 5, 3]));
        await same(raw, ([x]) => tf.slice(x!, [3], [1]));
        await same(raw, ([x]) => tf.slice(x!, [0, 2, 0], [4, 0, 6]));
        await same(raw, ([x]) => tf.tile(x!, [2, 1, 3]));
        await same(raw, ([x]) => tf.reverse(x!, [0, 2]));
        if (raw.dtype !== "bool")
          await same(raw, ([x]) =>
            tf.pad(
              x!,
              [
                [0, 1],
                [2, 0],
                [1, 1],
              ],
              7,
            ),
          );
      }
      await same(floats(source, [1, 5]), ([x]) => tf.broadcastTo(x!, [300, 5]));
    });
    it("concat, stack, split, unstack", async () => {
      for (const axis of [0, 1, 2, -1]) {
        const shape = [3, 4, 2];
        const other = shape.map((dim, a) => (a === (axis + 3) % 3 ? dim + 1 : dim));
        for (const [i, raw] of everyType(shape).entries()) {
          const second = everyType(other)[i]!;
          await compare([raw, second], ([x, y]) => tf.concat([x!, y!], axis), 0, false);
          await same(raw, ([x]) => tf.stack([x!, x!], axis));
          await same(raw, ([x]) => tf.unstack(x!, axis));
        }
        await same(floats(source, [6, 6, 6]), ([x]) => tf.split(x!, 3, axis));
        await same(floats(source, [6, 6, 6]), ([x]) => tf.split(x!, [1, 3, 2], axis));
      }
    });
    it("gather, unsorted segment sum, one-hot", async () => {
      for (const raw of everyType([5, 4, 3])) {
        for (const axis of [0, 1, 2]) {
          const indices = ints(source, [2, 7], raw.shape[axis]!);
          await compare([raw, indices], ([x, i]) => tf.gather(x!, i as tf.Tensor2D, axis), 0, false);
        }
        await compare(
          [raw, ints(source, [5, 2], 4)],
          ([x, i]) => tf.gather(x!, i as tf.Tensor2D, 1, 1),
          0,
          false,
        );
      }
      const segments: Raw = { values: Int32Array.from([2, 0, 2, -1, 9, 1]), shape: [6], dtype: "int32" };
      await compare(
        [floats(source, [6, 3]), segments],
        ([x, ids]) => tf.unsortedSegmentSum(x!, ids as tf.Tensor1D, 4),
        1e-6,
        false,
      );
      for (const depth of [2, 3, 50])
        await same(ints(source, [2, 9], 4), ([x]) => tf.oneHot(x as tf.Tensor2D, depth, 2, -1));
    });
    it("refuses an index out of range before it reads", async () => {
      await useBackend("native");
      for (const id of [5, -1, 2 ** 30]) {
        expect(() => tf.gather(tf.ones([5, 4]), tf.tensor1d([id], "int32"))).toThrow(RangeError);
      }
    });
    it("where", async () => {
      for (const [a, b] of broadcasts) {
        const condition = bools(source, b);
        await compare([condition, floats(source, a), floats(source, a)], ([c, x, y]) => tf.where(c!, x!, y!));
      }
    });
  });

  describe("products", () => {
    const source = new RandomSource(5);
    it("of two matrices, on every path of the algorithm", async () => {
      const sizes = [
        [1, 1, 1],
        [1, 300, 70],
        [2, 33, 600],
        [14, 32, 16],
        [28, 65, 257],
        [29, 64, 1],
        [57, 100, 513],
        [130, 4100, 3],
        [64, 31, 0],
        [0, 5, 4],
      ];
      for (const [m, n, k] of sizes as Array<[number, number, number]>) {
        for (const transposeA of [false, true])
          for (const transposeB of [false, true]) {
            const a = floats(source, transposeA ? [k, m] : [m, k]);
            const b = floats(source, transposeB ? [n, k] : [k, n]);
            await compare([a, b], ([x, y]) => tf.matMul(x!, y!, transposeA, transposeB), 1e-5, false);
          }
      }
    });
    it("of batches, with broadcasting", async () => {
      const cases: Array<[number[], number[]]> = [
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
      for (const [a, b] of cases) {
        await compare([floats(source, a), floats(source, b)], ([x, y]) => tf.matMul(x!, y!), 1e-5, false);
      }
      // The stock kernel cannot broadcast both sides at once.
      const [a, b] = [floats(source, [2, 1, 5, 7]), floats(source, [1, 3, 7, 4])];
      const actual = await runNative([a, b], ([x, y]) => tf.matMul(x!, y!));
      const spread: Operation = ([x, y]) => tf.matMul(tf.tile(x!, [1, 3, 1, 1]), tf.tile(y!, [2, 1, 1, 1]));
      expectClose(actual, await runOn("cpu", [a, b], spread), 1e-5);
    });
    it("carry NaN and infinities", async () => {
      await compare(
        [floats(source, [40, 30]), floats(source, [30, 50])],
        ([x, y]) => tf.matMul(x!, y!),
        1e-5,
      );
    });
    it("of one row do not depend on the other rows", async () => {
      const [a, b] = [floats(source, [100, 700]), floats(source, [700, 90])];
      const [all] = await runNative([a, b], ([x, y]) => tf.matMul(x!, y!));
      for (const rows of [1, 3, 20, 40]) {
        const [some] = await runNative([a, b], ([x, y]) => tf.matMul(tf.slice(x!, [0, 0], [rows, 700]), y!));
        expect(some!.values).toEqual(all!.values.slice(0, rows * 90));
      }
    });
  });
});

it("counts large calls that run in JavaScript", async () => {
  await useBackend("native");
  resetFallbackCounts();
  tf.tidy(() => {
    tf.add(tf.ones([5000]), 1);
    tf.argMax(tf.ones([10]));
  });
  expect(fallbackCounts()).toEqual({});
  tf.tidy(() => tf.argMax(tf.ones([5000])));
  expect(fallbackCounts()).toEqual({ ArgMax: 1 });
});
