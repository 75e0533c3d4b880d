/** Linear maps with what follows them, gated layers, rotary positions and embeddings. */
import type * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel, product } from "./_kernel.ts";
import { type Buffers, program, reductions, threads } from "./_program.ts";
import { sizeOf, type WebGpuBackend } from "./backend.ts";
import { columnSums } from "./column_sums.ts";

type Activation = "gelu" | "geluTanh" | "silu" | "relu";
interface LinearAttributes {
  readonly activation: Activation | null;
  readonly transposeWeight: boolean;
}

/** erf by Abramowitz and Stegun 7.1.26, to 1.5·10⁻⁷; exponents are bounded, for WGSL promises nothing about infinity. */
const functions = `
fn erf(x: f32) -> f32 {
  let t = 1.0 / (1.0 + 0.3275911 * abs(x));
  let tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return sign(x) * (1.0 - tail * exp(-min(x * x, 80.0)));
}
fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp(min(-x, 80.0))); }
fn tanhInner(z: f32) -> f32 { return tanh(clamp(0.7978845608 * z * (1.0 + 0.044715 * z * z), -15.0, 15.0)); }`;

/** activation(z) and its derivative. */
const formulas: Readonly<Record<Activation, readonly [value: string, slope: string]>> = {
  gelu: [
    "0.5 * z * (1.0 + erf(z * 0.7071067812))",
    "0.5 * (1.0 + erf(z * 0.7071067812)) + z * 0.3989422804 * exp(-min(0.5 * z * z, 80.0))",
  ],
  geluTanh: [
    "0.5 * z * (1.0 + tanhInner(z))",
    "0.5 * (1.0 + tanhInner(z)) + 0.5 * z * (1.0 - tanhInner(z) * tanhInner(z)) * 0.7978845608 * (1.0 + 0.134145 * z * z)",
  ],
  silu: ["z * sigmoid(z)", "sigmoid(z) * (1.0 + z * (1.0 - sigmoid(z)))"],
  relu: ["max(z, 0.0)", "select(0.0, 1.0, z > 0.0)"],
};

/** z ← z + bias, y = activation(z) + residual. */
const epilogue = (activation: Activation | null, hasBias: boolean, hasResidual: boolean) =>
  program({
    key: `linear epilogue ${activation}${hasBias ? " + bias" : ""}${hasResidual ? " + residual" : ""}`,
    buffers: {
      product: "inout f32",
      ...(hasBias && { bias: "in f32" }),
      ...(hasResidual && { residual: "in f32" }),
      ...(activation && { y: "out f32" }),
    } as Buffers,
    ints: ["size", "width"],
    declarations: functions,
    main: `
  let i = index * threads + lane;
  if (i >= u.size) { return; }
  let z = product[i]${hasBias ? " + bias[i % u.width]" : ""};
  let value = ${activation ? formulas[activation][0] : "z"}${hasResidual ? " + residual[i]" : ""};
  ${activation ? "product[i] = z; y[i] = value;" : "product[i] = value;"}`,
  });

const slopeProgram = (activation: Activation) =>
  program({
    key: `${activation} gradient`,
    buffers: { dy: "in f32", before: "in f32", dz: "out f32" },
    ints: ["size"],
    declarations: functions,
    main: `
  let i = index * threads + lane;
  if (i >= u.size) { return; }
  let z = before[i];
  dz[i] = dy[i] * (${formulas[activation][1]});`,
  });

const linear = kernel<"x" | "weight" | "bias" | "residual", LinearAttributes>(
  ({ inputs, attrs, backend }) => {
    const { x, weight, bias, residual } = inputs as Partial<typeof inputs> &
      Pick<typeof inputs, "x" | "weight">;
    const { activation, transposeWeight } = attrs;
    const before = product(backend, x, weight, { b: transposeWeight });
    if (!activation && !bias && !residual) return before;
    const y = activation ? backend.output(before.shape) : before;
    const [size, width] = [sizeOf(y.shape), y.shape[1]!];
    backend.run(epilogue(activation, bias !== undefined, residual !== undefined), {
      tensors: {
        product: before,
        ...(bias && { bias }),
        ...(residual && { residual }),
        ...(activation && { y }),
      },
      uniforms: { size, width },
      groups: Math.ceil(size / threads),
    });
    if (activation) backend.keepWith(y, [before]);
    return y;
  },
);

