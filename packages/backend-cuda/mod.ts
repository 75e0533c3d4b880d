/** The engine of `@rlhf` for NVIDIA GPUs: a tfjs backend named "cuda". */
import { register } from "./register.ts";

export { CudaOutOfMemory } from "./allocator.ts";
export type { CudaBackend } from "./backend.ts";
export { fallbackCounts, resetFallbackCounts } from "./fallback.ts";
export type { Precision } from "./products.ts";
export { register } from "./register.ts";

export default { register };
