export * from "./episode.ts";
export * from "./response_log_probs.ts";
export * from "./response_values.ts";
export * from "./responses.ts";
export * from "./rollout.ts";
export * from "./scoped_tensors.ts";
export * from "./score.ts";
