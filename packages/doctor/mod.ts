export * from "./examine.ts";
export * from "./finding.ts";
export * from "./speeds.ts";
export * from "./tensor_memory.ts";
