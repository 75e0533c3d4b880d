export * from "./errors.ts";
export * from "./progress.ts";
export * from "./random.ts";
export * from "./records.ts";
export * from "./run_folder.ts";
export * from "./setting.ts";
