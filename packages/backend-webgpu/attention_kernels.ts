/**
 * Attention by blocks of queries and keys (Dao et al. 2022, arXiv:2205.14135): no [time, time] matrix is kept, only the
 * log-sum-exp of each row. A workgroup of 8×8 threads takes a block of rows; each thread holds every eighth row and
 * column of a product in registers, while operands pass through shared memory.
 */
import type * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "./_kernel.ts";
import { lowest, program } from "./_program.ts";
import type { WebGpuBackend } from "./backend.ts";

interface Attributes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly causal: boolean;
}

/** What a program is compiled for. */
interface Shape {
  readonly headDim: number;
  /** Rows and keys of a block. */
  readonly block: number;
  readonly causal: boolean;
  readonly segmented: boolean;
}

const threads = 64;
const uniforms = ["batch", "time", "heads", "kvHeads"] as const;

/** headDim rounded up to eights; tiles have a column more, or threads would wait for one memory bank. */
const paddedDim = (headDim: number) => 8 * Math.ceil(headDim / 8);

/** Numbers of shared memory that a program with this many tiles needs. */
const sharedNumbers = (tiles: number, block: number, headDim: number) =>
  tiles * block * (paddedDim(headDim) + 1) + block * (block + 1) + 8 * block;

/** The largest block that fits into shared memory, but none longer than the sequences. */
const blockFor = (
  op: string,
  backend: WebGpuBackend,
  tiles: number,
  { headDim, time }: { readonly headDim: number; readonly time: number },
): number => {
  const limit = backend.device.limits.maxComputeWorkgroupStorageSize / 4;
  const sizes = [32, 16, 8].filter((size) => size === 8 || size <= time);
  const block = sizes.find((size) => sharedNumbers(tiles, size, headDim) <= limit);
  if (block) return block;
  throw new RangeError(
    `Cannot run ${op}: heads of ${headDim} are too wide for the shared memory of this GPU`,
  );
};

/** What the programs share: constants, tiles by name, and for each row or key of a block what masks it. */
const declarations = ({ headDim, block, causal }: Shape, tiles: ReadonlyArray<string>) => `
const block = ${block}u;
const dim = ${headDim}u;
const padded = ${paddedDim(headDim)}u;
const stride = padded + 1u;
const scale = f32(${1 / Math.sqrt(headDim)});
const rows = ${block / 8}u;
const columns = ${paddedDim(headDim) / 8}u;
${tiles.map((tile) => `var<workgroup> ${tile}: array<f32, ${block * (paddedDim(headDim) + 1)}>;`).join("\n")}
var<workgroup> weights: array<f32, ${block * (block + 1)}>;
var<workgroup> rowSegments: array<i32, ${block}>;
var<workgroup> keySegments: array<i32, ${block}>;
var<workgroup> normalizers: array<f32, ${block}>;
var<workgroup> deltas: array<f32, ${block}>;
var<workgroup> highest: array<f32, ${block}>;
var<workgroup> sums: array<f32, ${block}>;
var<workgroup> shrink: array<f32, ${block}>;
fn isVisible(row: u32, key: u32, firstRow: u32, firstKey: u32) -> bool {
  let together = rowSegments[row] == keySegments[key] && keySegments[key] > 0;
  return together${causal ? " && firstKey + key <= firstRow + row" : ""};
}`;

/** Where this workgroup works; `of` is the kind of head that it takes. */
const place = (of: "heads" | "kvHeads") => `
  let blocks = (u.time + block - 1u) / block;
  let own = index % blocks;
  let head = index / blocks % u.${of};
  let batch = index / (blocks * u.${of});
  if (batch >= u.batch) { return; }
  let ty = lane / 8u;
  let tx = lane % 8u;
  let sharing = u.heads / u.kvHeads;
  let qkvWidth = (u.heads + 2u * u.kvHeads) * dim;
  let yWidth = u.heads * dim;`;

/** Fills a tile with rows of `source`, with zeros beyond the sequence and the head. */
const load = (tile: string, source: string, first: string, width: string, column: string) =>
  `
  for (var i = lane; i < block * padded; i += threads) {
    let t = ${first} + i / padded;
    let d = i % padded;
    var value = 0.0;
    if (t < u.time && d < dim) { value = ${source}[(batch * u.time + t) * ${width} + ${column} + d]; }
    tile_${tile}[i / padded * stride + d] = value;
  }`.replaceAll(`tile_${tile}`, tile);

