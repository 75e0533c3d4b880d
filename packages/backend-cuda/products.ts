/** Matrix products by cuBLAS and cuBLASLt, in the precision that was chosen (docs/decisions/0006-cuda-precision.md). */
import type * as tf from "@tensorflow/tfjs-core";
import type { Allocator, Block } from "./allocator.ts";
import type { CudaBackend } from "./backend.ts";
import type { Device } from "./device.ts";
import { addressOf } from "./driver.ts";
import { Epilogues, type Factors, type ProductWithEpilogue } from "./epilogues.ts";

/**
 * How matrix products are computed; sums are float32 always. `fp32`: as written. `tf32`: tensor cores read 10 bits of
 * the operands' mantissas. `bf16`: the operands are rounded to bf16, and activations lie so in memory.
 */
export type Precision = "fp32" | "tf32" | "bf16";
export const precisions: ReadonlyArray<Precision> = ["fp32", "tf32", "bf16"];

/** C = A B + beta C; `lda` and so on are the elements from one row to the next. */
export interface Product extends Factors {
  /** A lies as [k, m]. */
  readonly transposeA?: boolean;
  readonly beta?: 0 | 1;
  readonly lda?: number;
  readonly ldb?: number;
  readonly ldc?: number;
  /** The first element of each. */
  readonly aOffset?: number;
  readonly bOffset?: number;
  readonly cOffset?: number;
  /** Many products, with the elements from one to the next of each operand. */
  readonly batch?: { readonly count: number; readonly a: number; readonly b: number; readonly c: number };
}

/** cudaDataType_t, cublasComputeType_t and cublasGemmAlgo_t. */
const float32 = 0;
const bfloat16 = 14;
const compute32 = 68;
const computeTf32 = 77;
const defaultAlgorithm = -1;
const typeOf = (rounded: boolean): number => (rounded ? bfloat16 : float32);

/** What NVIDIA recommends for Hopper; a workspace of our own lets products be captured in a graph. */
const workspaceBytes = 32 * 2 ** 20;

export class Products {
  readonly #device: Device;
  readonly #constants = Float32Array.of(1, 0);
  readonly #constantsAddress = addressOf(this.#constants);
  readonly #workspace: Block;
  readonly #epilogues: Epilogues;
  #precision: Precision = "fp32";

  constructor(device: Device, allocator: Allocator, precision: Precision) {
    this.#device = device;
    this.precision = precision;
    this.#workspace = allocator.take(workspaceBytes, "cuBLAS", "its workspace");
    device.cublas.cublasSetWorkspace(device.cublasHandle, this.#workspace.pointer, workspaceBytes);
    this.#epilogues = new Epilogues(device, this.#workspace);
  }

  get precision(): Precision {
    return this.#precision;
  }

  /** @throws RangeError when there is no such precision or the GPU does not have it */
  set precision(precision: Precision) {
    if (!precisions.includes(precision)) {
      throw new RangeError(`Cannot compute in ${precision}: it must be one of ${precisions.join(", ")}`);
    }
    const { capability, name } = this.#device;
    if (precision === "bf16" && capability < 80) {
      throw new RangeError(
        `Cannot compute in bf16: ${name} has compute capability ${capability / 10}, 8.0 is needed; take fp32`,
      );
    }
    this.#precision = precision;
  }

  /** Whether it could be enqueued: cuBLASLt has no kernel for some sizes. */
  runWithEpilogue(backend: CudaBackend, product: ProductWithEpilogue): boolean {
    const types = {
      operand: typeOf(backend.rounds),
      result: typeOf(backend.liesRounded(product.c)),
      compute: this.#compute,
    };
    return this.#epilogues.run(backend, product, types);
  }

  /** The precision, but fp32 for tf32 where the GPU has no tensor cores for that. */
  get effective(): Precision {
    return this.#precision === "tf32" && this.#device.capability < 80 ? "fp32" : this.#precision;
  }

  get #compute(): number {
    return this.effective === "tf32" ? computeTf32 : compute32;
  }

  run(backend: CudaBackend, product: Product): void {
    const { a, b, c, m, n, k, transposeA = false, transposeB = false, beta = 0 } = product;
    const { lda = transposeA ? m : k, ldb = transposeB ? k : n, ldc = n } = product;
    const { aOffset = 0, bOffset = 0, cOffset = 0 } = product;
    const { batch = { count: 1, a: 0, b: 0, c: 0 } } = product;
    if (m === 0 || n === 0 || batch.count === 0) return;
    const [rounded, roundedResult] = [backend.rounds, backend.liesRounded(c)];
    const pointer = (tensor: tf.TensorInfo, offset: number, rounded: boolean) =>
      rounded ? backend.bf16Of(tensor) + 2 * offset : backend.pointerOf(tensor) + 4 * offset;
    const one = this.#constantsAddress;
    // cuBLAS counts column by column, where C is its transpose: Cᵀ = Bᵀ Aᵀ.
    this.#device.cublas.cublasGemm(
      this.#device.cublasHandle,
      transposeB ? 1 : 0,
      transposeA ? 1 : 0,
      n,
      m,
      k,
      one,
      pointer(b, bOffset, rounded),
      typeOf(rounded),
      ldb,
      batch.b,
      pointer(a, aOffset, rounded),
      typeOf(rounded),
      lda,
      batch.a,
      beta === 1 ? one : one + 4,
      pointer(c, cOffset, roundedResult),
      typeOf(roundedResult),
      ldc,
      batch.c,
      batch.count,
      this.#compute,
      defaultAlgorithm,
    );
    if (!roundedResult) backend.written(c);
  }
}