const linearGrad = kernel<"dy" | "x" | "weight" | "y", LinearAttributes & { readonly hasBias: boolean }>(
  ({ op, inputs: { dy, x, weight, y }, attrs, backend }) => {
    const { activation, transposeWeight, hasBias } = attrs;
    const dz = activation ? activationGradient(backend, op, activation, dy, y) : dy;
    const dx = product(backend, dz, weight, { b: !transposeWeight });
    const dweight = transposeWeight
      ? product(backend, dz, x, { a: true })
      : product(backend, x, dz, { a: true });
    const gradients = hasBias ? [dx, dweight, columnSums(backend, dz)] : [dx, dweight];
    if (activation) backend.free(dz);
    return gradients;
  },
);

const activationGradient = (
  backend: WebGpuBackend,
  op: string,
  activation: Activation,
  dy: tf.TensorInfo,
  y: tf.TensorInfo,
): tf.TensorInfo => {
  const [before] = backend.keptWith(op, y) as [tf.TensorInfo];
  const dz = backend.output(dy.shape);
  const size = sizeOf(dy.shape);
  const groups = Math.ceil(size / threads);
  backend.run(slopeProgram(activation), { tensors: { dy, before, dz }, uniforms: { size }, groups });
  return dz;
};

const gatedProgram = program({
  key: "swiglu",
  buffers: { x: "in f32", y: "out f32" },
  ints: ["size", "width"],
  declarations: functions,
  main: `
  let i = index * threads + lane;
  if (i >= u.size) { return; }
  let place = i / u.width * 2u * u.width + i % u.width;
  let gate = x[place];
  y[i] = gate * sigmoid(gate) * x[place + u.width];`,
});
const gatedGradientProgram = program({
  key: "swiglu gradient",
  buffers: { dy: "in f32", x: "in f32", dx: "out f32" },
  ints: ["size", "width"],
  declarations: functions,
  main: `
  let i = index * threads + lane;
  if (i >= u.size) { return; }
  let place = i / u.width * 2u * u.width + i % u.width;
  let z = x[place];
  dx[place] = dy[i] * x[place + u.width] * (${formulas.silu[1]});
  dx[place + u.width] = dy[i] * z * sigmoid(z);`,
});

const swiglu = kernel<"x">(({ inputs: { x }, backend }) => {
  const [rows, both] = x.shape as [number, number];
  const y = backend.output([rows, both / 2]);
  const size = sizeOf(y.shape);
  const groups = Math.ceil(size / threads);
  backend.run(gatedProgram, { tensors: { x, y }, uniforms: { size, width: both / 2 }, groups });
  return y;
});
const swigluGrad = kernel<"dy" | "x">(({ inputs: { dy, x }, backend }) => {
  const dx = backend.output(x.shape);
  const size = sizeOf(dy.shape);
  const groups = Math.ceil(size / threads);
  backend.run(gatedGradientProgram, {
    tensors: { dy, x, dx },
    uniforms: { size, width: dy.shape[1]! },
    groups,
  });
  return dx;
});

/**
 * Sine and cosine of large angles after Cody and Waite: WGSL promises only 2⁻¹¹, and only between −π and π. The
 * polynomials are those of the Cephes library.
 */
