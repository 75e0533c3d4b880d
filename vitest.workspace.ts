import { defineConfig } from "vitest/config";

/** Tests lie beside their source as `x_test.ts`, in packages, examples, scripts and bench. */
export default defineConfig({
  test: {
    include: ["packages/**/*_test.ts", "examples/**/*_test.ts", "scripts/**/*_test.ts", "bench/**/*_test.ts"],
    exclude: ["**/node_modules/**", "**/dist/**"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // A file a core, rather than all files on one and two threads in each.
    maxWorkers: "100%",
    env: { RLHF_NATIVE_THREADS: "1" },
  },
});
