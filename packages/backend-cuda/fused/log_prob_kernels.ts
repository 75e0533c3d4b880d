/** Log-probabilities of tokens; from hidden states in chunks of the vocabulary. */
import type * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "../_kernel.ts";
import type { CudaBackend } from "../backend.ts";
import { rowThreads } from "./_launch.ts";

type Temperature = { readonly temperature: number };

/**
 * Bytes of logits that exist at once: 128 MiB, or a 64th of the memory where that is more, for with all of the vocabulary
 * in one chunk nothing is multiplied twice. Tests set it lower to come by several chunks.
 */
export const chunking = { least: 2 ** 27, share: 1 / 64 };

/** Chunks have a multiple of so many columns, which suits the tiles of products. */
const columnMultiple = 128;

interface RowStates {
  readonly state: tf.TensorInfo;
  readonly logProbs: tf.TensorInfo;
  readonly entropy: tf.TensorInfo | null;
  readonly normalizer: tf.TensorInfo;
}
const rowStates = (backend: CudaBackend, rows: number, entropy: boolean): RowStates => ({
  state: backend.output([rows, 4]),
  logProbs: backend.output([rows]),
  entropy: entropy ? backend.output([rows]) : null,
  normalizer: backend.output([rows]),
});

/** A row of logits for each block. */
const rowsLaunch = (rows: number, columns: number) => ({
  grid: rows,
  block: rowThreads(columns / 4, columns > 8192 ? 512 : 256),
});

const gather = (
  backend: CudaBackend,
  { state, logProbs, entropy, normalizer }: RowStates,
  logits: tf.TensorInfo,
  ids: tf.TensorInfo,
  first: number,
  temperature: number,
): void => {
  const [rows, columns] = logits.shape as [number, number];
  backend.launch("fused_log_probs", "fused_token_log_probs", rowsLaunch(rows, columns), [
    logits,
    ids,
    state,
    logProbs,
    entropy,
    normalizer,
    columns,
    first,
    { f32: 1 / temperature },
  ]);
};

/** Gradients of a chunk of logits, in `dlogits`, which may be the logits. */
const logitGradient = (
  backend: CudaBackend,
  tensors: Readonly<Record<"dy" | "logits" | "ids" | "normalizer" | "dlogits", tf.TensorInfo>>,
  first: number,
  temperature: number,
): void => {
  const { dy, logits, ids, normalizer, dlogits } = tensors;
  const [rows, columns] = logits.shape as [number, number];
  backend.launch("fused_log_probs", "fused_token_log_probs_grad", rowsLaunch(rows, columns), [
    dy,
    logits,
    ids,
    normalizer,
    { stored: dlogits },
    columns,
    first,
    { f32: 1 / temperature },
  ]);
};

const tokenLogProbs = kernel<"logits" | "ids", Temperature>(({ inputs, attrs, backend }) => {
  const { logits, ids } = inputs;
  const states = rowStates(backend, logits.shape[0]!, false);
  gather(backend, states, logits, ids, 0, attrs.temperature);
  backend.keepWith(states.logProbs, [states.normalizer]);
  backend.free(states.state);
  return states.logProbs;
});

const tokenLogProbsGrad = kernel<"dy" | "logits" | "ids" | "y", Temperature>(
  ({ op, inputs: { dy, logits, ids, y }, attrs, backend }) => {
    const [normalizer] = backend.keptWith(op, y) as [tf.TensorInfo];
    const dlogits = backend.output(logits.shape);
    logitGradient(backend, { dy, logits, ids, normalizer, dlogits }, 0, attrs.temperature);
    return dlogits;
  },
);

interface Chunk {
  readonly first: number;
  readonly columns: number;
}

