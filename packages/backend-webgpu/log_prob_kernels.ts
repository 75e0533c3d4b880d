/** Log-probabilities of tokens: a workgroup a row; from hidden states in chunks of the vocabulary. */
import type * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel, product } from "./_kernel.ts";
import { lowest, program, reductions, threads } from "./_program.ts";
import { sizeOf, type WebGpuBackend } from "./backend.ts";

type Temperature = { readonly temperature: number };

/**
 * Takes a chunk of each row's logits into account. `state` [rows, 4] holds the highest z so far, Σ exp(z − highest),
 * Σ z exp(z − highest) and the z of the chosen token (Milakov and Gimelshein 2018, arXiv:1805.02867), z = logit / T.
 */
const gatherProgram = program({
  key: "log-probs",
  buffers: {
    logits: "in f32",
    ids: "in i32",
    state: "inout f32",
    logProbs: "out f32",
    entropy: "out f32",
    normalizer: "out f32",
  },
  ints: ["rows", "width", "first"],
  floats: ["inverseTemperature"],
  declarations: reductions,
  main: `
  if (index >= u.rows) { return; }
  let base = index * u.width;
  var highest = ${lowest};
  for (var i = lane; i < u.width; i += threads) { highest = max(highest, logits[base + i] * u.inverseTemperature); }
  var before = vec4f(${lowest}, 0.0, 0.0, 0.0);
  if (u.first > 0u) {
    before = vec4f(state[4u * index], state[4u * index + 1u], state[4u * index + 2u], state[4u * index + 3u]);
  }
  let newHighest = max(before.x, maxOver(highest, lane));
  var sum = 0.0;
  var weighted = 0.0;
  for (var i = lane; i < u.width; i += threads) {
    let z = logits[base + i] * u.inverseTemperature;
    let weight = exp(z - newHighest);
    sum += weight;
    // A logit of −∞ has weight 0 and adds nothing.
    weighted += select(0.0, z * weight, weight > 0.0);
  }
  let shrink = exp(before.x - newHighest);
  let newSum = before.y * shrink + sumOver(sum, lane);
  let newWeighted = before.z * shrink + sumOver(weighted, lane);
  if (lane == 0u) {
    var chosen = before.w;
    let place = u32(ids[index]) - u.first;
    if (u32(ids[index]) >= u.first && place < u.width) { chosen = logits[base + place] * u.inverseTemperature; }
    let logSum = newHighest + log(newSum);
    state[4u * index] = newHighest;
    state[4u * index + 1u] = newSum;
    state[4u * index + 2u] = newWeighted;
    state[4u * index + 3u] = chosen;
    logProbs[index] = chosen - logSum;
    entropy[index] = logSum - newWeighted / newSum;
    normalizer[index] = logSum;
  }`,
});

/** dy (onehot(ids) − softmax(z)) / T in place of a chunk of logits. */
const logitGradientProgram = program({
  key: "log-probs gradient",
  buffers: { dy: "in f32", logits: "in f32", ids: "in i32", normalizer: "in f32", dlogits: "out f32" },
  ints: ["size", "width", "first"],
  floats: ["inverseTemperature"],
  main: `
  let place = index * threads + lane;
  if (place >= u.size) { return; }
  let row = place / u.width;
  let p = exp(logits[place] * u.inverseTemperature - normalizer[row]);
  let chosen = select(0.0, 1.0, u32(ids[row]) == u.first + place % u.width);
  dlogits[place] = dy[row] * (chosen - p) * u.inverseTemperature;`,
});

interface RowStates {
  readonly state: tf.TensorInfo;
  readonly logProbs: tf.TensorInfo;
  readonly entropy: tf.TensorInfo;
  readonly normalizer: tf.TensorInfo;
}
const rowStates = (backend: WebGpuBackend, rows: number): RowStates => ({
  state: backend.output([rows, 4]),
  logProbs: backend.output([rows]),
  entropy: backend.output([rows]),
  normalizer: backend.output([rows]),
});

const gather = (
  backend: WebGpuBackend,
  tensors: RowStates & { readonly logits: tf.TensorInfo; readonly ids: tf.TensorInfo },
  first: number,
  temperature: number,
) => {
  const [rows, width] = tensors.logits.shape as [number, number];
  const uniforms = { rows, width, first, inverseTemperature: 1 / temperature };
  backend.run(gatherProgram, { tensors, uniforms, groups: rows });
};

const logitGradient = (
  backend: WebGpuBackend,
  tensors: Readonly<Record<"dy" | "logits" | "ids" | "normalizer", tf.TensorInfo>>,
  first: number,
  temperature: number,
): tf.TensorInfo => {
  const dlogits = backend.output(tensors.logits.shape);
  const [size, width] = [sizeOf(dlogits.shape), dlogits.shape[1]!];
  backend.run(logitGradientProgram, {
    tensors: { ...tensors, dlogits },
    uniforms: { size, width, first, inverseTemperature: 1 / temperature },
    groups: Math.ceil(size / threads),
  });
  return dlogits;
};

