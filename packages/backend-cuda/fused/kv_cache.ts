/** Keys and values of the sequences that are being decoded, and the recorded steps that work on them. */
import type * as tf from "@tensorflow/tfjs-core";
import type { CudaBackend } from "../backend.ts";
import type { Graph } from "../device.ts";

/** A decoding step of some shape that is started as one, with everything that it reads and writes. */
export interface RecordedStep {
  readonly graph: Graph;
  /** Where each call puts ids, slots, positions and output rows. */
  readonly inputs: tf.TensorInfo;
  readonly logits: tf.TensorInfo;
  /** What the launches use in between; it lives as long as they do. */
  readonly owned: ReadonlyArray<tf.TensorInfo>;
  /** Where the weights lay when it was recorded. */
  readonly addresses: ReadonlyArray<number>;
}

export class CudaKvCache {
  readonly layers: number;
  readonly slots: number;
  readonly length: number;
  /** Whether keys and values are bf16: where products round theirs when the cache is made. */
  readonly rounded: boolean;
  /** `[slots + 1, kvHeads, length, headDim]` of each layer, bf16 two to an element; rows that only fill a step up write to the last slot. */
  readonly keys: ReadonlyArray<tf.TensorInfo>;
  readonly values: ReadonlyArray<tf.TensorInfo>;
  /** By shape. A shape is recorded when it comes for the second time: prompts seldom do. */
  readonly steps = new Map<string, RecordedStep | "seen">();
  readonly #backend: CudaBackend;
  disposed = false;

  constructor(
    backend: CudaBackend,
    size: { readonly layers: number; readonly slots: number; readonly length: number },
    heads: { readonly kvHeads: number; readonly headDim: number },
  ) {
    this.#backend = backend;
    this.layers = size.layers;
    this.slots = size.slots;
    this.length = size.length;
    this.rounded = backend.rounds;
    const elements = (size.slots + 1) * heads.kvHeads * size.length * heads.headDim;
    const empty = () => backend.output([this.rounded ? Math.ceil(elements / 2) : elements]);
    this.keys = Array.from({ length: size.layers }, empty);
    this.values = Array.from({ length: size.layers }, empty);
  }

  /** Frees a recorded step. */
  forget(key: string): void {
    const step = this.steps.get(key);
    this.steps.delete(key);
    if (!step || step === "seen") return;
    step.graph.dispose();
    this.#backend.free(step.inputs, step.logits, ...step.owned);
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    for (const key of [...this.steps.keys()]) this.forget(key);
    this.#backend.free(...this.keys, ...this.values);
  }
}
