/** Prints by how many bytes the process grew at most while it loaded a checkpoint: node --expose-gc … FOLDER BACKEND. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import { type BackendName, useBackend } from "@rlhf/tensor/backend";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { loadCheckpoint } from "../checkpoint.ts";

const [folder, backend] = process.argv.slice(2) as [string, BackendName];
await useBackend(backend);
globalThis.gc!();
const before = process.memoryUsage.rss();
let peak = before;
let loading = true;
const watch = (): void => {
  peak = Math.max(peak, process.memoryUsage.rss());
  if (loading) setImmediate(watch);
};
watch();
const files = Layer.merge(NodeFileSystem.layer, NodePath.layer);
await Effect.runPromise(Effect.provide(loadCheckpoint(folder), files));
loading = false;
console.log(Math.max(peak, process.memoryUsage.rss()) - before);
