/** Linear maps: the product by cuBLAS with what follows it, where it can, or in one more pass over memory. */
import type * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "../_kernel.ts";
import type { CudaBackend } from "../backend.ts";
import { blocksOf, threads, vectorOf } from "./_launch.ts";
import { sumPartials } from "./_sums.ts";

interface LinearAttributes {
  readonly activation: string | null;
  readonly transposeWeight: boolean;
}

/** The numbers of activations in fused_linear.cu. */
const activationNumbers: Readonly<Record<string, number>> = { relu: 1, gelu: 2, geluTanh: 3, silu: 4 };

const activationNumber = (op: string, activation: string | null): number => {
  if (activation === null) return 0;
  const number = activationNumbers[activation];
  if (number === undefined) throw new RangeError(`Cannot run ${op}: unknown activation ${activation}`);
  return number;
};

/**
 * Whether the result of a map may lie in bf16: not what needs more digits than that, logits (of an unembedding, which
 * lies transposed) and scores (a column).
 */
const mayRound = (out: number, transposeWeight: boolean): boolean => !transposeWeight && out > 1;

const linear = kernel<"x" | "weight" | "bias" | "residual", LinearAttributes>(
  ({ op, inputs, attrs, backend }) => {
    const { x, weight, bias, residual } = inputs as Partial<typeof inputs> &
      Pick<typeof inputs, "x" | "weight">;
    const { transposeWeight } = attrs;
    const activation = activationNumber(op, attrs.activation);
    const [rows, inner] = x.shape as [number, number];
    const out = weight.shape[transposeWeight ? 0 : 1]!;
    const made = () =>
      mayRound(out, transposeWeight) ? backend.activation([rows, out]) : backend.output([rows, out]);
    // The residual stream is float32.
    const y = residual ? backend.output([rows, out]) : made();
    const z = activation ? made() : undefined;
    if (z) backend.keepWith(y, [z]);
    const sizes = { a: x, b: weight, m: rows, n: out, k: inner, transposeB: transposeWeight };
    const one = followsInProduct(backend, activation, bias, residual);
    if (one && backend.gemmWithEpilogue({ ...sizes, c: y, bias, residual, z })) return y;
    const product = z ?? (residual && backend.rounds ? made() : y);
    backend.gemm({ ...sizes, c: product });
    if (!activation && !bias && !residual) return y;
    const [size, vector] = [rows * out, vectorOf(out)];
    backend.launch(
      "fused_linear",
      `fused_linear_epilogue_${activation}_${vector}`,
      { grid: blocksOf(size / vector), block: threads },
      [{ stored: product }, bias ?? null, residual ? { stored: residual } : null, { stored: y }, size, out],
    );
    if (product !== y && product !== z) backend.free(product);
    return y;
  },
);

/**
 * Whether cuBLASLt knows what follows the product: a bias, a residual, and, where results are rounded anyway, its
 * approximation of GELU, which need not have float32's digits.
 */
const followsInProduct = (
  backend: CudaBackend,
  activation: number,
  bias: tf.TensorInfo | undefined,
  residual: tf.TensorInfo | undefined,
): boolean => {
  if (activation)
    return activation === activationNumbers.geluTanh && backend.rounds && bias !== undefined && !residual;
  return bias !== undefined || residual !== undefined;
};

const linearGrad = kernel<"dy" | "x" | "weight" | "y", LinearAttributes & { readonly hasBias: boolean }>(
  ({ op, inputs: { dy, x, weight, y }, attrs, backend }) => {
    const { transposeWeight, hasBias } = attrs;
    const activation = activationNumber(op, attrs.activation);
    const [rows, inner] = x.shape as [number, number];
    const out = dy.shape[1]!;
    const z = activation ? backend.keptWith(op, y)[0]! : null;
    const dz = z ? backend.activation([rows, out]) : dy;
    const dbias = hasBias ? backend.output([out]) : undefined;
    if (z || dbias) preGradient(backend, activation, { dy, z, dz, dbias }, rows, out);
    const [dx, dweight] = [backend.activation([rows, inner]), backend.output(weight.shape)];
    backend.gemm({ a: dz, b: weight, c: dx, m: rows, n: inner, k: out, transposeB: !transposeWeight });
    const [a, b, m, n] = transposeWeight ? [dz, x, out, inner] : [x, dz, inner, out];
    backend.gemm({ a, b, c: dweight, m, n, k: rows, transposeA: true });
    if (z) backend.free(dz);
    return dbias ? [dx, dweight, dbias] : [dx, dweight];
  },
);

/** dz = dy · activation'(z) and dbias = Σ dz over the rows; without an activation dz is dy. */
const preGradient = (
  backend: CudaBackend,
  activation: number,
  tensors: {
    readonly dy: tf.TensorInfo;
    readonly z: tf.TensorInfo | null;
    readonly dz: tf.TensorInfo;
    readonly dbias: tf.TensorInfo | undefined;
  },
  rows: number,
  out: number,
): void => {
  const { dy, z, dz, dbias } = tensors;
  const vector = vectorOf(out);
  const columns = blocksOf(out / vector, 32);
  // Enough groups for every multiprocessor, of at least 32 rows.
  const wanted = Math.ceil((8 * backend.device.multiprocessors) / columns);
  const groupRows = Math.max(32, Math.ceil(rows / wanted));
  const groups = Math.ceil(rows / groupRows);
  const partials = dbias ? backend.output([groups, out]) : null;
  backend.launch(
    "fused_linear",
    `fused_linear_gradient_${activation}_${vector}`,
    { grid: [columns, groups], block: threads },
    [{ stored: dy }, z && { stored: z }, z ? { stored: dz } : { copyOf: dy }, partials, rows, out, groupRows],
  );
  if (dbias && partials) sumPartials(backend, partials, [dbias]);
};

export const linearKernels: Record<string, Kernel> = { RlhfLinear: linear, RlhfLinearGrad: linearGrad };
