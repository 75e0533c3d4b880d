/**
 * The tensor layer of @rlhf: a choice of tfjs backend, fused transformer operations with gradients and fallbacks,
 * masked statistics, log-probabilities of tokens, sampling and ragged decoding.
 */
export * from "./adamw_step.ts";
export * from "./add_into.ts";
export { attention } from "./attention.ts";
export * from "./backend.ts";
export * from "./decode_step.ts";
export type * from "./decoder.ts";
export * from "./decoder_block.ts";
export * from "./embed.ts";
export * from "./fused_kernels.ts";
export * from "./global_norm.ts";
export * from "./head_norm.ts";
export * from "./layer_norm.ts";
export { linear } from "./linear.ts";
export * from "./linear_token_log_probs.ts";
export * from "./masked_statistics.ts";
export * from "./rms_norm.ts";
export * from "./rope.ts";
export * from "./rope_scaling.ts";
export * from "./sample.ts";
export * from "./swiglu.ts";
export * from "./token_log_probs.ts";
export * from "./value_and_grads.ts";
