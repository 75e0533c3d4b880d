/** Tiles of the attention kernels and the shared memory that they take: in float32, and on tensor cores in bf16 or tf32. */
import type { CudaBackend } from "../backend.ts";

/** How kernels for one range of head sizes are launched. */
export interface AttentionVariant {
  /** Ends the names of modules and, with `dim` behind it, of kernels. */
  readonly suffix: "" | "_bf16" | "_tf32";
  /** headDim rounded up. */
  readonly dim: number;
  readonly threads: number;
  /** Rows of the tile that a block owns, and bytes of shared memory. */
  readonly forward: { readonly rows: number; readonly shared: number };
  readonly keyGrad: { readonly rows: number; readonly shared: number };
  readonly queryGrad: { readonly rows: number; readonly shared: number };
}

/** Bytes of tiles [rows, columns] with four floats of padding a row. */
const floatTiles = (...tiles: ReadonlyArray<readonly [rows: number, columns: number]>): number =>
  tiles.reduce((sum, [rows, columns]) => sum + 4 * rows * (columns + 4), 0);

const inFloat32 = (
  dim: number,
  [queries, keys]: readonly [number, number],
  backward: number,
): AttentionVariant => {
  const four = [backward, backward, backward, backward].map((rows) => [rows, dim] as const);
  const scores = [backward, backward] as const;
  return {
    suffix: "",
    dim,
    threads: 256,
    forward: { rows: queries, shared: floatTiles([queries, dim], [keys, dim], [queries, keys]) },
    keyGrad: { rows: backward, shared: floatTiles(...four, scores, scores) },
    queryGrad: { rows: backward, shared: floatTiles(...four, scores) },
  };
};

/** Rows that a block of the tensor core kernels owns are 64, or a multiple; it holds two tiles of the others, twice. */
const onTensorCores = (
  suffix: "_bf16" | "_tf32",
  dim: number,
  forward: { readonly rows: number; readonly others: number },
  backwardOthers: number,
): AttentionVariant => {
  const bytes = suffix === "_bf16" ? 2 : 4;
  const tiles = (others: number) => 4 * others * (bytes * dim + 16);
  const backward = { rows: 64, shared: tiles(backwardOthers) };
  return {
    suffix,
    dim,
    threads: 128,
    forward: { rows: forward.rows, shared: tiles(forward.others) },
    keyGrad: backward,
    queryGrad: backward,
  };
};

/** As in fused_attention.cu and fused_attention_grad.cu. */
const float32Variants = [
  inFloat32(32, [64, 64], 32),
  inFloat32(64, [64, 64], 32),
  inFloat32(128, [32, 32], 16),
  inFloat32(256, [32, 16], 16),
];
/** As in their siblings that end so. */
const bf16Variants = [
  onTensorCores("_bf16", 64, { rows: 128, others: 64 }, 64),
  onTensorCores("_bf16", 128, { rows: 64, others: 64 }, 32),
];
const tf32Variants = [onTensorCores("_tf32", 64, { rows: 64, others: 64 }, 32)];

/** The kernels for heads of this size; larger ones than tensor cores have kernels for are float32 always. */
export const attentionVariant = (backend: CudaBackend, headDim: number): AttentionVariant | undefined => {
  const fits = ({ dim }: AttentionVariant) => headDim <= dim;
  const tensorCores = { fp32: [], tf32: tf32Variants, bf16: bf16Variants }[backend.products.effective];
  return tensorCores.find(fits) ?? float32Variants.find(fits);
};
