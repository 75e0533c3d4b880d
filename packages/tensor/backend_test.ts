import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { describe, expect, it } from "vitest";
import { Backend, BackendUnavailable, chooseBackend, useBackend } from "./backend.ts";
import { difference, randomNumbers } from "./testing/numbers.ts";

describe("useBackend", () => {
  it("starts cpu and wasm, and goes back and forth", async () => {
    for (const name of ["cpu", "wasm", "cpu"] as const) {
      const choice = await useBackend(name);
      expect(choice.name).toBe(name);
      expect(tf.getBackend()).toBe(name);
    }
  });

  it("takes the fastest that works and says what it passed over", async () => {
    const choice = await useBackend("auto");
    expect(["cuda", "webgpu", "native", "wasm"]).toContain(choice.name);
    if (choice.name !== "cuda") expect(choice.reason).toContain("not cuda: ");
    if (!["cuda", "webgpu"].includes(choice.name)) expect(choice.reason).toContain("not webgpu: ");
    if (choice.name === "wasm") expect(choice.reason).toContain("not native: ");
  });

  it("says how to mend what is missing", async () => {
    const outcome = await useBackend("tensorflow").catch((error: unknown) => error);
    if (!(outcome instanceof BackendUnavailable)) return expect(tf.getBackend()).toBe("tensorflow");
    expect(outcome.tried.map(({ name }) => name)).toEqual(["tensorflow"]);
    expect(outcome.message).toContain("npm i @tensorflow/tfjs-node-gpu");
    expect(outcome.message).toContain("CUDA 11.2");
  });

  it("is a service and an effect", async () => {
    const program = Effect.gen(function* () {
      return (yield* Backend).name;
    });
    expect(await Effect.runPromise(Effect.provide(program, Backend.layer("cpu")))).toBe("cpu");
    expect((await Effect.runPromise(chooseBackend("cpu"))).reason).toContain("JavaScript");
  });
});

describe("wasm", () => {
  it.each([
    [false, true],
    [true, false],
    [true, true],
  ])(
    "multiplies transposed operands (%s, %s) as cpu does and leaves nothing behind",
    async (first, second) => {
      const product = async () => {
        const before = tf.memory().numTensors;
        const a = tf.tensor(randomNumbers(1, [2, 3, 5, 4]), first ? [2, 3, 4, 5] : [2, 3, 5, 4]);
        const b = tf.tensor(randomNumbers(2, [2, 3, 4, 6]), second ? [2, 3, 6, 4] : [2, 3, 4, 6]);
        const y = tf.matMul(a, b, first, second);
        const numbers = await y.data();
        tf.dispose([a, b, y]);
        expect(tf.memory().numTensors).toBe(before);
        return numbers;
      };
      await useBackend("cpu");
      const expected = await product();
      await useBackend("wasm");
      expect(difference(await product(), expected)).toBeLessThan(1e-6);
    },
  );
});
