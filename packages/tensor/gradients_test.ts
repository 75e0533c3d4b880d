import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { useBackend } from "./backend.ts";
import { availableBackends, expectFiniteDifferences, randomNumbers } from "./testing/numbers.ts";

const input = (seed: number, ...shape: number[]) => ({ shape, values: randomNumbers(seed, shape) });
const positive = (seed: number, ...shape: number[]) => ({
  shape,
  values: randomNumbers(seed, shape).map((x) => 0.5 + Math.abs(x)),
});
/** Away from the kinks at whole numbers, and from each other. */
const spread = (...shape: number[]) => {
  const { values } = input(1, ...shape);
  return { shape, values: values.map((_, i) => ((i * 7) % values.length) * 0.37 - 1.3) };
};

type Case = [name: string, f: (...inputs: tf.Tensor[]) => tf.Tensor, ...inputs: ReturnType<typeof input>[]];

const cases: Case[] = [
  ["neg", (x) => tf.neg(x!), input(1, 5)],
  ["clone", (x) => tf.clone(x!), input(1, 5)],
  ["cast", (x) => tf.cast(tf.cast(x!, "float32"), "float32"), input(1, 5)],
  ["transpose", (x) => tf.transpose(x!, [2, 0, 1]), input(1, 2, 3, 4)],
  ["reverse", (x) => tf.reverse(x!, [1]), input(1, 2, 3)],
  ["reshape", (x) => tf.reshape(x!, [3, 4]), input(1, 2, 6)],
  ["cumsum over the last axis", (x) => tf.cumsum(x!, 1), input(1, 2, 4)],
  ["cumsum over the first axis", (x) => tf.cumsum(x!, 0), input(1, 4, 3)],
  [
    "cumsum over a middle axis, exclusive, in reverse",
    (x) => tf.cumsum(x!, 1, true, true),
    input(1, 2, 4, 3),
  ],
  ["abs", (x) => tf.abs(x!), spread(6)],
  ["square", (x) => tf.square(x!), input(1, 6)],
  ["sin", (x) => tf.sin(x!), input(1, 6)],
  ["cos", (x) => tf.cos(x!), input(1, 6)],
  ["log", (x) => tf.log(x!), positive(1, 6)],
  ["log1p", (x) => tf.log1p(x!), positive(1, 6)],
  ["erf", (x) => tf.erf(x!), input(1, 6)],
  ["softplus", (x) => tf.softplus(x!), input(1, 6)],
  ["relu", (x) => tf.relu(x!), spread(6)],
  ["leakyRelu", (x) => tf.leakyRelu(x!, 0.3), spread(6)],
  ["elu", (x) => tf.elu(x!), spread(6)],
  ["clipByValue", (x) => tf.clipByValue(x!, -0.5, 0.6), spread(6)],
  ["exp", (x) => tf.exp(x!), input(1, 6)],
  ["expm1", (x) => tf.expm1(x!), input(1, 6)],
  ["sqrt", (x) => tf.sqrt(x!), positive(1, 6)],
  ["rsqrt", (x) => tf.rsqrt(x!), positive(1, 6)],
  ["reciprocal", (x) => tf.reciprocal(x!), positive(1, 6)],
  ["sigmoid", (x) => tf.sigmoid(x!), input(1, 6)],
  ["tanh", (x) => tf.tanh(x!), input(1, 6)],
  ["floor, ceil, round, sign, step", (x) => tf.mul(x!, constants(x!)), spread(6)],
  ["add, broadcast", (a, b) => tf.add(a!, b!), input(1, 2, 3), input(2, 3)],
  ["sub, broadcast both ways", (a, b) => tf.sub(a!, b!), input(1, 2, 1), input(2, 1, 3)],
  ["mul, broadcast", (a, b) => tf.mul(a!, b!), input(1, 2, 3, 2), input(2, 3, 1)],
  ["mul with itself", (a) => tf.mul(a!, a!), input(1, 4)],
  ["div, broadcast", (a, b) => tf.div(a!, b!), input(1, 3), positive(2, 2, 3)],
  ["squaredDifference, broadcast", (a, b) => tf.squaredDifference(a!, b!), input(1, 3), input(2, 2, 3)],
  ["maximum, broadcast", (a, b) => tf.maximum(a!, b!), spread(3), input(6, 2, 3)],
  ["minimum, broadcast", (a, b) => tf.minimum(a!, b!), spread(2, 3), input(6, 1, 1)],
  ["pow", (a, b) => tf.pow(a!, b!), positive(1, 2, 3), input(2, 3)],
  ["mod", (a, b) => tf.mod(a!, b!), spread(2, 3), { shape: [1], values: Float32Array.of(1.7) }],
  ["addN", (a, b, c) => tf.addN([a!, b!, c!]), input(1, 3), input(2, 3), input(3, 3)],
  ["where", (a, b) => tf.where(tf.greater(a!, 0), a!, tf.mul(b!, 2)), spread(2, 3), input(2, 1, 3)],
  ["sum of everything", (x) => tf.sum(x!), input(1, 2, 3)],
  ["sum over an axis, kept", (x) => tf.sum(x!, 1, true), input(1, 2, 3, 2)],
  ["sum over a negative axis", (x) => tf.sum(x!, -2), input(1, 2, 3, 2)],
  ["mean of everything", (x) => tf.mean(x!), input(1, 2, 3)],
  ["mean over two axes", (x) => tf.mean(x!, [0, 2]), input(1, 2, 3, 2)],
  ["moments", (x) => tf.moments(x!, 1).variance, input(1, 2, 3)],
  ["prod over the last axis", (x) => tf.prod(x!, -1), input(1, 2, 3)],
  ["prod over the first axis", (x) => tf.prod(x!, 0), input(1, 3, 2)],
  ["prod with a zero", (x) => tf.prod(x!), { shape: [3], values: Float32Array.of(2, 0, 3) }],
  ["max", (x) => tf.max(x!), spread(2, 3)],
  ["max over an axis", (x) => tf.max(x!, 1), spread(2, 3)],
  ["min over an axis, kept", (x) => tf.min(x!, 0, true), spread(2, 3)],
  ["softmax", (x) => tf.softmax(x!), input(1, 2, 4)],
  ["logSoftmax", (x) => tf.logSoftmax(x!), input(1, 2, 4)],
  ["logSumExp", (x) => tf.logSumExp(x!, 1), input(1, 2, 4)],
  ["matMul", (a, b) => tf.matMul(a!, b!), input(1, 2, 3), input(2, 3, 4)],
  ["matMul, first transposed", (a, b) => tf.matMul(a!, b!, true), input(1, 3, 2), input(2, 3, 4)],
  ["matMul, second transposed", (a, b) => tf.matMul(a!, b!, false, true), input(1, 2, 3), input(2, 4, 3)],
  ["matMul, both transposed", (a, b) => tf.matMul(a!, b!, true, true), input(1, 3, 2), input(2, 4, 3)],
  ["matMul, one batch broadcast", (a, b) => tf.matMul(a!, b!), input(1, 2, 2, 3), input(2, 1, 3, 2)],
  ["matMul, a matrix against a batch", (a, b) => tf.matMul(a!, b!, true), input(1, 3, 2), input(2, 2, 3, 2)],
  ["dot", (a, b) => tf.dot(a!, b!), input(1, 3), input(2, 3)],
  ["expandDims", (x) => tf.expandDims(x!, 1), input(1, 2, 3)],
  ["squeeze", (x) => tf.squeeze(x!), input(1, 2, 1, 3)],
  ["broadcastTo", (x) => tf.broadcastTo(x!, [2, 3, 4]), input(1, 3, 1)],
  ["tile", (x) => tf.tile(x!, [2, 3]), input(1, 2, 2)],
  ["slice", (x) => tf.slice(x!, [0, 1], [-1, 2]), input(1, 2, 4)],
  [
    "pad",
    (x) =>
      tf.pad(x!, [
        [1, 0],
        [2, 1],
      ]),
    input(1, 2, 2),
  ],
  ["concat", (a, b) => tf.concat([a!, b!], -1), input(1, 2, 2), input(2, 2, 3)],
  ["concat over the first axis", (a, b) => tf.concat([a!, b!, a!], 0), input(1, 2, 2), input(2, 1, 2)],
  ["stack", (a, b) => tf.stack([a!, b!], 1), input(1, 2, 2), input(2, 2, 2)],
  ["unstack", (x) => tf.mul(tf.unstack(x!, 1)[0]!, tf.unstack(x!, 1)[2]!), input(1, 2, 3)],
  ["split, one part unused", (x) => tf.split(x!, [1, 2, 1], 1)[1]!, input(1, 2, 4)],
  ["gather, repeated", (x) => tf.gather(x!, indices([2, 0, 2])), input(1, 3, 2)],
  ["gather along a later axis", (x) => tf.gather(x!, indices([1, 1, 0]), 1), input(1, 2, 3, 2)],
  ["gather by a matrix", (x) => tf.gather(x!, tf.reshape(indices([1, 2, 0, 1]), [2, 2])), input(1, 3, 2)],
  [
    "gather within a batch",
    (x) => tf.gather(x!, tf.reshape(indices([1, 1, 0, 2]), [2, 2]), 1, 1),
    input(1, 2, 3),
  ],
  ["gatherND", (x) => tf.gatherND(x!, tf.reshape(indices([0, 1, 1, 0, 0, 1]), [3, 2])), input(1, 2, 2)],
  ["scatterND", (x) => tf.scatterND(tf.reshape(indices([2, 0, 2]), [3, 1]), x!, [4, 2]), input(1, 3, 2)],
  ["norm", (x) => tf.norm(x!), input(1, 2, 3)],
  ["a function of comparisons only", (x) => tf.add(x!, tf.cast(tf.greater(x!, 0), "float32")), spread(4)],
];

const indices = (values: number[]) => tf.tensor1d(values, "int32");
const constants = (x: tf.Tensor) =>
  tf.addN([tf.floor(x), tf.ceil(x), tf.round(x), tf.sign(x), tf.step(x), tf.zerosLike(x), tf.onesLike(x)]);

describe.each(await availableBackends())("gradients agree with finite differences on %s", (backend) => {
  beforeAll(() => useBackend(backend));
  it.each(cases)("%s", (_, f, ...inputs) =>
    expectFiniteDifferences((...xs) => tf.tidy(() => f(...xs)), inputs),
  );
});

describe("ties", () => {
  const memory = { before: 0 };
  beforeAll(async () => {
    await useBackend("cpu");
    memory.before = tf.memory().numTensors;
  });
  afterAll(() => expect(tf.memory().numTensors).toBe(memory.before));

  it("shares the gradient of max equally", async () => {
    const gradient = tf.tidy(() => tf.grad((x) => tf.max(x))(tf.tensor1d([1, 3, 3])));
    expect([...(await gradient.data())]).toEqual([0, 0.5, 0.5]);
    gradient.dispose();
  });
});
