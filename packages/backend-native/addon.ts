import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

type Numbers = ReadonlyArray<number>;
type Elements = Float32Array | Int32Array | Uint8Array;

/** The C++ side. Every function checks the types and lengths of its arrays and throws TypeError or RangeError. */
export interface NativeAddon {
  readonly unaryOps: ReadonlyArray<string>;
  readonly binaryOps: ReadonlyArray<string>;
  readonly comparisons: ReadonlyArray<string>;
  /** Fastest first. */
  readonly instructionSets: ReadonlyArray<string>;
  /**
   * Chooses an instruction set by its place in `instructionSets` (−1: the best here); answers with its name. With
   * `shareAll` threads share even what one would have done sooner.
   */
  configure(isa: number, threads: number, shareAll: boolean): string;
  releaseScratch(): void;

  unary(op: number, x: Float32Array, y: Float32Array, size: number, p0: number, p1: number): void;
  binary: Walk<Float32Array, Float32Array>;
  binaryInt: Walk<Int32Array, Int32Array>;
  compare: Walk<Float32Array, Uint8Array>;
  compareInt: Walk<Int32Array, Uint8Array>;
  compareBool: Walk<Uint8Array, Uint8Array>;
  select(condition: Uint8Array, yes: Float32Array, no: Float32Array, y: Float32Array, size: number): void;
  /** kind: 0 sum, 1 max, 2 min, 3 product; x [outer, reduced, inner]. */
  reduce(
    kind: number,
    x: Float32Array,
    y: Float32Array,
    outer: number,
    reduced: number,
    inner: number,
    scale: number,
  ): void;
  cumulate(
    x: Float32Array,
    y: Float32Array,
    rows: number,
    columns: number,
    exclusive: boolean,
    reverse: boolean,
  ): void;
  softmax(x: Float32Array, y: Float32Array, rows: number, columns: number, log: boolean): void;
  multiply(
    a: Float32Array,
    b: Float32Array,
    c: Float32Array,
    m: number,
    n: number,
    k: number,
    transposeA: boolean,
    transposeB: boolean,
    offsetsA: Numbers,
    offsetsB: Numbers,
  ): void;

  copy(
    from: Elements,
    to: Elements,
    fromOffset: number,
    toOffset: number,
    dims: Numbers,
    fromSteps: Numbers,
    toSteps: Numbers,
  ): void;
  gather(
    from: Elements,
    ids: Int32Array,
    to: Elements,
    outer: number,
    axis: number,
    inner: number,
    count: number,
  ): void;
  floatToInt(from: Float32Array, to: Int32Array, size: number): void;
  intToFloat(from: Int32Array, to: Float32Array, size: number): void;
  boolToFloat(from: Uint8Array, to: Float32Array, size: number): void;
  boolToInt(from: Uint8Array, to: Int32Array, size: number): void;
  floatToBool(from: Float32Array, to: Uint8Array, size: number): void;
  intToBool(from: Int32Array, to: Uint8Array, size: number): void;
  notBool(from: Uint8Array, to: Uint8Array, size: number): void;

  /** How far an array lies behind a multiple of a cache line (64 bytes). */
  misalignment(array: Float32Array): number;
  /** Gives the whole pages of an array back to the system; its contents are lost. */
  discard(array: Float32Array): void;

  /** The fused kernels; their arguments stand beside each binding in src/bindings_fused.cc and bindings_decode.cc. */
  readonly linear: Fused;
  readonly linearGrad: Fused;
  readonly layerNorm: Fused;
  readonly layerNormGrad: Fused;
  readonly rmsNorm: Fused;
  readonly rmsNormGrad: Fused;
  readonly attention: Fused;
  readonly attentionGrad: Fused;
  readonly rope: Fused;
  readonly swiglu: Fused;
  readonly swigluGrad: Fused;
  readonly embed: Fused;
  readonly scatterAdd: Fused;
  readonly tokenLogProbs: Fused;
  readonly tokenLogProbsGrad: Fused;
  readonly linearTokenLogProbs: Fused;
  readonly linearTokenLogProbsGrad: Fused;
  readonly adamw: Fused;
  globalNorm(tensors: ReadonlyArray<Float32Array>): number;
  readonly sample: Fused;
  readonly decodeStep: Fused;
  /** Elements of a packed [k, n] matrix. */
  packedSize(k: number, n: number): number;
  /** Lays a weight [k, n] (transposed: [n, k]) out as products read it fastest. */
  packWeight(weight: Float32Array, k: number, n: number, transposed: boolean, packed: Float32Array): void;
}