const loadSegments = ({ segmented }: Shape, into: string, first: string) => `
  if (lane < block) {
    let t = ${first} + lane;
    ${into}[lane] = 0;
    if (t < u.time) { ${into}[lane] = ${segmented ? "segments[batch * u.time + t]" : "1"}; }
  }`;

/** result[r][c] = Σ_d a[row r, d] b[row c, d], over rows of two tiles. */
const rowProducts = (result: string, a: string, b: string) => `
  for (var r = 0u; r < rows; r++) { for (var c = 0u; c < rows; c++) { ${result}[r][c] = 0.0; } }
  for (var d = 0u; d < padded; d++) {
    for (var r = 0u; r < rows; r++) {
      let value = ${a}[(8u * r + ty) * stride + d];
      for (var c = 0u; c < rows; c++) { ${result}[r][c] += value * ${b}[(8u * c + tx) * stride + d]; }
    }
  }`;

/** sum[r][c] += Σ_j weights[row r, j] tile[j, column c]; `transposed` reads weights[j, row r]. */
const addWeighted = (sum: string, tile: string, transposed = false) => `
  for (var j = 0u; j < block; j++) {
    for (var r = 0u; r < rows; r++) {
      let weight = weights[${transposed ? "j * (block + 1u) + 8u * r + ty" : "(8u * r + ty) * (block + 1u) + j"}];
      for (var c = 0u; c < columns; c++) { ${sum}[r][c] += weight * ${tile}[j * stride + 8u * c + tx]; }
    }
  }`;

/** Visits what a thread holds of a product with rows of the block and columns of the head. */
const forEachColumn = (body: string) => `
  for (var r = 0u; r < rows; r++) {
    let row = 8u * r + ty;
    for (var c = 0u; c < columns; c++) {
      let d = 8u * c + tx;
      if (own * block + row < u.time && d < dim) { ${body} }
    }
  }`;
const forEachPair = (body: string) => `
  for (var r = 0u; r < rows; r++) {
    let row = 8u * r + ty;
    for (var c = 0u; c < rows; c++) {
      let key = 8u * c + tx;
      ${body}
    }
  }`;

const square = "array<array<f32, rows>, rows>";
const strip = "array<array<f32, columns>, rows>";
const keyColumn = "(u.heads + kvHead) * dim";
const valueColumn = "(u.heads + u.kvHeads + kvHead) * dim";
const barrier = "workgroupBarrier();";

const build = <const B extends Parameters<typeof program>[0]["buffers"]>(
  name: string,
  shape: Shape,
  tiles: ReadonlyArray<string>,
  buffers: B,
  main: string,
) => {
  const { headDim, block, causal, segmented } = shape;
  const key = `${name} ${headDim}/${block}${causal ? ", causal" : ""}${segmented ? ", segmented" : ""}`;
  return program({
    key,
    buffers: segmented ? { ...buffers, segments: "in i32" } : buffers,
    ints: uniforms,
    threads,
    declarations: declarations(shape, tiles),
    main,
  });
};

const forward = (shape: Shape) =>
  build(
    "attention",
    shape,
    ["queries", "tile"],
    { qkv: "in f32", y: "out f32", normalizer: "out f32" },
    `${place("heads")}
  let kvHead = head / sharing;
  let firstRow = own * block;
  ${load("queries", "qkv", "firstRow", "qkvWidth", "head * dim")}
  ${loadSegments(shape, "rowSegments", "firstRow")}
  if (lane < block) { highest[lane] = ${lowest}; sums[lane] = 0.0; }
  var mixed: ${strip};
  var scores: ${square};
  for (var other = 0u; other < ${shape.causal ? "own + 1u" : "blocks"}; other++) {
    let firstKey = other * block;
    ${barrier}
    ${load("tile", "qkv", "firstKey", "qkvWidth", keyColumn)}
    ${loadSegments(shape, "keySegments", "firstKey")}
    ${barrier}
    ${rowProducts("scores", "queries", "tile")}
    ${forEachPair(`
      let visible = isVisible(row, key, firstRow, firstKey);
      weights[row * (block + 1u) + key] = select(${lowest}, scores[r][c] * scale, visible);`)}
    ${barrier}
    if (lane < block) {
      let start = lane * (block + 1u);
      var top = highest[lane];
      for (var key = 0u; key < block; key++) { top = max(top, weights[start + key]); }
      shrink[lane] = exp(highest[lane] - top);
      var sum = sums[lane] * shrink[lane];
      for (var key = 0u; key < block; key++) {
        let weight = select(exp(weights[start + key] - top), 0.0, weights[start + key] <= ${lowest});
        weights[start + key] = weight;
        sum += weight;
      }
      highest[lane] = top;
      sums[lane] = sum;
    }
    ${load("tile", "qkv", "firstKey", "qkvWidth", valueColumn)}
    ${barrier}
    for (var r = 0u; r < rows; r++) {
      for (var c = 0u; c < columns; c++) { mixed[r][c] *= shrink[8u * r + ty]; }
    }
    ${addWeighted("mixed", "tile")}
  }
  ${forEachColumn(`
    let total = sums[row];
    y[(batch * u.time + firstRow + row) * yWidth + head * dim + d] =
      select(0.0, mixed[r][c] / total, total > 0.0);`)}
  if (lane < block && firstRow + lane < u.time) {
    normalizer[(batch * u.heads + head) * u.time + firstRow + lane] =
      select(0.0, highest[lane] + log(sums[lane]), sums[lane] > 0.0);
  }`,
  );