const tokenLogProbs = kernel<"logits" | "ids", Temperature>(({ inputs, attrs, backend }) => {
  const states = rowStates(backend, inputs.logits.shape[0]!);
  gather(backend, { ...inputs, ...states }, 0, attrs.temperature);
  const { logProbs, normalizer } = states;
  backend.keepWith(logProbs, [normalizer]);
  backend.free(states.state, states.entropy);
  return logProbs;
});

const tokenLogProbsGrad = kernel<"dy" | "logits" | "ids" | "y", Temperature>(
  ({ op, inputs, attrs, backend }) => {
    const { y, ...tensors } = inputs;
    const [normalizer] = backend.keptWith(op, y) as [tf.TensorInfo];
    return logitGradient(backend, { ...tensors, normalizer }, 0, attrs.temperature);
  },
);

interface Chunk {
  readonly first: number;
  /** `[columns, d]` of the unembedding. */
  readonly rows: tf.TensorInfo;
  readonly logits: tf.TensorInfo;
}

/** Calls `visit` with the logits of each chunk of the vocabulary, and frees them. */
const forEachChunk = (
  backend: WebGpuBackend,
  hidden: tf.TensorInfo,
  unembedding: tf.TensorInfo,
  visit: (chunk: Chunk) => void,
) => {
  const [vocab, width] = unembedding.shape as [number, number];
  const fit = Math.floor(backend.logitsPerChunk / hidden.shape[0]! / 64) * 64;
  const columns = Math.min(vocab, Math.max(64, fit));
  for (let first = 0; first < vocab; first += columns) {
    const size = Math.min(columns, vocab - first);
    const whole = size === vocab;
    const rows = whole ? unembedding : backend.output([size, width]);
    if (!whole) {
      backend.copy({ tensor: unembedding, start: first * width }, { tensor: rows, start: 0 }, size * width);
    }
    const logits = product(backend, hidden, rows, { b: true });
    visit({ first, rows, logits });
    backend.free(logits, ...(whole ? [] : [rows]));
  }
};

const linearTokenLogProbs = kernel<"hidden" | "unembedding" | "ids", Temperature>(
  ({ inputs: { hidden, unembedding, ids }, attrs, backend }) => {
    const states = rowStates(backend, hidden.shape[0]!);
    forEachChunk(backend, hidden, unembedding, ({ first, logits }) =>
      gather(backend, { logits, ids, ...states }, first, attrs.temperature),
    );
    const { logProbs, entropy, normalizer } = states;
    backend.keepWith(logProbs, [normalizer]);
    backend.free(states.state);
    return [logProbs, entropy];
  },
);

const addProgram = program({
  key: "add to",
  buffers: { sum: "inout f32", term: "in f32" },
  ints: ["size"],
  main: `
  let i = index * threads + lane;
  if (i < u.size) { sum[i] += term[i]; }`,
});

const linearTokenLogProbsGrad = kernel<"dy" | "hidden" | "unembedding" | "ids" | "logProbs", Temperature>(
  ({ op, inputs: { dy, hidden, unembedding, ids, logProbs }, attrs, backend }) => {
    const [normalizer] = backend.keptWith(op, logProbs) as [tf.TensorInfo];
    const dunembedding = backend.output(unembedding.shape);
    let dhidden: tf.TensorInfo | undefined;
    forEachChunk(backend, hidden, unembedding, ({ first, rows, logits }) => {
      const dlogits = logitGradient(backend, { dy, logits, ids, normalizer }, first, attrs.temperature);
      const term = product(backend, dlogits, rows);
      if (!dhidden) dhidden = term;
      else {
        const size = sizeOf(term.shape);
        const groups = Math.ceil(size / threads);
        backend.run(addProgram, { tensors: { sum: dhidden, term }, uniforms: { size }, groups });
        backend.free(term);
      }
      const drows = product(backend, dlogits, hidden, { a: true });
      const start = first * hidden.shape[1]!;
      backend.copy({ tensor: drows, start: 0 }, { tensor: dunembedding, start }, sizeOf(drows.shape));
      backend.free(dlogits, drows);
    });
    return [dhidden!, dunembedding];
  },
);

export const logProbKernels: Record<string, Kernel> = {
  RlhfTokenLogProbs: tokenLogProbs,
  RlhfTokenLogProbsGrad: tokenLogProbsGrad,
  RlhfLinearTokenLogProbs: linearTokenLogProbs,
  RlhfLinearTokenLogProbsGrad: linearTokenLogProbsGrad,
};
