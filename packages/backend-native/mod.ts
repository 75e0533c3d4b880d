/** The fast CPU engine of `@rlhf`: a tfjs backend named "native", written in C++. */
import { register } from "./register.ts";

export type { NativeBackend } from "./backend.ts";
export { fallbackCounts, register, resetFallbackCounts } from "./register.ts";
export default { register };
