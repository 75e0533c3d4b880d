import { totalmem } from "node:os";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { shareInWords, tensorMemory } from "./tensor_memory.ts";

/** A GPU's backend that cannot compute. */
class Idle extends tf.KernelBackend {}
class Limited extends Idle {
  readonly memoryLimit = 8e9;
}

const use = async (name: string, backend: tf.KernelBackend) => {
  tf.registerBackend(name, () => backend);
  await tf.setBackend(name);
};

it("is the machine's where tensors lie in the process", async () => {
  await useBackend("cpu");
  const { of, bytes } = tensorMemory();
  expect(of).toBe("machine");
  expect(bytes).toBeGreaterThan(0);
  expect(bytes).toBeLessThanOrEqual(totalmem());
  expect(shareInWords(20e9, { of, bytes: 16e9 })).toBe("20,000 of 16,000 MB of the machine's memory");
});

it("is what a GPU's backend may take", async () => {
  await use("cuda", new Limited());
  expect(tensorMemory()).toEqual({ of: "GPU", bytes: 8e9 });
  expect(shareInWords(2e9, tensorMemory())).toBe("2,000 of 8,000 MB of the GPU's memory");
});

it("is unknown where a GPU's backend does not tell", async () => {
  await use("webgpu", new Idle());
  expect(tensorMemory()).toEqual({ of: "GPU", bytes: undefined });
  expect(shareInWords(2e9, tensorMemory())).toBe(
    "2,000 MB of the GPU's memory, and the backend does not tell how much there is",
  );
});
