/** Decoding with keys and values that stay on the GPU; steps of a shape that recurs are one CUDA graph. */
import type * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "../_kernel.ts";
import type { CudaBackend } from "../backend.ts";
import { enqueueStep, type Spec, type Weights, weightsOf } from "./_decoder_pass.ts";
import { CudaKvCache, type RecordedStep } from "./kv_cache.ts";

interface StepAttributes {
  readonly spec: Spec;
  readonly weights: Weights;
  readonly cache: CudaKvCache;
  readonly ids: Int32Array;
  readonly slots: Int32Array;
  readonly positions: Int32Array;
  readonly outputRows: Int32Array;
}

const createKvCache = kernel<
  never,
  { readonly spec: Spec; readonly layers: number; readonly slots: number; readonly length: number }
>(({ attrs: { spec, ...size }, backend }) => {
  // The one kernel that answers with no tensor.
  return new CudaKvCache(backend, size, spec) as unknown as tf.TensorInfo;
});

/** Longer steps are prompts: their launches are long enough to hide what it costs to enqueue them. */
const mostRecordedRows = 256;

/** Steps are filled up to powers of two, then to multiples of 16, so that few graphs serve a shrinking batch. */
const filledUp = (rows: number): number =>
  rows > 16 ? 16 * Math.ceil(rows / 16) : 2 ** Math.ceil(Math.log2(rows));

const decodeStep = kernel<never, StepAttributes>(({ op, attrs, backend }) => {
  const { spec, weights, cache } = attrs;
  if (!(cache instanceof CudaKvCache) || cache.disposed) {
    throw new TypeError(`Cannot run ${op}: the cache must come from RlhfCreateKvCache and not be disposed`);
  }
  const [rows, outputs] = [attrs.ids.length, attrs.outputRows.length];
  if (rows > mostRecordedRows) {
    const inputs = { tensor: backend.upload(packed(attrs, rows, outputs, cache)), rows, outputs };
    const step = { spec, weights, cache, inputs, keep: false };
    const { logits } = enqueueStep(op, backend, step);
    backend.free(inputs.tensor);
    return logits;
  }
  const shape = { rows: filledUp(rows), outputs: filledUp(outputs) };
  const given = packed(attrs, shape.rows, shape.outputs, cache);
  const key = `${shape.rows} rows, ${shape.outputs} outputs, ${backend.precision}`;
  const logits = backend.output([outputs, weights.unembedding.shape[0]!]);
  const recorded = recordedStep(op, backend, attrs, shape, key);
  if (recorded) {
    const { driver, stream } = backend.device;
    driver.cuMemcpyHtoD(backend.pointerOf(recorded.inputs), given, given.byteLength, stream);
    recorded.graph.launch();
    copyRows(backend, recorded.logits, logits);
    return logits;
  }
  const inputs = { tensor: backend.upload(given), ...shape };
  const step = enqueueStep(op, backend, { spec, weights, cache, inputs, keep: false });
  copyRows(backend, step.logits, logits);
  backend.free(inputs.tensor, step.logits);
  return logits;
});

/** The inputs of a step, filled up with rows that attend to themselves alone in the slot that nobody uses. */
const packed = (
  { ids, slots, positions, outputRows }: StepAttributes,
  rows: number,
  outputs: number,
  cache: CudaKvCache,
): Int32Array => {
  const all = new Int32Array(3 * rows + outputs);
  all.set(ids);
  all.fill(cache.slots, rows, 2 * rows);
  all.set(slots, rows);
  all.set(positions, 2 * rows);
  all.set(outputRows, 3 * rows);
  return all;
};

/** The first rows of `from`, as many as `to` has. */
const copyRows = (backend: CudaBackend, from: tf.TensorInfo, to: tf.TensorInfo): void => {
  const { driver, stream } = backend.device;
  const bytes = 4 * to.shape[0]! * to.shape[1]!;
  driver.cuMemcpyDtoD(backend.pointerOf(to), backend.pointerOf(from), bytes, stream);
};

/** The graph of steps of this shape; none when the shape comes for the first time. */
const recordedStep = (
  op: string,
  backend: CudaBackend,
  { spec, weights, cache }: StepAttributes,
  { rows, outputs }: { readonly rows: number; readonly outputs: number },
  key: string,
): RecordedStep | undefined => {
  const known = cache.steps.get(key);
  if (!known) {
    cache.steps.set(key, "seen");
    return undefined;
  }
  const addresses = addressesOf(backend, weights);
  if (known !== "seen") {
    if (known.addresses.every((address, i) => address === addresses[i])) return known;
    cache.forget(key);
  }
  const tensor = backend.output([3 * rows + outputs], "int32");
  let made: ReturnType<typeof enqueueStep> | undefined;
  const graph = backend.capture(() => {
    const inputs = { tensor, rows, outputs };
    made = enqueueStep(op, backend, { spec, weights, cache, inputs, keep: true });
  });
  const { logits, owned } = made!;
  const step = { graph, inputs: tensor, logits, owned, addresses };
  cache.steps.set(key, step);
  return step;
};

/** Where everything lies that a step reads of the weights; makes the rounded copies that it will want. */
const addressesOf = (backend: CudaBackend, weights: Weights): ReadonlyArray<number> => {
  const { products, biases, others } = weightsOf(weights);
  return [
    ...products.map((weight) => (backend.rounds ? backend.bf16Of(weight) : backend.pointerOf(weight))),
    ...(backend.rounds ? biases.map((bias) => backend.bf16Of(bias)) : []),
    ...others.map((weight) => backend.pointerOf(weight)),
  ];
};

export const decodeKernels: Record<string, Kernel> = {
  RlhfCreateKvCache: createKvCache,
  RlhfDecodeStep: decodeStep,
};
