/** Sampling a token of each row from given uniform numbers. */
import { type Kernel, kernel } from "../_kernel.ts";
import { rowThreads } from "./_launch.ts";

const sample = kernel<
  "logits" | "uniforms",
  { readonly temperature: number; readonly topK: number; readonly topP: number }
>(({ inputs: { logits, uniforms }, attrs, backend }) => {
  const [rows, vocab] = logits.shape as [number, number];
  const topK = attrs.topK === 0 ? vocab : Math.min(attrs.topK, vocab);
  const [ids, logProbs] = [backend.output([rows], "int32"), backend.output([rows])];
  const launch = { grid: rows, block: rowThreads(vocab / 4, 1024) };
  backend.launch("fused_sample", "fused_sample", launch, [
    logits,
    uniforms,
    ids,
    logProbs,
    vocab,
    { f32: 1 / attrs.temperature },
    topK,
    { f32: attrs.topP },
  ]);
  return [ids, logProbs];
});

export const sampleKernels: Record<string, Kernel> = { RlhfSample: sample };