/** delta [batch, heads, time] = Σ_d dy · y, what softmax's gradient takes off each weight's own. */
const deltaProgram = program({
  key: "attention delta",
  buffers: { dy: "in f32", y: "in f32", delta: "out f32" },
  ints: ["size", "time", "heads", "dim"],
  threads,
  main: `
  let row = index * threads + lane;
  if (row >= u.size) { return; }
  let head = row % u.heads;
  let token = row / u.heads;
  var sum = 0.0;
  for (var d = 0u; d < u.dim; d++) { sum += dy[row * u.dim + d] * y[row * u.dim + d]; }
  delta[(token / u.time * u.heads + head) * u.time + token % u.time] = sum;`,
});

const loadRowStatistics = (first: string) => `
  if (lane < block) {
    let t = min(${first} + lane, u.time - 1u);
    normalizers[lane] = normalizer[(batch * u.heads + queryHead) * u.time + t];
    deltas[lane] = delta[(batch * u.heads + queryHead) * u.time + t];
  }`;

const backwardBuffers = {
  qkv: "in f32",
  dy: "in f32",
  normalizer: "in f32",
  delta: "in f32",
  dqkv: "inout f32",
} as const;

const queryGradient = (shape: Shape) =>
  build(
    "attention query gradient",
    shape,
    ["queries", "gradients", "tile"],
    backwardBuffers,
    `${place("heads")}
  let kvHead = head / sharing;
  let queryHead = head;
  let firstRow = own * block;
  ${load("queries", "qkv", "firstRow", "qkvWidth", "head * dim")}
  ${load("gradients", "dy", "firstRow", "yWidth", "head * dim")}
  ${loadSegments(shape, "rowSegments", "firstRow")}
  ${loadRowStatistics("firstRow")}
  var dquery: ${strip};
  var scores: ${square};
  var dweights: ${square};
  for (var other = 0u; other < ${shape.causal ? "own + 1u" : "blocks"}; other++) {
    let firstKey = other * block;
    ${barrier}
    ${load("tile", "qkv", "firstKey", "qkvWidth", valueColumn)}
    ${loadSegments(shape, "keySegments", "firstKey")}
    ${barrier}
    ${rowProducts("dweights", "gradients", "tile")}
    ${barrier}
    ${load("tile", "qkv", "firstKey", "qkvWidth", keyColumn)}
    ${barrier}
    ${rowProducts("scores", "queries", "tile")}
    ${forEachPair(`
      let weight = exp(scores[r][c] * scale - normalizers[row]);
      let dscore = weight * (dweights[r][c] - deltas[row]) * scale;
      weights[row * (block + 1u) + key] = select(0.0, dscore, isVisible(row, key, firstRow, firstKey));`)}
    ${barrier}
    ${addWeighted("dquery", "tile")}
  }
  ${forEachColumn(`
    dqkv[(batch * u.time + firstRow + row) * qkvWidth + head * dim + d] = dquery[r][c];`)}`,
  );

