/** The GPU engine of `@rlhf` for every vendor and the browser: a tfjs backend named "webgpu". */
import { register } from "./register.ts";

export type { Adapter } from "./adapter.ts";
export type { WebGpuBackend } from "./backend.ts";
export { register } from "./register.ts";

const engine = { register };
// Where the choice of `@rlhf/tensor` finds it in a browser, which cannot look for packages.
Object.assign(globalThis, { [Symbol.for("@rlhf/backend-webgpu")]: engine });
export default engine;
