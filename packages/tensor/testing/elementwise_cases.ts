/** tfjs's operations that treat every element alike: unary, binary with broadcasting, comparisons, choices, casts. */
import * as tf from "@tensorflow/tfjs-core";
import {
  alsoOdd,
  broadcasts,
  everyType,
  type Group,
  given,
  type PlainCase,
  shapes,
  together,
} from "./plain_case.ts";
import { bools, floats, ints, type Raw } from "./run_on.ts";

const binary = (group: Group, operations: Record<string, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor>) =>
  Object.entries(operations).map(([name, operation]) => {
    const parts = broadcasts.flatMap(({ a, b }) =>
      [
        [floats(1, a, 3), floats(2, b, 3)],
        [ints(1, a, 5), ints(2, b, 5)],
      ].map((inputs) => given(inputs, ([x, y]) => operation(x!, y!))),
    );
    return together(group, `${name} of float32 and int32`, alsoOdd(parts));
  });

const logic = broadcasts.map(({ a, b }) =>
  given([bools(1, a), bools(2, b)], ([x, y]) => [
    tf.logicalAnd(x!, y!),
    tf.logicalOr(x!, y!),
    tf.equal(x!, y!),
    tf.logicalNot(x!),
  ]),
);
const powers = broadcasts.map(({ a, b }) =>
  given([floats(1, a), floats(2, b, 2)], ([x, y]) => {
    const all = tf.pow(tf.abs(x!), y!);
    // Beside the largest powers differences of the others would not show.
    return [all, tf.minimum(all, 10)];
  }),
);
const squares = given([floats(1, [99], 2)], ([x]) => tf.pow(x!, tf.scalar(2)));
const sums = given([floats(1, [300]), floats(2, [300])], ([x, y]) => tf.addN([x!, y!, tf.ones([300])]));

const { abs, ceil, cos, erf, exp, expm1, floor, log, log1p, neg, reciprocal, relu, round, rsqrt } = tf;
const { sigmoid, sign, sin, softplus, sqrt, square, tanh, zerosLike, onesLike } = tf;
const operations: Record<string, (x: tf.Tensor) => tf.Tensor> = {
  ...{ abs, ceil, cos, erf, exp, expm1, floor, log, log1p, neg, reciprocal, relu, round, rsqrt },
  ...{ sigmoid, sign, sin, softplus, sqrt, square, tanh, zerosLike, onesLike },
  step: (x) => tf.step(x, 0.25),
  leakyRelu: (x) => tf.leakyRelu(x, 0.1),
  clip: (x) => tf.clipByValue(x, -0.5, 0.75),
};
const unary = Object.entries(operations).map(([name, operation]) => {
  const parts = shapes.flatMap((shape) =>
    [0.01, 1, 30].map((scale, seed) => given([floats(seed, shape, scale)], ([x]) => operation(x!))),
  );
  // Sines of 1e30 depend on the library.
  return together("elementwise", name, name === "sin" || name === "cos" ? parts : alsoOdd(parts));
});

const beyondIntegers: Raw = {
  values: Float32Array.of(2.5, -2.5, 3e9, -3e9, 1e20, Number.NaN, Infinity),
  shape: [7],
  dtype: "float32",
};
const casts = [
  ...shapes
    .flatMap((shape) => [floats(1, shape, 50), ints(2, shape, 3), bools(3, shape)])
    .map((raw) =>
      given([raw], ([x]) => (["float32", "int32", "bool"] as const).map((dtype) => tf.cast(x!, dtype))),
    ),
  given([beyondIntegers], ([x]) => tf.cast(x!, "int32")),
];
const choices = [
  ...broadcasts.map(({ a, b }) =>
    given([bools(1, b), floats(2, a), floats(3, a)], ([c, x, y]) => tf.where(c!, x!, y!)),
  ),
  ...everyType([5, 4, 3]).map((raw) =>
    given([bools(1, raw.shape), raw], ([c, x]) => tf.where(c!, x!, tf.zerosLike(x!))),
  ),
];

const { add, sub, mul, div, maximum, minimum, squaredDifference } = tf;
const { equal, notEqual, greater, greaterEqual, less, lessEqual } = tf;
export const elementwiseCases: ReadonlyArray<PlainCase> = [
  ...binary("elementwise", { add, sub, mul, div, squaredDifference }),
  ...binary("choices and integers", {
    maximum,
    minimum,
    equal,
    notEqual,
    greater,
    greaterEqual,
    less,
    lessEqual,
  }),
  together("choices and integers", "logic of booleans", logic),
  together("choices and integers", "where", alsoOdd(choices)),
  together("choices and integers", "casts between all types", casts),
  together("elementwise", "pow", [...powers, ...alsoOdd([squares])]),
  together("elementwise", "addN", alsoOdd([sums])),
  ...unary,
];
