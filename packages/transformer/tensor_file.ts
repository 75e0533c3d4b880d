import { InvalidInput } from "@rlhf/core/errors";
import type * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import type { PlatformError } from "effect/PlatformError";
import {
  decodeNumbers,
  dtypeOf,
  elementsOf,
  emptyValues,
  encodeHeader,
  type HeaderProblem,
  headerLength,
  isReadable,
  numberSize,
  parseHeader,
  type StoredTensor,
  type TensorEntry,
} from "./safetensors.ts";

/** A tensor that is to be written, whose numbers are asked for when its turn comes. */
export interface TensorSource {
  readonly name: string;
  readonly shape: ReadonlyArray<number>;
  readonly dtype: "F32" | "I32";
  readonly values: () => Promise<StoredTensor["values"]>;
}

/** Writes tensors to a safetensors file, under a temporary name first: the file is whole or not there. */
export const saveTensors = (path: string, tensors: Readonly<Record<string, tf.Tensor>>) =>
  writeTensors(
    path,
    Object.entries(tensors).map(([name, tensor]) => ({
      name,
      shape: tensor.shape,
      dtype: tensor.dtype === "int32" ? "I32" : "F32",
      values: () => tensor.data<"float32" | "int32">(),
    })),
  );

/** The same from any source; no more than one tensor is held at a time. */
export const writeTensors = Effect.fn("transformer.writeTensors")(function* (
  path: string,
  tensors: ReadonlyArray<TensorSource>,
) {
  const files = yield* FileSystem.FileSystem;
  const partial = `${path}.partial`;
  yield* Effect.scoped(
    Effect.gen(function* () {
      const file = yield* files.open(partial, { flag: "w" });
      yield* file.writeAll(encodeHeader(tensors));
      for (const tensor of tensors) {
        const values = yield* Effect.promise(tensor.values);
        if (dtypeOf(values) !== tensor.dtype || values.length !== elementsOf(tensor.shape)) {
          throw new RangeError(
            `Cannot write ${tensor.name}: its numbers do not have the shape [${tensor.shape}]`,
          );
        }
        yield* file.writeAll(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      }
      yield* file.sync;
    }),
  );
  yield* files.rename(partial, path);
});

/** A safetensors file whose tensors are read when they are asked for. */
export interface TensorFile {
  readonly path: string;
  readonly entries: ReadonlyMap<string, TensorEntry>;
  /**
   * Hands the numbers of a tensor to `visit`, block after block of whole rows of its last axis, with the place of the
   * block's first number. The block is overwritten by the next.
   */
  readonly readBlocks: (
    name: string,
    visit: (block: StoredTensor["values"], first: number) => void,
  ) => Effect.Effect<void, PlatformError | InvalidInput>;
}

/** About this many numbers are in memory at a time beside what they are copied to. */
const blockElements = 2 ** 20;

/**
 * Opens a safetensors file for as long as the scope lasts and checks its header. Fails with `InvalidInput`, which
 * names the file and the tensors, when it is corrupt.
 */
export const openTensors = Effect.fn("transformer.openTensors")(function* (path: string) {
  const files = yield* FileSystem.FileSystem;
  const file = yield* files.open(path, { flag: "r" });
  const size = Number((yield* file.stat).size);
  const refuse = (problems: ReadonlyArray<HeaderProblem>) =>
    problems.length === 0
      ? Effect.void
      : Effect.fail(
          new InvalidInput({
            problems: problems.map(({ tensor, problem }) => ({
              where: tensor === undefined ? path : `${path}: ${tensor}`,
              problem,
              remedy:
                "Copy or download the file again; convert pickles with save_pretrained of Python's transformers",
            })),
          }),
        );

  const readFully = Effect.fnUntraced(function* (bytes: Uint8Array, position: number) {
    let done = 0;
    while (done < bytes.length) {
      const count = yield* file.read(bytes.subarray(done), { position: BigInt(position + done) });
      if (count === 0)
        return yield* refuse([{ problem: `ends at byte ${position + done}: it is truncated` }]);
      done += count;
    }
  });

  const lengthBytes = new Uint8Array(Math.min(8, size));
  yield* readFully(lengthBytes, 0);
  const { length, problems } = headerLength(lengthBytes, size);
  yield* refuse(problems);
  const header = new Uint8Array(length);
  yield* readFully(header, 8);
  const start = 8 + length;
  const parsed = parseHeader(header, size - start);
  yield* refuse(parsed.problems);

  // Shared by all tensors of the file: what each left behind would add up until the garbage is collected.
  let bytes = new Uint8Array(0);
  let halves = new Float32Array(0);
  const readBlocks: TensorFile["readBlocks"] = Effect.fnUntraced(function* (name, visit) {
    const { dtype, shape, begin } = parsed.entries.get(name)!;
    const size = numberSize(dtype);
    const row = Math.max(1, shape.at(-1) ?? 1);
    const count = elementsOf(shape);
    const step = Math.min(count, row * Math.max(1, Math.floor(blockElements / row)));
    if (bytes.length < step * size) bytes = new Uint8Array(step * size);
    if (size === 2 && halves.length < step) halves = new Float32Array(step);
    for (let first = 0; first < count; first += step) {
      const length = Math.min(step, count - first);
      const used = bytes.subarray(0, length * size);
      yield* readFully(used, start + begin + first * size);
      if (size === 2) decodeNumbers(dtype, used, halves.subarray(0, length));
      const Numbers = dtype === "I32" ? Int32Array : Float32Array;
      visit(size === 2 ? halves.subarray(0, length) : new Numbers(bytes.buffer, 0, length), first);
    }
  });
  const opened: TensorFile = { path, entries: parsed.entries, readBlocks };
  return opened;
});

/**
 * Reads all tensors of a safetensors file but those of types that `decodeSafetensors` leaves out. Fails with
 * `InvalidInput`, which names the file and the tensor, when it is corrupt.
 */
export const loadTensors = Effect.fn("transformer.loadTensors")(function* (path: string) {
  const file = yield* openTensors(path);
  const tensors: Array<[string, StoredTensor]> = [];
  for (const [name, { dtype, shape }] of file.entries) {
    if (!isReadable(dtype)) continue;
    const values = emptyValues(dtype, elementsOf(shape));
    yield* file.readBlocks(name, (block, first) => values.set(block, first));
    tensors.push([name, { shape, values }]);
  }
  return Object.fromEntries(tensors) as Record<string, StoredTensor>;
}, Effect.scoped);
