/** Begins every program of the bundle: the engines, which cannot be looked for as packages there. */
import native from "@rlhf/backend-native";
import "@rlhf/backend-webgpu";

Object.assign(globalThis, { [Symbol.for("@rlhf/backend-native")]: native });