/** a, b → y over `dims` with the steps of a and b (0 along an axis that is broadcast). */
type Walk<In, Out> = (
  op: number,
  a: In,
  b: In,
  y: Out,
  dims: Numbers,
  stepsA: Numbers,
  stepsB: Numbers,
) => void;
type Argument =
  | Elements
  | number
  | boolean
  | null
  | Numbers
  | ReadonlyArray<Float32Array>
  | ReadonlyArray<Float32Array | null>;
type Fused = (...args: ReadonlyArray<Argument>) => void;

/** The package's folder: this file's own, or the one above it when it runs from `dist`. */
const packageFolder = (): string => {
  const here = dirname(fileURLToPath(import.meta.url));
  return existsSync(join(here, "binding.gyp")) ? here : dirname(here);
};

const readLine = (path: string): string | undefined => {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
};

/** Physical cores that this process may use: two threads of one core share its arithmetic units. */
const usableCores = (): number => {
  const logical = availableParallelism();
  const siblings = new Set<string>();
  for (let cpu = 0; ; cpu++) {
    const list = readLine(`/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`);
    if (list === undefined) break;
    siblings.add(list);
  }
  const physical = siblings.size > 0 ? Math.min(logical, siblings.size) : logical;
  // A container's share of processor time, e.g. "150000 100000" for one and a half cores.
  const [quota, period] = readLine("/sys/fs/cgroup/cpu.max")?.split(" ").map(Number) ?? [];
  return quota && period ? Math.max(1, Math.min(physical, Math.ceil(quota / period))) : physical;
};

const wantedThreads = (): number => {
  const text = process.env.RLHF_NATIVE_THREADS;
  if (text === undefined || text === "") return usableCores();
  const threads = Number(text);
  if (!Number.isInteger(threads) || threads < 1 || threads > 256) {
    throw new RangeError(
      `Cannot start the native backend: RLHF_NATIVE_THREADS must be 1 to 256, got ${text}`,
    );
  }
  return threads;
};

const wantedInstructionSet = (addon: NativeAddon): number => {
  const name = process.env.RLHF_NATIVE_ISA;
  if (name === undefined || name === "") return -1;
  const index = addon.instructionSets.indexOf(name);
  if (index < 0) {
    const known = addon.instructionSets.join(", ");
    throw new RangeError(
      `Cannot start the native backend: RLHF_NATIVE_ISA must be one of ${known}, got ${name}`,
    );
  }
  return index;
};

export interface LoadedAddon {
  readonly addon: NativeAddon;
  readonly isa: string;
  readonly threads: number;
}

let loaded: LoadedAddon | undefined;

/**
 * The addon: the prebuilt one of this platform, else the one that the install built; or that of RLHF_NATIVE_ADDON.
 *
 * @throws Error that lists the files tried when neither loads
 */
export const loadAddon = (): LoadedAddon => {
  if (loaded) return loaded;
  const folder = packageFolder();
  const require = createRequire(import.meta.url);
  const problems: string[] = [];
  const own = process.env.RLHF_NATIVE_ADDON;
  const standard = [
    join(folder, "prebuilds", `${process.platform}-${process.arch}`, "native.node"),
    join(folder, "build", "Release", "native.node"),
  ];
  for (const path of own ? [own] : standard) {
    try {
      const addon = require(path) as NativeAddon;
      const threads = wantedThreads();
      loaded = { addon, threads, isa: addon.configure(wantedInstructionSet(addon), threads, false) };
      return loaded;
    } catch (error) {
      if (error instanceof RangeError) throw error;
      problems.push(`  ${path}: ${existsSync(path) ? (error as Error).message : "does not exist"}`);
    }
  }
  const failure = join(folder, "build", "failure.log");
  if (existsSync(failure)) problems.push(`  The build failed: ${failure}`);
  throw new Error(
    `The native addon is not built; build it: npx rlhf-backend-native. Tried:\n${problems.join("\n")}`,
  );
};