/** A workgroup takes a block of keys and walks over the queries of every head that reads them. */
const keyValueGradient = (shape: Shape) =>
  build(
    "attention key gradient",
    shape,
    ["keys", "values", "tile"],
    backwardBuffers,
    `${place("kvHeads")}
  let kvHead = head;
  let firstKey = own * block;
  ${load("keys", "qkv", "firstKey", "qkvWidth", keyColumn)}
  ${load("values", "qkv", "firstKey", "qkvWidth", valueColumn)}
  ${loadSegments(shape, "keySegments", "firstKey")}
  var dkey: ${strip};
  var dvalue: ${strip};
  var scores: ${square};
  var dweights: ${square};
  for (var queryHead = head * sharing; queryHead < (head + 1u) * sharing; queryHead++) {
    for (var other = ${shape.causal ? "own" : "0u"}; other < blocks; other++) {
      let firstRow = other * block;
      ${barrier}
      ${load("tile", "qkv", "firstRow", "qkvWidth", "queryHead * dim")}
      ${loadSegments(shape, "rowSegments", "firstRow")}
      ${loadRowStatistics("firstRow")}
      ${barrier}
      ${rowProducts("scores", "tile", "keys")}
      ${forEachPair(`
        let weight = exp(scores[r][c] * scale - normalizers[row]);
        scores[r][c] = select(0.0, weight, isVisible(row, key, firstRow, firstKey));
        weights[row * (block + 1u) + key] = scores[r][c];`)}
      ${barrier}
      ${load("tile", "dy", "firstRow", "yWidth", "queryHead * dim")}
      ${barrier}
      ${rowProducts("dweights", "tile", "values")}
      ${addWeighted("dvalue", "tile", true)}
      ${barrier}
      ${forEachPair(`
        weights[row * (block + 1u) + key] = scores[r][c] * (dweights[r][c] - deltas[row]) * scale;`)}
      ${load("tile", "qkv", "firstRow", "qkvWidth", "queryHead * dim")}
      ${barrier}
      ${addWeighted("dkey", "tile", true)}
    }
  }
  ${forEachColumn(`
    let token = (batch * u.time + firstKey + row) * qkvWidth;
    dqkv[token + ${keyColumn} + d] = dkey[r][c];
    dqkv[token + ${valueColumn} + d] = dvalue[r][c];`)}`,
  );

/** The sizes of a call, and its shape for a program with this many tiles. */
const sizesOf = (qkv: tf.TensorInfo, { heads, kvHeads }: Attributes) => {
  const [batch, time, width] = qkv.shape as [number, number, number];
  return { batch, time, heads, kvHeads, headDim: width / (heads + 2 * kvHeads) };
};

const attention = kernel<"qkv" | "segments", Attributes>(({ op, inputs, attrs, backend }) => {
  const { headDim, ...uniforms } = sizesOf(inputs.qkv, attrs);
  const { batch, time, heads } = uniforms;
  const [y, normalizer] = [
    backend.output([batch, time, heads * headDim]),
    backend.output([batch, heads, time]),
  ];
  const block = blockFor(op, backend, 2, { headDim, time });
  const shape = { headDim, block, causal: attrs.causal, segmented: inputs.segments !== undefined };
  backend.run(forward(shape), {
    tensors: { ...inputs, y, normalizer },
    uniforms,
    groups: batch * heads * Math.ceil(time / block),
  });
  backend.keepWith(y, [normalizer]);
  return y;
});

const attentionGrad = kernel<"dy" | "qkv" | "y" | "segments", Attributes>(
  ({ op, inputs, attrs, backend }) => {
    const { headDim, ...uniforms } = sizesOf(inputs.qkv, attrs);
    const { batch, time, heads, kvHeads } = uniforms;
    const { y, ...given } = inputs;
    const [normalizer] = backend.keptWith(op, y) as [tf.TensorInfo];
    const [delta, dqkv] = [backend.output([batch, heads, time]), backend.output(inputs.qkv.shape)];
    const size = batch * time * heads;
    backend.run(deltaProgram, {
      tensors: { dy: inputs.dy, y, delta },
      uniforms: { size, time, heads, dim: headDim },
      groups: Math.ceil(size / threads),
    });
    const block = blockFor(op, backend, 3, { headDim, time });
    const shape = { headDim, block, causal: attrs.causal, segmented: inputs.segments !== undefined };
    const tensors = { ...given, normalizer, delta, dqkv };
    const blocks = batch * Math.ceil(time / block);
    backend.run(queryGradient(shape), { tensors, uniforms, groups: blocks * heads });
    backend.run(keyValueGradient(shape), { tensors, uniforms, groups: blocks * kvHeads });
    backend.free(delta);
    return dqkv;
  },
);

export const attentionKernels: Record<string, Kernel> = {
  RlhfAttention: attention,
  RlhfAttentionGrad: attentionGrad,
};
