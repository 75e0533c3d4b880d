/** Products with what follows them in the same kernel, by cuBLASLt: a bias, a residual, GELU. */
import type * as tf from "@tensorflow/tfjs-core";
import type { CudaBackend } from "./backend.ts";
import type { Device } from "./device.ts";
import { addressOf, CudaError, outputOf } from "./driver.ts";

/** C[m, n] = A[m, k] B[k, n], all row by row. */
export interface Factors {
  readonly a: tf.TensorInfo;
  readonly b: tf.TensorInfo;
  /** Float32, or an activation. */
  readonly c: tf.TensorInfo;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** B lies as [n, k]. */
  readonly transposeB?: boolean;
}

/** C = A B + bias + residual, or C = GELU(z) with z = A B + bias. */
export interface ProductWithEpilogue extends Factors {
  readonly bias?: tf.TensorInfo | undefined;
  /** [m, n], float32 as C is. */
  readonly residual?: tf.TensorInfo | undefined;
  /** [m, n], where z goes; without it there is no GELU (its approximation by tanh). */
  readonly z?: tf.TensorInfo | undefined;
}

/** What products of this backend read and write: numbers of cudaDataType_t and cublasComputeType_t. */
export interface ProductTypes {
  readonly operand: number;
  readonly result: number;
  readonly compute: number;
}

/** cudaDataType_t of scale factors, attributes of cublasLt.h, and its epilogues. */
const float32 = 0;
const attribute = { transposeA: 3, transposeB: 4, epilogue: 7, bias: 8, z: 11, zLeading: 12 };
const maxWorkspace = 1;
const [plain, withBias, withGelu] = [1, 4, 32 | 128];
/** Of cublasLtMatmulHeuristicResult_t and of the algorithm that it begins with; the place of its status among ints. */
const [heuristicBytes, algorithmBytes, statePlace] = [96, 64, 18];

/** A kind of product that cuBLASLt has a kernel for. */
interface Plan {
  readonly description: number;
  readonly layouts: Readonly<Record<"a" | "b" | "c", number>>;
  readonly algorithm: Uint8Array;
}

export class Epilogues {
  readonly #device: Device;
  readonly #handle: number;
  readonly #workspace: { readonly pointer: number; readonly bytes: number };
  readonly #preference: number;
  /** By sizes and types; null where there is no kernel. */
  readonly #plans = new Map<string, Plan | null>();
  readonly #constants = Float32Array.of(1, 0);
  readonly #constantsAddress = addressOf(this.#constants);

  constructor(device: Device, workspace: { readonly pointer: number; readonly bytes: number }) {
    this.#device = device;
    this.#workspace = workspace;
    const { cublasLt } = device;
    this.#handle = outputOf((output) => cublasLt.cublasLtCreate(output));
    this.#preference = outputOf((output) => cublasLt.cublasLtMatmulPreferenceCreate(output));
    const bytes = BigUint64Array.of(BigInt(workspace.bytes));
    cublasLt.cublasLtMatmulPreferenceSetAttribute(this.#preference, maxWorkspace, bytes, bytes.byteLength);
  }

  /** Enqueues a product; false, and nothing is enqueued, where cuBLASLt has no kernel for it. */
  run(backend: CudaBackend, product: ProductWithEpilogue, types: ProductTypes): boolean {
    const { a, b, c, m, n, bias, residual, z } = product;
    if (m === 0 || n === 0) return true;
    const plan = this.#planOf(product, types);
    if (!plan) return false;
    const pointer = (tensor: tf.TensorInfo, type: number) =>
      type === float32 ? backend.pointerOf(tensor) : backend.bf16Of(tensor);
    const { cublasLt, stream } = this.#device;
    if (bias) this.#setPointer(plan.description, attribute.bias, pointer(bias, types.result));
    if (z) this.#setPointer(plan.description, attribute.z, pointer(z, types.result));
    const out = pointer(c, types.result);
    const one = this.#constantsAddress;
    // cuBLASLt counts column by column, where C is its transpose: Cᵀ = Bᵀ Aᵀ.
    cublasLt.cublasLtMatmul(
      this.#handle,
      plan.description,
      one,
      pointer(b, types.operand),
      plan.layouts.b,
      pointer(a, types.operand),
      plan.layouts.a,
      residual ? one : one + 4,
      residual ? pointer(residual, types.result) : out,
      plan.layouts.c,
      out,
      plan.layouts.c,
      plan.algorithm,
      this.#workspace.pointer,
      this.#workspace.bytes,
      stream,
    );
    return true;
  }

  #planOf(product: ProductWithEpilogue, types: ProductTypes): Plan | null {
    const { m, n, k, transposeB = false, bias, residual, z } = product;
    const { operand, result, compute } = types;
    const what = [transposeB, bias && "bias", residual && "residual", z && "gelu"];
    const key = [m, n, k, operand, result, compute, ...what].join();
    const known = this.#plans.get(key);
    if (known !== undefined) return known;
    const { cublasLt } = this.#device;
    const description = outputOf((output) => cublasLt.cublasLtMatmulDescCreate(output, compute, float32));
    const layout = (type: number, rows: number, columns: number) =>
      outputOf((output) => cublasLt.cublasLtMatrixLayoutCreate(output, type, rows, columns, rows));
    const layouts = {
      a: layout(operand, k, m),
      b: transposeB ? layout(operand, k, n) : layout(operand, n, k),
      c: layout(result, n, m),
    };
    const set = (which: number, value: Int32Array | BigInt64Array) =>
      cublasLt.cublasLtMatmulDescSetAttribute(description, which, value, value.byteLength);
    set(attribute.transposeA, Int32Array.of(transposeB ? 1 : 0));
    set(attribute.transposeB, Int32Array.of(0));
    set(attribute.epilogue, Int32Array.of(bias ? withBias | (z ? withGelu : 0) : plain));
    // The alignment of addresses decides which kernels there are; all blocks begin as the workspace does.
    if (bias) this.#setPointer(description, attribute.bias, this.#workspace.pointer);
    if (z) {
      this.#setPointer(description, attribute.z, this.#workspace.pointer);
      set(attribute.zLeading, BigInt64Array.of(BigInt(n)));
    }
    const algorithm = this.#algorithmOf(description, layouts);
    const plan = algorithm ? { description, layouts, algorithm } : null;
    this.#plans.set(key, plan);
    return plan;
  }

  #algorithmOf(description: number, { a, b, c }: Plan["layouts"]): Uint8Array | undefined {
    const results = new Uint8Array(heuristicBytes);
    const { cublasLt } = this.#device;
    const ask = (found: number[]) =>
      cublasLt.cublasLtMatmulAlgoGetHeuristic(
        this.#handle,
        description,
        ...[b, a, c, c, this.#preference],
        1,
        results,
        found,
      );
    try {
      const found = outputOf(ask) > 0 && new Int32Array(results.buffer)[statePlace] === 0;
      return found ? results.slice(0, algorithmBytes) : undefined;
    } catch (error) {
      // That it knows no kernel is an error of its own, invalid values or "not supported".
      if (error instanceof CudaError && (error.code === 7 || error.code === 15)) return undefined;
      throw error;
    }
  }

  #setPointer(description: number, which: number, pointer: number): void {
    const value = BigUint64Array.of(BigInt(pointer));
    this.#device.cublasLt.cublasLtMatmulDescSetAttribute(description, which, value, value.byteLength);
  }
}
