/** Rotary positions, gated units and embeddings. */
import { type Kernel, kernel } from "../_kernel.ts";
import { sizeOf } from "../backend.ts";
import { blocksOf, rowThreads, threads, vectorOf } from "./_launch.ts";

/** Heads that a thread of fused_rope turns by its angle. */
const headsPerThread = 8;

const rope = kernel<
  "qkv" | "positions",
  { readonly heads: number; readonly kvHeads: number; readonly theta: number; readonly inverse: boolean }
>(({ inputs: { qkv, positions }, attrs, backend }) => {
  const { heads, kvHeads, theta, inverse } = attrs;
  const rows = sizeOf(positions.shape);
  const parts = heads + 2 * kvHeads;
  const headDim = qkv.shape.at(-1)! / parts;
  const rotated = backend.activation(qkv.shape);
  const grid = [blocksOf((rows * headDim) / 2), Math.ceil(parts / headsPerThread)] as const;
  backend.launch("fused_layers", "fused_rope", { grid, block: threads }, [
    { stored: qkv },
    positions,
    { stored: rotated },
    rows,
    heads,
    kvHeads,
    headDim,
    { f32: theta },
    { f32: inverse ? -1 : 1 },
  ]);
  return rotated;
});

const swiglu = kernel<"x">(({ inputs: { x }, backend }) => {
  const [rows, both] = x.shape as [number, number];
  const width = both / 2;
  const y = backend.activation([rows, width]);
  const [size, vector] = [rows * width, vectorOf(width)];
  const launch = { grid: blocksOf(size / vector), block: threads };
  const args = [{ stored: x }, { stored: y }, size, width];
  backend.launch("fused_layers", `fused_swiglu_${vector}`, launch, args);
  return y;
});

const swigluGrad = kernel<"dy" | "x">(({ inputs: { dy, x }, backend }) => {
  const [rows, width] = dy.shape as [number, number];
  const dx = backend.activation(x.shape);
  const [size, vector] = [rows * width, vectorOf(width)];
  const launch = { grid: blocksOf(size / vector), block: threads };
  backend.launch("fused_layers", `fused_swiglu_grad_${vector}`, launch, [
    { stored: dy },
    { stored: x },
    { stored: dx },
    size,
    width,
  ]);
  return dx;
});

const embed = kernel<"weight" | "ids">(({ inputs: { weight, ids }, backend }) => {
  const [vocab, width] = weight.shape as [number, number];
  const rows = ids.shape[0]!;
  const vector = vectorOf(width);
  const y = backend.output([rows, width]);
  const launch = { grid: rows, block: rowThreads(width / vector, 256) };
  backend.launch("fused_embed", `fused_embed_${vector}`, launch, [weight, ids, y, vocab, width]);
  return y;
});

/** Ids that a block of fused_embed_order sorts. */
const idsPerBlock = 64;

const embedGrad = kernel<"dy" | "ids", { readonly vocab: number }>(({ inputs, attrs, backend }) => {
  const { dy, ids } = inputs;
  const { vocab } = attrs;
  const [rows, width] = dy.shape as [number, number];
  const vector = vectorOf(width);
  const [order, starts] = [backend.output([rows], "int32"), backend.output([vocab + 1], "int32")];
  const dweight = backend.output([vocab, width]);
  backend.launch("fused_embed", "fused_embed_order", { grid: blocksOf(vocab, idsPerBlock), block: 256 }, [
    ids,
    order,
    starts,
    rows,
    vocab,
  ]);
  const block = rowThreads(width / vector, 256);
  backend.launch(
    "fused_embed",
    `fused_embed_grad_${vector}`,
    { grid: [vocab, blocksOf(width / vector, block)], block },
    [dy, order, starts, dweight, width],
  );
  backend.free(order, starts);
  return dweight;
});

export const layerKernels: Record<string, Kernel> = {
  RlhfRope: rope,
  RlhfSwiglu: swiglu,
  RlhfSwigluGrad: swigluGrad,
  RlhfEmbed: embed,
  RlhfEmbedGrad: embedGrad,
};
