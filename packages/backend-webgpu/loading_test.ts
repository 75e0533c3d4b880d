import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { BackendUnavailable, useBackend } from "../tensor/backend.ts";
import { register } from "./mod.ts";
import { hasAdapter } from "./testing/software_adapter.ts";

const found = await hasAdapter();

it.skipIf(found)("says what to install where there is no adapter", async () => {
  const error = await useBackend("webgpu").catch((error: unknown) => error);
  expect(error).toBeInstanceOf(BackendUnavailable);
  expect(String(error)).toMatch(/Vulkan|GPU/);
  expect(String(error)).toMatch(/install|Install|needs|Use/);
});

describe.skipIf(!found)("with an adapter", () => {
  it("auto takes a GPU, but never a program that plays one", async () => {
    const { adapter, software } = await register({ software: true });
    const choice = await useBackend("auto");
    if (!software) return expect(choice.reason).toBe(`WebGPU on ${adapter}`);
    expect(choice.name).not.toBe("webgpu");
    expect(choice.reason).toContain(`not webgpu: ${adapter} is no GPU but a program on the CPU.`);
    await expect(register()).rejects.toThrow("no GPU");
    expect((await useBackend("webgpu")).reason).toContain("a program on the CPU and no GPU");
  });

  it("reads only when awaited", async () => {
    await useBackend("webgpu");
    const y = tf.tidy(() => tf.matMul(tf.ones([40, 40]), tf.ones([40, 40])));
    expect(() => y.dataSync()).toThrow("use await data()");
    expect((await y.data()).every((value) => value === 40)).toBe(true);
    y.dispose();
  });

  it("gives copies, as long as the tensor", async () => {
    await useBackend("webgpu");
    const y = tf.add(tf.ones([7, 5]), tf.ones([7, 5]));
    const doubled = tf.mul(y, 2);
    const numbers = await doubled.data();
    expect(numbers.length).toBe(35);
    numbers[0] = 9;
    expect((await doubled.data())[0]).toBe(4);
    tf.dispose([y, doubled]);
  });
});
