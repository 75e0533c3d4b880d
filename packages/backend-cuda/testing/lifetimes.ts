/**
 * Programs for lifetimes_test.ts, run by sanitize.sh: what the driver, a kernel or a graph touches after the call that
 * asked for it has returned must still be there. The emulated GPU works only when somebody waits for it, so by then all
 * is overdue. Then the rule is broken in the ways in which they could have.
 */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import * as tf from "@tensorflow/tfjs-core";
import { useBackend } from "../../tensor/backend.ts";
import { fusedCases, tolerance } from "../../tensor/testing/fused_cases.ts";
import { expectClose, runOn } from "../../tensor/testing/run_on.ts";
import type { CudaBackend } from "../backend.ts";
import { outputOf } from "../driver.ts";
import { hasDevice } from "./emulator.ts";
import { recordedDecoding } from "./recorded_decoding.ts";

type Programs = Readonly<Record<string, (backend: CudaBackend) => Promise<void>>>;

/** Frees the memory of arrays that nobody refers to; V8 does it on a thread of its own. */
const collect = async (): Promise<void> => {
  for (let round = 0; round < 2; round++) {
    globalThis.gc!();
    await sleep(20);
  }
};

const likeOnCpu = async ({ inputs, operation }: (typeof fusedCases)[number]): Promise<void> => {
  const actual = await runOn("cuda", inputs, operation);
  expectClose(actual, await runOn("cpu", inputs, operation), tolerance);
};

const programs: Programs = {
  "arguments and uploads outlive the calls that give them": async () => {
    const sums = Array.from({ length: 100 }, (_, i) => tf.tidy(() => tf.add(tf.fill([999], i), i)));
    const uploads = Array.from({ length: 20 }, (_, i) => {
      const x = tf.tensor1d(new Float32Array(20_000).fill(i));
      return tf.tidy(() => tf.add(tf.neg(x), tf.mul(x, 3)));
    });
    await collect();
    for (const [i, sum] of sums.entries())
      assert.deepEqual(await sum.data(), new Float32Array(999).fill(2 * i));
    for (const [i, y] of uploads.entries()) assert.equal((await y.data()).at(-1), 2 * i);
    tf.dispose([sums, uploads]);
  },

  "tables of pointers outlive the launch": async () => {
    for (const example of fusedCases.filter(({ kernel }) => kernel === "RlhfAdamw")) await likeOnCpu(example);
  },

  "a tensor is read while it is disposed and its memory used again": async () => {
    const reads = Array.from({ length: 20 }, (_, i) => {
      const x = tf.add(tf.fill([777], i), 1);
      const read = x.data();
      x.dispose();
      return read;
    });
    await collect();
    for (const [i, read] of (await Promise.all(reads)).entries())
      assert.deepEqual(read, new Float32Array(777).fill(i + 1));
  },

  "memory goes back to the GPU with work under way": async (backend) => {
    const y = tf.tidy(() => tf.add(tf.neg(tf.ones([10_000])), 3));
    backend.trim();
    const { numBytesInGPU, numBytesAllocatedInGPU } = backend.memory();
    assert.equal(numBytesAllocatedInGPU, numBytesInGPU);
    assert.equal(y.dataSync()[9999], 2);
    y.dispose();
  },

  "what a recorded step reads and writes lives as long as its graph": async (backend) => {
    for (const precision of ["fp32", "bf16"] as const) {
      backend.precision = precision;
      const actual = await runOn("cuda", [], () => {
        const { logits, recorded } = recordedDecoding(() => {
          // What belongs to nobody is gone before the next step.
          globalThis.gc!();
          backend.trim();
        });
        assert.equal(recorded, 2);
        return logits;
      });
      const expected = await runOn("cpu", [], () => recordedDecoding().logits);
      expectClose(actual, expected, precision === "bf16" ? 2 ** -6 : tolerance);
    }
    backend.precision = "fp32";
  },
};

const bytes = 2 ** 20;

/** Each must be reported. */
const misuse: Programs = {
  "a kernel reads a tensor that was freed before": async (backend) => {
    const [x, y] = [backend.upload(Int32Array.of(1)), backend.output([1])];
    const pointer = backend.pointerOf(x);
    backend.free(x);
    backend.launchEach("convert", "int_to_float", 1, [{ pointer }, y, 1]);
    backend.device.synchronize();
  },

  "a kernel writes past the end of a tensor": async (backend) => {
    const [x, y] = [backend.upload(new Int32Array(4)), backend.output([3])];
    backend.launchEach("convert", "int_to_float", 4, [x, y, 4]);
    backend.device.synchronize();
  },

  "a graph outlives what it writes": async (backend) => {
    const [x, y] = [backend.upload(Int32Array.of(1)), backend.output([1])];
    const graph = backend.capture(() => backend.launchEach("convert", "int_to_float", 1, [x, y, 1]));
    backend.free(y);
    graph.launch();
    backend.device.synchronize();
  },

  "a graph uploads an array that nobody kept": async (backend) => {
    const { driver, stream } = backend.device;
    const x = backend.output([bytes / 4]);
    const graph = backend.capture(() =>
      driver.cuMemcpyHtoD(backend.pointerOf(x), new Uint8Array(bytes), bytes, stream),
    );
    await collect();
    graph.launch();
    backend.device.synchronize();
  },

  "a read arrives in memory that was given back": async (backend) => {
    const { driver, stream } = backend.device;
    const buffer = outputOf((output) => driver.cuMemHostAlloc(output, bytes, 0));
    driver.cuMemcpyDtoH(buffer, backend.pointerOf(tf.ones([bytes / 4])), bytes, stream);
    driver.cuMemFreeHost(buffer);
    backend.device.synchronize();
  },
};

if (hasDevice()) {
  await useBackend("cuda");
  const backend = tf.backend() as CudaBackend;
  for (const [kind, all] of Object.entries({ program: programs, misuse })) {
    for (const [name, run] of Object.entries(all)) {
      // Beside what the sanitizer says.
      console.error(`# ${kind}: ${name}`);
      await run(backend);
    }
  }
}