/** The parts of the vocabulary whose logits fit. */
const chunksOf = (backend: CudaBackend, rows: number, vocab: number): ReadonlyArray<Chunk> => {
  const most = Math.max(chunking.least, chunking.share * backend.memoryLimit) / 4;
  const fit = Math.floor(most / rows / columnMultiple) * columnMultiple;
  const size = rows * vocab <= most ? vocab : Math.max(columnMultiple, fit);
  return Array.from({ length: Math.ceil(vocab / size) }, (_, chunk) => {
    const first = chunk * size;
    return { first, columns: Math.min(size, vocab - first) };
  });
};

/** hidden · unembeddingᵀ of a chunk. */
const chunkLogits = (
  backend: CudaBackend,
  hidden: tf.TensorInfo,
  unembedding: tf.TensorInfo,
  { first, columns }: Chunk,
): tf.TensorInfo => {
  const [rows, width] = hidden.shape as [number, number];
  const c = backend.output([rows, columns]);
  backend.gemm({
    a: hidden,
    b: unembedding,
    c,
    m: rows,
    n: columns,
    k: width,
    transposeB: true,
    bOffset: first * width,
  });
  return c;
};

const linearTokenLogProbs = kernel<"hidden" | "unembedding" | "ids", Temperature>(
  ({ inputs: { hidden, unembedding, ids }, attrs, backend }) => {
    const states = rowStates(backend, hidden.shape[0]!, true);
    const chunks = chunksOf(backend, hidden.shape[0]!, unembedding.shape[0]!);
    for (const chunk of chunks) {
      const logits = chunkLogits(backend, hidden, unembedding, chunk);
      gather(backend, states, logits, ids, chunk.first, attrs.temperature);
      // A vocabulary that is one chunk needs not be multiplied again for the gradient.
      if (chunks.length === 1) backend.keepWith(states.logProbs, [states.normalizer, logits]);
      else backend.free(logits);
    }
    if (chunks.length > 1) backend.keepWith(states.logProbs, [states.normalizer]);
    backend.free(states.state);
    return [states.logProbs, states.entropy!];
  },
);

const linearTokenLogProbsGrad = kernel<"dy" | "hidden" | "unembedding" | "ids" | "logProbs", Temperature>(
  ({ op, inputs: { dy, hidden, unembedding, ids, logProbs }, attrs, backend }) => {
    const [normalizer, kept] = backend.keptWith(op, logProbs) as [tf.TensorInfo, tf.TensorInfo?];
    const [rows, width] = hidden.shape as [number, number];
    const [dhidden, dunembedding] = [backend.output(hidden.shape), backend.output(unembedding.shape)];
    const chunks = chunksOf(backend, rows, unembedding.shape[0]!);
    for (const chunk of kept ? [{ first: 0, columns: kept.shape[1]! }] : chunks) {
      const { first, columns } = chunk;
      const logits = kept ?? chunkLogits(backend, hidden, unembedding, chunk);
      // What is kept belongs to logProbs, whose gradient may be asked for again.
      const dlogits = kept || backend.rounds ? backend.activation([rows, columns]) : logits;
      logitGradient(backend, { dy, logits, ids, normalizer, dlogits }, first, attrs.temperature);
      if (!kept && dlogits !== logits) backend.free(logits);
      const offset = first * width;
      backend.gemm({
        a: dlogits,
        b: unembedding,
        c: dhidden,
        m: rows,
        n: width,
        k: columns,
        bOffset: offset,
        beta: first > 0 ? 1 : 0,
      });
      backend.gemm({
        a: dlogits,
        b: hidden,
        c: dunembedding,
        m: columns,
        n: width,
        k: rows,
        transposeA: true,
        cOffset: offset,
      });
      backend.free(dlogits);
    }
    return [dhidden, dunembedding];
  },
);

export const logProbKernels: Record<string, Kernel> = {
  RlhfTokenLogProbs: tokenLogProbs,
  RlhfTokenLogProbsGrad: tokenLogProbsGrad,
  RlhfLinearTokenLogProbs: linearTokenLogProbs,
  RlhfLinearTokenLogProbsGrad: linearTokenLogProbsGrad,
};
