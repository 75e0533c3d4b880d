/** The native backend with all its threads and instruction sets. */
import type * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe } from "vitest";
import { type Raw, runOn } from "../../tensor/testing/run_on.ts";
import { loadAddon } from "../addon.ts";

/** The place of the instruction set under test; −1 is the best one here. */
let instructionSet = -1;

/** Runs an operation on the native backend with two threads and with one, which must give the same bits. */
export const runNative = async (
  inputs: ReadonlyArray<Raw>,
  operation: (tensors: tf.Tensor[]) => tf.Tensor | tf.Tensor[],
): Promise<Raw[]> => {
  const { addon, threads } = loadAddon();
  const withThreads = async (count: number) => {
    addon.configure(instructionSet, count, true);
    return runOn("native", inputs, operation);
  };
  try {
    const [two, one] = [await withThreads(2), await withThreads(1)];
    for (const [i, { values }] of two.entries()) {
      if (!bytesOf(values).equals(bytesOf(one[i]!.values))) throw new Error("2 threads and 1 thread differ");
    }
    return two;
  } finally {
    addon.configure(instructionSet, threads, false);
  }
};
const bytesOf = ({ buffer, byteOffset, byteLength }: Raw["values"]) =>
  Buffer.from(buffer, byteOffset, byteLength);

/** Runs a suite with every instruction set that this processor has. */
export const describeInstructionSets = (suite: () => void): void => {
  const { addon, threads, isa: own } = loadAddon();
  const supports = (index: number) => {
    try {
      addon.configure(index, threads, false);
      return true;
    } catch {
      return false;
    }
  };
  const use = (index: number) => {
    instructionSet = index;
    addon.configure(index, threads, false);
  };
  for (const [index, name] of addon.instructionSets.entries()) {
    describe.skipIf(!supports(index))(name, () => {
      beforeAll(() => use(index));
      afterAll(() => use(addon.instructionSets.indexOf(own)));
      suite();
    });
  }
  use(addon.instructionSets.indexOf(own));
};
