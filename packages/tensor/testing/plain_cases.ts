/** What a backend with kernels of its own for tfjs's operations is held to; here what adds up: reductions and products. */
import * as tf from "@tensorflow/tfjs-core";
import { elementwiseCases } from "./elementwise_cases.ts";
import { layoutCases } from "./layout_cases.ts";
import { alsoOdd, given, type PlainCase, shapes, together } from "./plain_case.ts";
import { bools, floats, ints, type Raw } from "./run_on.ts";

const flags = [false, true];

/** All axes, each of them (counted from the end), every other, all but the first. */
const axesOf = (shape: number[]): Array<number | number[] | undefined> => {
  const axes = [...shape.keys()];
  const each = axes.map((axis) => axis - axes.length);
  return [undefined, ...each, axes.filter((axis) => axis % 2 === 0), axes.slice(1)];
};
const reduced = [...shapes, [3, 20_000], [257, 2, 65], [1100, 2, 5]].flatMap((shape) =>
  axesOf(shape).map((axis) => ({ shape, axis })),
);

const { sum, mean, max, min, prod } = tf;
const reductions = Object.entries({ sum, mean, max, min, prod }).flatMap(([name, operation]) => {
  // Of nothing only the sum is the same everywhere.
  const some = reduced.filter(({ shape }) => name === "sum" || !shape.includes(0));
  const along = (type: (shape: number[]) => Raw, keepDims = false) =>
    some.map(({ shape, axis }) => given([type(shape)], ([x]) => operation(x!, axis, keepDims)));
  // Numbers of the first seed cancel: float32 leaves their sums fewer digits.
  const numbers = (shape: number[]) => floats(2, shape, name === "prod" ? 0.5 : 1);
  const [parts, kept] = [along(numbers), along(numbers, true)];
  if (name === "prod") return [together("reductions", name, [...parts, ...kept])];
  const all = [...alsoOdd(parts), ...kept];
  if (name === "mean") return [together("reductions", name, all)];
  return [
    together(name === "sum" ? "sums" : "choices and integers", name, all),
    together(
      "choices and integers",
      `${name} of int32`,
      along((shape) => ints(1, shape, 1000)),
    ),
  ];
});

const rows = [[1], [5, 3], [7, 33], [2, 3, 100], [3, 4097]];
const ofRows = (operation: (x: tf.Tensor) => tf.Tensor) =>
  rows.map((shape) => given([floats(1, shape, 4)], ([x]) => operation(x!)));
const chosen = rows.map((shape) =>
  given([bools(1, shape), floats(2, shape, 4)], ([c, x]) => [
    tf.all(c!, -1),
    tf.any(c!, -1),
    tf.argMax(x!, -1),
    tf.argMin(x!, -1),
  ]),
);
/** Of each row all but one is −∞. */
const masked: Raw = {
  values: Float32Array.from({ length: 64 }, (_, i) => (i % 9 === 0 ? i : -Infinity)),
  shape: [8, 8],
  dtype: "float32",
};
const scans = [[1], [9], [5, 3], [5, 70], [2, 3, 4]].flatMap((shape) =>
  [...shape.keys()].map((axis) =>
    given([floats(1, shape)], ([x]) =>
      flags.flatMap((exclusive) => flags.map((reverse) => tf.cumsum(x!, axis, exclusive, reverse))),
    ),
  ),
);

const indices = (shape: number[], values: Iterable<number>): Raw => ({
  values: Int32Array.from(values),
  shape,
  dtype: "int32",
});
const segmentSum = ([x, ids]: tf.Tensor[]) => tf.unsortedSegmentSum(x!, ids as tf.Tensor1D, 4);
/** With ids that are none. */
const ids = Int32Array.from({ length: 600 }, (_, i) => ((i * 7) % 6) - 1);
const segments = given([floats(1, [600, 3]), indices([600], ids)], segmentSum);
const pairs = given([floats(1, [6, 3]), indices([6], [2, 0, 2, -1, 9, 1])], segmentSum);
const places = indices([5, 2], [2, 1, 0, 0, 2, 1, 1, 3, 0, 0]);
const scatters = [
  given([places, floats(1, [5, 6])], ([i, x]) => tf.scatterND(i!, x!, [3, 4, 6])),
  given([places, floats(1, [5])], ([i, x]) => tf.scatterND(i!, x!, [3, 4])),
];

const matrices = (
  [
    [1, 1, 1],
    [1, 300, 70],
    [2, 33, 600],
    [14, 32, 16],
    [28, 65, 257],
    [29, 64, 1],
    [57, 100, 33],
    [57, 100, 513],
    [130, 4100, 3],
    [64, 31, 0],
    [0, 5, 4],
  ] as const
).flatMap(([m, n, k]) =>
  flags.flatMap((transposeA) =>
    flags.map((transposeB) =>
      given([floats(1, transposeA ? [k, m] : [m, k]), floats(2, transposeB ? [n, k] : [k, n])], ([x, y]) =>
        tf.matMul(x!, y!, transposeA, transposeB),
      ),
    ),
  ),
);
const product = ([x, y]: tf.Tensor[]) => tf.matMul(x!, y!);
const batches = [
  given([floats(1, [3, 5, 7]), floats(2, [3, 7, 4])], product),
  given([floats(1, [1, 5, 7]), floats(2, [3, 7, 4])], product),
  given([floats(1, [4, 33, 65]), floats(2, [65, 40])], product),
  ...alsoOdd([given([floats(1, [40, 30]), floats(2, [30, 50])], product)]),
  given([floats(1, [2, 1, 5, 7]), floats(2, [1, 3, 7, 4])], ([x, y]) =>
    // The stock kernel cannot broadcast both sides at once.
    tf.getBackend() === "cpu"
      ? tf.matMul(tf.tile(x!, [1, 3, 1, 1]), tf.tile(y!, [2, 1, 1, 1]))
      : tf.matMul(x!, y!),
  ),
];

export const plainCases: ReadonlyArray<PlainCase> = [
  ...elementwiseCases,
  ...layoutCases,
  ...reductions,
  together("choices and integers", "all, any, argMax, argMin", chosen),
  together("reductions", "softmax", [
    ...alsoOdd(ofRows(tf.softmax)),
    given([masked], ([x]) => tf.softmax(x!)),
  ]),
  together("reductions", "logSoftmax", alsoOdd(ofRows(tf.logSoftmax))),
  together(
    "reductions",
    "logSumExp",
    ofRows((x) => tf.logSumExp(x, -1)),
  ),
  together("reductions", "cumsum", scans),
  together("reductions", "unsortedSegmentSum", [segments]),
  together("choices and integers", "unsortedSegmentSum of two at most, whose order does not matter", [pairs]),
  together("reductions", "scatterND", scatters),
  together("products", "matMul", matrices),
  together("products", "matMul of batches, and of NaN and infinities", batches),
];
