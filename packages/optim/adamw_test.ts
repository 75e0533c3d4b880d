import { readFileSync } from "node:fs";
import { expectFidelity, relativeError } from "@rlhf/core/testing/fidelity";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, expect, it } from "vitest";
import { applyAdamw, disposeAdamw, initAdamw } from "./adamw.ts";
import { initEma, updateEma } from "./ema.ts";
import { constantWithWarmup, cosine, linear, type Schedule } from "./schedules.ts";
import { trainStep } from "./train_step.ts";

const read = (name: string) =>
  JSON.parse(readFileSync(new URL(`golden/${name}.json`, import.meta.url), "utf8"));
/** From bench/references/optim_adamw.py and optim_optax.py. */
const references = [
  { library: "torch", golden: read("adamw") },
  { library: "optax", golden: read("optax") },
];

beforeAll(() => useBackend("cpu"));

it.each(references)(
  "makes fifty steps as $library does: AdamW, clipping, cosine rate, average of the weights",
  async ({ golden, library }) => {
    const before = tf.memory().numTensors;
    const { steps, warmup, peak, floorShare, weightDecay, maxGradNorm, decay } = golden;
    const params = {
      weight: tf.tidy(() => tf.variable(tf.tensor(golden.initial.weight, [4, 3]))),
      bias: tf.tidy(() => tf.variable(tf.tensor(golden.initial.bias))),
    };
    const [x, y] = [tf.tensor2d(golden.x, [6, 4]), tf.tensor2d(golden.y, [6, 3])];
    const error = (): tf.Scalar =>
      tf.mean(tf.square(tf.sub(tf.add(tf.matMul(x, params.weight as tf.Tensor), params.bias), y)));
    const rate = cosine({ peak, total: steps, floorShare, warmup });
    const state = initAdamw(params);
    const ema = initEma(params);
    const results = [];
    for (let step = 0; step < steps; step++) {
      const learningRate = rate(step);
      results.push(
        await trainStep({ params, state, losses: [error], learningRate, weightDecay, maxGradNorm }),
      );
      updateEma(ema, params, decay);
    }
    const check = (formula: string, found: ArrayLike<number>, expected: ReadonlyArray<number>) =>
      expectFidelity({
        formula: `${formula}, ${library}`,
        source: golden.source,
        error: relativeError(found, expected),
        limit: 1e-5,
      });
    check(
      "losses of 50 steps",
      results.map((result) => result.loss),
      golden.losses,
    );
    check(
      "gradient norms of 50 clipped steps",
      results.map((result) => result.gradNorm),
      golden.gradNorms,
    );
    for (const name of ["weight", "bias"] as const) {
      check("AdamW: parameters after 50 steps", await params[name].data(), golden.final[name]);
      check("EMA of the parameters after 50 steps", await ema[name]!.data(), golden.average[name]);
    }
    disposeAdamw(state);
    tf.dispose([x, y, Object.values(params), Object.values(ema)]);
    expect(tf.memory().numTensors).toBe(before);
  },
);

it.each(references)("schedules give the rates of $library", ({ golden, library }) => {
  const { steps: total, warmup, peak, floorShare, constants = {} } = golden;
  const schedules: ReadonlyArray<[string, Schedule, ReadonlyArray<number>]> = [
    ["cosine", cosine({ peak, total, floorShare, warmup }), golden.cosine],
    ["linear", linear({ peak, total, floorShare, warmup }), golden.linear],
    ...Object.entries<ReadonlyArray<number>>(constants).map(
      ([start, rates]): [string, Schedule, ReadonlyArray<number>] => [
        "constant",
        constantWithWarmup({ peak, warmup, warmupStart: Number(start) }),
        rates,
      ],
    ),
  ];
  for (const [name, schedule, rates] of schedules) {
    const found = Array.from({ length: total }, (_, step) => schedule(step));
    const error = relativeError(found, rates);
    const formula = `${name} schedule with warm-up, ${library}`;
    expectFidelity({ formula, source: golden.source, error, limit: 1e-12 });
  }
});

it("leaves parameters without a gradient alone and refuses gradients without a parameter", async () => {
  const before = tf.memory().numTensors;
  const params = {
    used: tf.tidy(() => tf.variable(tf.ones([2]))),
    idle: tf.tidy(() => tf.variable(tf.ones([2]))),
  };
  const state = initAdamw(params);
  const grad = tf.ones([2]);
  applyAdamw(params, { used: grad }, state, { learningRate: 0.1, weightDecay: 0.5 });
  expect(Array.from(await params.idle.data())).toEqual([1, 1]);
  // A first step has length η, and vectors do not decay.
  expect((await params.used.data())[0]).toBeCloseTo(0.9, 6);
  expect(() => applyAdamw(params, { other: grad }, state, { learningRate: 0.1 })).toThrow(/other/);
  disposeAdamw(state);
  tf.dispose([grad, Object.values(params)]);
  expect(tf.memory().numTensors).toBe(before);
});
