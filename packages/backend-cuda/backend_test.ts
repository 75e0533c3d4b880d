/** Reading, precision, memory and graphs of the backend. */
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { useBackend } from "../tensor/backend.ts";
import { CudaBackend } from "./backend.ts";
import { resetFallbackCounts } from "./mod.ts";
import { precisions } from "./products.ts";
import { hasDevice } from "./testing/emulator.ts";

describe.skipIf(!hasDevice())("the backend", () => {
  let backend: CudaBackend;

  beforeAll(async () => {
    await useBackend("cuda");
    backend = tf.backend() as CudaBackend;
    resetFallbackCounts();
  });

  it("lets the program go on while it reads", async () => {
    const x = tf.add(tf.ones([100]), 1);
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const numbers = await x.data();
    // The emulated GPU says a few times that it is not done.
    setImmediate(() => clearInterval(timer));
    expect(numbers).toEqual(new Float32Array(100).fill(2));
    x.dispose();
  });

  it("reads what a tensor was when it was asked, and gives copies", async () => {
    const x = tf.variable(tf.ones([4]));
    const [reading, total] = [x.data(), tf.backend() as CudaBackend];
    total.launchEach("convert", "int_to_float", 4, [
      tf.zeros([4], "int32"),
      total.writable("a test", "x", x),
      4,
    ]);
    expect(Array.from(await reading)).toEqual([1, 1, 1, 1]);
    const changed = await x.data();
    expect(Array.from(changed)).toEqual([0, 0, 0, 0]);
    changed[0] = 5;
    expect((await x.data())[0]).toBe(0);
    x.dispose();
  });

  it("copies what has another owner before it changes in place", async () => {
    const x = tf.variable(tf.ones([3]));
    const reference = x.clone();
    const own = backend.writable("a test", "x", x);
    backend.launchEach("convert", "int_to_float", 3, [tf.zeros([3], "int32"), own, 3]);
    expect(Array.from(await x.data())).toEqual([0, 0, 0]);
    expect(Array.from(await reference.data())).toEqual([1, 1, 1]);
    const fixed = tf.ones([3]);
    const clone = fixed.clone();
    expect(() => backend.writable("a test", "x", fixed)).toThrow("x shares its data and is no variable");
    tf.dispose([x, reference, fixed, clone]);
  });

  /** Rounded to so many bits of the mantissa. */
  const rounded = (x: number, bits: number): number => {
    const unit = 2 ** (Math.floor(Math.log2(Math.abs(x))) - bits);
    return Math.round(x / unit) * unit;
  };

  it.each(precisions)("multiplies in %s as it says", async (precision) => {
    const bits = { fp32: 23, tf32: 10, bf16: 7 }[precision];
    const [a, b] = [1.2345678, 3.4567891].map((x) => Math.fround(x));
    backend.precision = precision;
    const before = backend.memory().numBytesInGPU;
    const [x, y] = [tf.tensor2d([[a!]]), tf.tensor2d([[b!]])];
    const product = tf.matMul(x, y);
    const [value] = await product.data();
    expect(value).toBeCloseTo(rounded(a!, bits) * rounded(b!, bits), 6);
    if (precision !== "fp32") expect(Math.abs(value! - a! * b!)).toBeGreaterThan(1e-5);
    tf.dispose([x, y, product]);
    expect(backend.memory().numBytesInGPU).toBe(before);
    backend.precision = "fp32";
  });

  it("makes the bf16 copy of a tensor anew when the tensor changed", async () => {
    backend.precision = "bf16";
    const x = tf.variable(tf.ones([5, 5]));
    const first = tf.matMul(x, tf.ones([5, 1]));
    const own = backend.writable("a test", "x", x);
    backend.launchEach("convert", "int_to_float", 25, [tf.fill([5, 5], 3, "int32"), own, 25]);
    const second = tf.matMul(x, tf.ones([5, 1]));
    expect((await first.data())[0]).toBe(5);
    expect((await second.data())[0]).toBe(15);
    backend.precision = "fp32";
    tf.disposeVariables();
    tf.dispose([first, second]);
  });

  it("rounds to bf16 as the hardware does", async () => {
    const values = Float32Array.of(
      1,
      1 + 2 ** -8,
      1 + 3 * 2 ** -8,
      -1e-40,
      3.4e38,
      Infinity,
      -Infinity,
      Number.NaN,
      0.1,
    );
    const x = tf.tensor1d(values);
    const address = backend.bf16Of(x);
    const { driver, stream } = backend.device;
    const halves = new Uint16Array(values.length + 1);
    const copy = backend.output([5], "int32");
    driver.cuMemcpyDtoD(backend.pointerOf(copy), address, 2 * values.length, stream);
    halves.set(new Uint16Array(((await backend.read(copy.dataId)) as Int32Array).buffer));
    // Ties go to even, the largest float to infinity.
    expect(Array.from(halves.subarray(0, 7))).toEqual([
      0x3f80, 0x3f80, 0x3f82, 0x8001, 0x7f80, 0x7f80, 0xff80,
    ]);
    expect(halves[7]! & 0x7fff).toBeGreaterThan(0x7f80);
    expect(halves[8]).toBe(0x3dcd);
    backend.free(copy);
    x.dispose();
  });

  it("replays a graph on what its tensors are by then", async () => {
    const [x, y] = [backend.upload(Int32Array.of(1, 2, 3)), backend.output([3])];
    backend.launchEach("convert", "int_to_float", 3, [x, y, 3]);
    const graph = backend.capture(() => backend.launchEach("convert", "float_to_int", 3, [y, x, 3]));
    const z = backend.upload(Int32Array.of(7, 8, 9));
    backend.launchEach("convert", "int_to_float", 3, [z, y, 3]);
    expect(Array.from((await backend.read(x.dataId)) as Int32Array)).toEqual([1, 2, 3]);
    graph.launch();
    expect(Array.from((await backend.read(x.dataId)) as Int32Array)).toEqual([7, 8, 9]);
    graph.dispose();
    backend.free(x, y, z);
  });

  it("refuses arguments that are not a kernel's", () => {
    const x = backend.upload(Int32Array.of(1));
    expect(() => backend.launchEach("convert", "int_to_float", 1, [x, x])).toThrow(
      "takes 3 arguments, got 2",
    );
    expect(() => backend.launchEach("convert", "int_to_float", 1, [x, x, x])).toThrow(
      "argument 2 has 4 bytes",
    );
    expect(() => backend.launchEach("convert", "no_kernel", 1, [x])).toThrow("cuModuleGetFunction failed");
    backend.free(x);
  });

  it("says how much memory tensors can take, and no more than it is allowed", () => {
    const all = backend.memoryLimit;
    const [free, total] = [[0], [0]];
    backend.device.driver.cuMemGetInfo(free, total);
    expect(all).toBe(Number(total[0]));
    expect(all).toBeGreaterThan(2 ** 30);
    vi.stubEnv("RLHF_CUDA_MEMORY", "0.5");
    expect(new CudaBackend(backend.device, "fp32").memoryLimit).toBe(2 ** 29);
    vi.unstubAllEnvs();
  });

  it("says which operation ran out of memory", () => {
    const before = backend.memory().numBytesInGPU;
    expect(() => tf.fill([2 ** 15, 65_000], 1)).toThrow(
      /^Cannot run Fill: out of GPU memory\. It asked for 7\.9 GiB for \[32768, 65000\]; .+ are free on the GPU\./,
    );
    expect(() => tf.fill([2 ** 16, 2 ** 16], 1)).toThrow("at most 2147483647 elements");
    expect(backend.memory().numBytesInGPU).toBe(before);
  });
});
