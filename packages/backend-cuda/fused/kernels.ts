/** The fused kernels of `@rlhf/tensor`; their equations stand with its operations. */
import type { Kernel } from "../_kernel.ts";
import { attentionKernels } from "./attention_kernels.ts";
import { decodeKernels } from "./decode_kernels.ts";
import { decoderBlockKernels } from "./decoder_block_kernels.ts";
import { layerKernels } from "./layer_kernels.ts";
import { linearKernels } from "./linear_kernels.ts";
import { logProbKernels } from "./log_prob_kernels.ts";
import { normKernels } from "./norm_kernels.ts";
import { optimizerKernels } from "./optimizer_kernels.ts";
import { sampleKernels } from "./sample_kernel.ts";

export const fusedKernels: Record<string, Kernel> = {
  ...attentionKernels,
  ...decodeKernels,
  ...decoderBlockKernels,
  ...layerKernels,
  ...linearKernels,
  ...logProbKernels,
  ...normKernels,
  ...optimizerKernels,
  ...sampleKernels,
};
