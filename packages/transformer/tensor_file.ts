import { InvalidInput } from "@rlhf/core/errors";
import type * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import { decodeSafetensors, encodeSafetensors, type StoredTensor } from "./safetensors.ts";

/** Writes tensors to a safetensors file, under a temporary name first: the file is whole or not there. */
export const saveTensors = Effect.fn("transformer.saveTensors")(function* (
  path: string,
  tensors: Readonly<Record<string, tf.Tensor>>,
) {
  const files = yield* FileSystem.FileSystem;
  const stored: Record<string, StoredTensor> = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    const values = yield* Effect.promise(() => tensor.data<"float32" | "int32">());
    stored[name] = { shape: tensor.shape, values };
  }
  yield* files.writeFile(`${path}.partial`, encodeSafetensors(stored));
  yield* files.rename(`${path}.partial`, path);
});

/** Reads a safetensors file. Fails with `InvalidInput`, which names the file and the tensor, when it is corrupt. */
export const loadTensors = Effect.fn("transformer.loadTensors")(function* (path: string) {
  const files = yield* FileSystem.FileSystem;
  const bytes = yield* files.readFile(path);
  return yield* Effect.try({
    try: () => decodeSafetensors(bytes),
    catch: (error) =>
      new InvalidInput({
        problems: [
          { where: path, problem: (error as Error).message, remedy: "Copy or download the file again" },
        ],
      }),
  });
});
