/** Layer norm and root-mean-square norm over rows: a workgroup a row, statistics made again for the gradient. */
import type * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "./_kernel.ts";
import { program, reductions } from "./_program.ts";
import type { WebGpuBackend } from "./backend.ts";
import { columnSums, rowBlocks, sumPartials } from "./column_sums.ts";

/** `center` and `scale` of row `index`: normed = (x − center) · scale. */
const statistics = (centered: boolean) => `
  if (index >= u.rows) { return; }
  let base = index * u.width;
  var sum = 0.0;
  ${centered ? "for (var i = lane; i < u.width; i += threads) { sum += x[base + i]; }" : ""}
  let center = ${centered ? "sumOver(sum, lane) / f32(u.width)" : "0.0"};
  var squares = 0.0;
  for (var i = lane; i < u.width; i += threads) {
    let distance = x[base + i] - center;
    squares += distance * distance;
  }
  let scale = 1.0 / sqrt(sumOver(squares, lane) / f32(u.width) + u.epsilon);`;

const common = {
  ints: ["rows", "width"],
  floats: ["epsilon"],
  declarations: reductions,
  threads: 64,
} as const;

const layerNormProgram = program({
  ...common,
  key: "layer norm",
  buffers: { x: "in f32", gain: "in f32", bias: "in f32", y: "out f32" },
  main: `${statistics(true)}
  for (var i = lane; i < u.width; i += threads) {
    y[base + i] = (x[base + i] - center) * scale * gain[i] + bias[i];
  }`,
});
const rmsNormProgram = program({
  ...common,
  key: "rms norm",
  buffers: { x: "in f32", gain: "in f32", y: "out f32" },
  main: `${statistics(false)}
  for (var i = lane; i < u.width; i += threads) { y[base + i] = x[base + i] * scale * gain[i]; }`,
});

/** dx, and the statistics [rows, 2] for the gradients by gain and bias. */
const gradientProgram = (centered: boolean) =>
  program({
    ...common,
    key: `norm gradient${centered ? ", centered" : ""}`,
    buffers: { dy: "in f32", x: "in f32", gain: "in f32", dx: "out f32", statistics: "out f32" },
    main: `${statistics(centered)}
  var plain = 0.0;
  var along = 0.0;
  for (var i = lane; i < u.width; i += threads) {
    let g = dy[base + i] * gain[i];
    plain += g;
    along += g * (x[base + i] - center) * scale;
  }
  let meanPlain = ${centered ? "sumOver(plain, lane) / f32(u.width)" : "0.0"};
  let meanAlong = sumOver(along, lane) / f32(u.width);
  for (var i = lane; i < u.width; i += threads) {
    let normed = (x[base + i] - center) * scale;
    dx[base + i] = scale * (dy[base + i] * gain[i] - meanPlain - normed * meanAlong);
  }
  if (lane == 0u) { statistics[2u * index] = center; statistics[2u * index + 1u] = scale; }`,
  });
const gradientPrograms = { layer: gradientProgram(true), rms: gradientProgram(false) };

/** Sums of dy · normed over blocks of rows. */
const gainProgram = program({
  key: "norm gain gradient",
  buffers: { dy: "in f32", x: "in f32", statistics: "in f32", sums: "out f32" },
  ints: ["rows", "width", "rowsPerBlock"],
  threads: 64,
  main: `
  let columns = (u.width + threads - 1u) / threads;
  let column = index % columns * threads + lane;
  let block = index / columns;
  if (column >= u.width || block * u.rowsPerBlock >= max(u.rows, 1u)) { return; }
  var sum = 0.0;
  let end = min(u.rows, (block + 1u) * u.rowsPerBlock);
  for (var row = block * u.rowsPerBlock; row < end; row++) {
    let place = row * u.width + column;
    sum += dy[place] * (x[place] - statistics[2u * row]) * statistics[2u * row + 1u];
  }
  sums[block * u.width + column] = sum;`,
});

const gradients = (
  backend: WebGpuBackend,
  norm: "layer" | "rms",
  { dy, x, gain }: Readonly<Record<"dy" | "x" | "gain", tf.TensorInfo>>,
  epsilon: number,
): { readonly dx: tf.TensorInfo; readonly dgain: tf.TensorInfo } => {
  const [rows, width] = x.shape as [number, number];
  const [dx, statistics] = [backend.output(x.shape), backend.output([rows, 2])];
  backend.run(gradientPrograms[norm], {
    tensors: { dy, x, gain, dx, statistics },
    uniforms: { rows, width, epsilon },
    groups: rows,
  });
  const { blocks, rowsPerBlock } = rowBlocks(rows);
  const sums = backend.output([blocks, width]);
  backend.run(gainProgram, {
    tensors: { dy, x, statistics, sums },
    uniforms: { rows, width, rowsPerBlock },
    groups: blocks * Math.ceil(width / 64),
  });
  backend.free(statistics);
  return { dx, dgain: sumPartials(backend, sums) };
};

type Epsilon = { readonly epsilon: number };

const layerNorm = kernel<"x" | "gain" | "bias", Epsilon>(({ inputs, attrs, backend }) => {
  const y = backend.output(inputs.x.shape);
  const [rows, width] = inputs.x.shape as [number, number];
  backend.run(layerNormProgram, {
    tensors: { ...inputs, y },
    uniforms: { rows, width, epsilon: attrs.epsilon },
    groups: rows,
  });
  return y;
});

const layerNormGrad = kernel<"dy" | "x" | "gain" | "y", Epsilon>(({ inputs, attrs, backend }) => {
  const { dx, dgain } = gradients(backend, "layer", inputs, attrs.epsilon);
  return [dx, dgain, columnSums(backend, inputs.dy)];
});

const rmsNorm = kernel<"x" | "gain", Epsilon>(({ inputs, attrs, backend }) => {
  const y = backend.output(inputs.x.shape);
  const [rows, width] = inputs.x.shape as [number, number];
  backend.run(rmsNormProgram, {
    tensors: { ...inputs, y },
    uniforms: { rows, width, epsilon: attrs.epsilon },
    groups: rows,
  });
  return y;
});

const rmsNormGrad = kernel<"dy" | "x" | "gain" | "y", Epsilon>(({ inputs, attrs, backend }) => {
  const { dx, dgain } = gradients(backend, "rms", inputs, attrs.epsilon);
  return [dx, dgain];
});

export const normKernels: Record<string, Kernel> = {
  RlhfLayerNorm: layerNorm,
  RlhfLayerNormGrad: layerNormGrad,
  RlhfRmsNorm: rmsNorm,
  RlhfRmsNormGrad: rmsNormGrad,
};
