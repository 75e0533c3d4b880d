export * from "./config.ts";
export { type CrossEntropy, crossEntropy } from "./cross_entropy.ts";
export * from "./fill_mask.ts";
export * from "./masked_lm.ts";
export * from "./next_token.ts";
export * from "./train.ts";
export * from "./train_masked.ts";
