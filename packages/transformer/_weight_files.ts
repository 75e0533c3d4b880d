import { CheckpointNotFound, InvalidInput, type Problem } from "@rlhf/core/errors";
import type { CheckpointFiles } from "@rlhf/hub/checkpoint_files";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Path from "effect/Path";
import * as Schema from "effect/Schema";
import type { ParameterLayout, StoredPart } from "./_layout.ts";
import { decodeJson, invalid, readJson } from "./_problems.ts";
import { elementsOf, isFloat } from "./safetensors.ts";
import { openTensors, type TensorFile, type TensorSource } from "./tensor_file.ts";

export const weightsName = "model.safetensors";
const indexName = `${weightsName}.index.json`;

/** Which of several files holds a tensor. A file lies in the folder itself. */
const Index = Schema.Struct({
  weight_map: Schema.Record(
    Schema.String,
    Schema.String.check(Schema.isPattern(/^[\w][\w.-]*\.safetensors$/)),
  ),
});

/** Opens the weights of a checkpoint, one file or several with an index. */
export const openWeights = Effect.fnUntraced(function* (checkpoint: CheckpointFiles) {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  const { folder, fetch } = checkpoint;
  yield* fetch([weightsName]);
  const single = path.join(folder, weightsName);
  if (yield* files.exists(single)) return [yield* openTensors(single)];
  yield* fetch([indexName]);
  const index = path.join(folder, indexName);
  if (!(yield* files.exists(index))) return yield* noWeights(checkpoint);
  const remedy = "Copy or download the file again";
  const { weight_map } = yield* decodeJson(Index, index, yield* readJson(index), remedy);
  const names = [...new Set(Object.values(weight_map))].sort();
  yield* fetch(names);
  const missing: Array<Problem> = [];
  for (const name of names) {
    if (yield* files.exists(path.join(folder, name))) continue;
    missing.push({
      where: index,
      problem: `names the file ${name}, which is not there`,
      remedy: "Copy it beside the index",
    });
  }
  if (missing.length > 0) return yield* new InvalidInput({ problems: missing });
  return yield* Effect.forEach(names, (name) => openTensors(path.join(folder, name)));
});

/** Says why there is nothing to open: no checkpoint at all, or only one in a format that is refused. */
const noWeights = Effect.fnUntraced(function* ({ folder, list }: CheckpointFiles) {
  const pickle = (yield* list).find((name) => /\.(bin|pt|pth|ckpt|pkl)$/.test(name));
  if (pickle === undefined) return yield* new CheckpointNotFound({ path: folder });
  return yield* invalid({
    where: `${folder}: ${pickle}`,
    problem: "weights in a pickle are refused: opening one runs whatever code it carries",
    remedy: `Save them as ${weightsName}: AutoModel.from_pretrained(…).save_pretrained(…) in Python's transformers, where you trust the file`,
  });
});

/**
 * Reads parameters from the files, each straight into its place. Fails with `InvalidInput` before anything is read
 * when tensors are missing or do not fit.
 */
export const readParameters = Effect.fnUntraced(function* (
  folder: string,
  files: ReadonlyArray<TensorFile>,
  layouts: ReadonlyArray<ParameterLayout>,
) {
  const problems: Array<Problem> = [];
  const places = new Map<StoredPart, { readonly file: TensorFile; readonly name: string }>();
  const wanted = layouts.flatMap(({ stored, optional = false }) =>
    stored.map((part) => ({ part, optional })),
  );
  for (const { part, optional } of wanted) {
    const place = find(files, part.name);
    if (place === undefined && optional) continue;
    const entry = place?.file.entries.get(place.name);
    if (place && entry && isFloat(entry.dtype) && tf.util.arraysEqual([...entry.shape], [...part.shape])) {
      places.set(part, place);
      continue;
    }
    const given = entry === undefined ? "no such tensor" : `shape [${entry.shape}] of ${entry.dtype}`;
    problems.push({
      where: `${place?.file.path ?? (files.length === 1 ? files[0]!.path : folder)}: ${part.name}`,
      problem: `floating-point numbers of shape [${part.shape}] are required, found ${given}`,
      remedy: "Check that config.json belongs to this file",
    });
  }
  if (problems.length > 0) return yield* new InvalidInput({ problems });

  const params: Record<string, tf.Variable> = {};
  const read = Effect.forEach(
    layouts,
    Effect.fnUntraced(function* ({ name, shape, stored }) {
      const values = new Float32Array(elementsOf(shape));
      for (const part of stored) {
        const found = places.get(part);
        if (found === undefined) continue;
        yield* found.file.readBlocks(found.name, (block, first) => place(block, first, part, values, shape));
      }
      params[name] = tf.tidy(() => tf.variable(tf.tensor(values, [...shape], "float32")));
    }),
    { discard: true },
  );
  yield* Effect.onError(read, () => Effect.sync(() => tf.dispose(params)));
  return params;
});

/** The tensors of a file as {@link readParameters} reads it back. */
export function storedParameters(
  layouts: ReadonlyArray<ParameterLayout>,
  params: Readonly<Record<string, tf.Tensor>>,
): Array<TensorSource> {
  return layouts.flatMap(({ name, shape, stored }) =>
    stored.map((part) => ({
      name: part.name,
      shape: part.shape,
      dtype: "F32" as const,
      values: async () => {
        const all = await params[name]!.data<"float32">();
        if (stored.length === 1 && !part.transposed) return all;
        const values = new Float32Array(elementsOf(part.shape));
        forEachNumber(part, shape, (inFile, inParameter) => {
          values[inFile] = all[inParameter]!;
        });
        return values;
      },
    })),
  );
}

/** Copies a block of whole rows of a stored tensor to where they stand in the parameter. */
function place(
  block: ArrayLike<number>,
  first: number,
  part: StoredPart,
  values: Float32Array,
  shape: ReadonlyArray<number>,
): void {
  if (!part.transposed) {
    values.set(block, part.start + first);
    return;
  }
  const from = part.shape[1]!;
  const rows = { from: first / from, to: (first + block.length) / from };
  forEachNumber(
    part,
    shape,
    (inFile, inParameter) => {
      values[inParameter] = block[inFile - first]!;
    },
    rows,
  );
}

/** Visits the numbers of some rows of a stored tensor, in the order of the parameter. */
function forEachNumber(
  { shape: stored, transposed, start }: StoredPart,
  shape: ReadonlyArray<number>,
  visit: (inFile: number, inParameter: number) => void,
  rows = { from: 0, to: stored[0]! },
): void {
  if (!transposed) {
    for (let i = 0; i < elementsOf(stored); i++) visit(i, start + i);
    return;
  }
  const [from, columns] = [stored[1]!, shape[1]!];
  for (let i = 0; i < from; i++) {
    for (let row = rows.from; row < rows.to; row++) visit(row * from + i, i * columns + start + row);
  }
}

/** A tensor under its name or one that older files give it. */
function find(files: ReadonlyArray<TensorFile>, name: string) {
  for (const known of namesOf(name)) {
    const file = files.find(({ entries }) => entries.has(known));
    if (file !== undefined) return { file, name: known };
  }
  return undefined;
}

/** Files of a network without head leave the prefix out; BERT's oldest call gain and bias gamma and beta. */
function namesOf(name: string): ReadonlyArray<string> {
  const bare = name.slice(name.indexOf(".") + 1);
  const old = name
    .replace(/LayerNorm\.weight$/, "LayerNorm.gamma")
    .replace(/LayerNorm\.bias$/, "LayerNorm.beta");
  return [name, bare, old];
}
