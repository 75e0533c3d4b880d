export * from "./adamw.ts";
export * from "./ema.ts";
export * from "./memory.ts";
export * from "./schedules.ts";
export * from "./total_loss.ts";
export * from "./train_loop.ts";
export * from "./train_step.ts";
