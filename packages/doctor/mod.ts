export * from "./examine.ts";
export * from "./finding.ts";
export * from "./speeds.ts";
