export * from "./config.ts";
export * from "./mean_response_loss.ts";
export * from "./response_loss.ts";
export * from "./train.ts";
