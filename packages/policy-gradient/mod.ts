export * from "./clipped_surrogate.ts";
