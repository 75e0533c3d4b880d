import { totalmem } from "node:os";
import * as tf from "@tensorflow/tfjs-core";

/** The memory in which the active backend keeps tensors. */
export interface TensorMemory {
  /** The GPU's, or the machine's, in which the rest of the process lies too. */
  readonly of: "GPU" | "machine";
  /** All there is of it, or may be used. WebGPU does not tell. */
  readonly bytes: number | undefined;
}

/** On a GPU it is as large as the backend's `memoryLimit`, elsewhere as the machine's, or that of the container around the process. */
export function tensorMemory(): TensorMemory {
  if (!["cuda", "webgpu"].includes(tf.getBackend())) {
    const constrained = process.constrainedMemory() || Number.POSITIVE_INFINITY;
    return { of: "machine", bytes: Math.min(totalmem(), constrained) };
  }
  const { memoryLimit } = tf.backend() as { readonly memoryLimit?: number };
  return { of: "GPU", bytes: memoryLimit };
}

/** "1,234 of 16,000 MB of the machine's memory" */
export function shareInWords(needed: number, { of, bytes }: TensorMemory): string {
  return bytes === undefined
    ? `${megabytes(needed)} MB of the ${of}'s memory, and the backend does not tell how much there is`
    : `${megabytes(needed)} of ${megabytes(bytes)} MB of the ${of}'s memory`;
}

function megabytes(bytes: number): string {
  return Math.round(bytes / 1e6).toLocaleString("en");
}
