export * from "./checkpoint_files.ts";
export * from "./hub_error.ts";
export * from "./hub_name.ts";
export * from "./settings.ts";
