/** Begins every program of the bundle: the engines, which cannot be looked for as packages there. */
import cuda from "@rlhf/backend-cuda";
import native from "@rlhf/backend-native";
import "@rlhf/backend-webgpu";

Object.assign(globalThis, {
  [Symbol.for("@rlhf/backend-cuda")]: cuda,
  [Symbol.for("@rlhf/backend-native")]: native,
});
