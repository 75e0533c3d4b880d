export * from "./controller.ts";
export * from "./estimators.ts";
export * from "./penalty.ts";