const turn = `
fn turn(angle: f32) -> vec2f {
  let quarter = round(angle * 0.6366197724);
  let r = ((angle - quarter * 1.5703125) - quarter * 4.837512969970703e-4) - quarter * 7.549789948768648e-8;
  let s = r * r;
  let sine = r + r * s * (-1.6666654611e-1 + s * (8.3321608736e-3 - 1.9515295891e-4 * s));
  let cosine = 1.0 - 0.5 * s + s * s * (4.166664568e-2 + s * (-1.388731625e-3 + 2.443315712e-5 * s));
  switch (i32(quarter) & 3) {
    case 1: { return vec2f(-sine, cosine); }
    case 2: { return vec2f(-cosine, -sine); }
    case 3: { return vec2f(sine, -cosine); }
    default: { return vec2f(cosine, sine); }
  }
}`;
const ropeProgram = program({
  key: "rope",
  buffers: { qkv: "in f32", positions: "in i32", frequencies: "in f32", rotated: "out f32" },
  ints: ["size", "width", "turned", "half"],
  floats: ["direction"],
  declarations: turn,
  main: `
  let i = index * threads + lane;
  if (i >= u.size) { return; }
  let column = i % u.width;
  if (column >= u.turned) { rotated[i] = qkv[i]; return; }
  let place = column % (2u * u.half);
  let angle = f32(positions[i / u.width]) * frequencies[place % u.half];
  let t = turn(angle);
  if (place < u.half) { rotated[i] = qkv[i] * t.x - u.direction * qkv[i + u.half] * t.y; }
  else { rotated[i] = qkv[i] * t.x + u.direction * qkv[i - u.half] * t.y; }`,
});

const rope = kernel<
  "qkv" | "positions",
  { readonly heads: number; readonly kvHeads: number; readonly theta: number; readonly inverse: boolean }
>(({ inputs, attrs, backend }) => {
  const { heads, kvHeads, theta, inverse } = attrs;
  const width = inputs.qkv.shape.at(-1)!;
  const headDim = width / (heads + 2 * kvHeads);
  const half = headDim / 2;
  const wavelengths = Float32Array.from({ length: half }, (_, i) => theta ** (-i / half));
  const frequencies = backend.makeTensorInfo([half], "float32", wavelengths);
  const rotated = backend.output(inputs.qkv.shape);
  const size = sizeOf(rotated.shape);
  backend.run(ropeProgram, {
    tensors: { ...inputs, frequencies, rotated },
    uniforms: { size, width, turned: (heads + kvHeads) * headDim, half, direction: inverse ? -1 : 1 },
    groups: Math.ceil(size / threads),
  });
  backend.free(frequencies);
  return rotated;
});

const embedProgram = program({
  key: "embed",
  buffers: { weight: "in f32", ids: "in i32", y: "out f32" },
  ints: ["size", "width"],
  main: `
  let i = index * threads + lane;
  if (i >= u.size) { return; }
  y[i] = weight[u32(ids[i / u.width]) * u.width + i % u.width];`,
});
/** The first token of each id adds up the rows of all of them, in their order. */
const embedGradientProgram = program({
  key: "embed gradient",
  buffers: { dy: "in f32", ids: "in i32", dweight: "inout f32" },
  ints: ["rows", "width"],
  threads: 64,
  declarations: reductions,
  main: `
  if (index >= u.rows) { return; }
  let id = ids[index];
  var earlier = 0.0;
  for (var row = lane; row < index; row += threads) { if (ids[row] == id) { earlier = 1.0; } }
  if (sumOver(earlier, lane) > 0.0) { return; }
  for (var column = lane; column < u.width; column += threads) {
    var sum = 0.0;
    for (var row = index; row < u.rows; row++) { if (ids[row] == id) { sum += dy[row * u.width + column]; } }
    dweight[u32(id) * u.width + column] = sum;
  }`,
});

const embed = kernel<"weight" | "ids">(({ inputs: { weight, ids }, backend }) => {
  const width = weight.shape[1]!;
  const y = backend.output([ids.shape[0]!, width]);
  const size = sizeOf(y.shape);
  const groups = Math.ceil(size / threads);
  backend.run(embedProgram, { tensors: { weight, ids, y }, uniforms: { size, width }, groups });
  return y;
});
const embedGrad = kernel<"dy" | "ids", { readonly vocab: number }>(({ inputs, attrs, backend }) => {
  const [rows, width] = inputs.dy.shape as [number, number];
  const dweight = backend.zeros([attrs.vocab, width]);
  const tensors = { ...inputs, dweight };
  backend.run(embedGradientProgram, { tensors, uniforms: { rows, width }, groups: rows });
  return dweight;
});

export const layerKernels: Record<string, Kernel> = {
  RlhfLinear: linear,
  RlhfLinearGrad: linearGrad,
  RlhfSwiglu: swiglu,
  RlhfSwigluGrad: swigluGrad,
  RlhfRope: rope,
  RlhfEmbed: embed,
  RlhfEmbedGrad: embedGrad,
};
