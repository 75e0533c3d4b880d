/** What has no kernel here: the numbers are read back and the stock cpu kernel runs, which every call pays for dearly. */
import * as tf from "@tensorflow/tfjs-core";
import type { KernelResult } from "./_kernel.ts";
import type { CudaBackend } from "./backend.ts";

const counts: Record<string, number> = {};

/** For every kernel, how many calls read their inputs back and ran in JavaScript since `resetFallbackCounts`. */
export const fallbackCounts = (): Readonly<Record<string, number>> => ({ ...counts });

export const resetFallbackCounts = (): void => {
  for (const op of Object.keys(counts)) delete counts[op];
};

/** What of tfjs's cpu backend is used here although its types hide it. */
interface CpuBackend extends tf.KernelBackend {
  firstUse: boolean;
  makeTensorInfo(shape: number[], dtype: tf.DataType, values: tf.backend_util.BackendValues): tf.TensorInfo;
}

/** Runs the stock cpu kernel. */
export const fallback = (
  op: string,
  inputs: tf.NamedTensorInfoMap,
  attrs: tf.NamedAttrMap | undefined,
  backend: CudaBackend,
): KernelResult => {
  const stock = tf.getKernel(op, "cpu");
  if (!stock) throw new TypeError(`Cannot run ${op}: no kernel takes these inputs`);
  if (Object.keys(inputs).length > 0) counts[op] = (counts[op] ?? 0) + 1;
  const cpu = tf.findBackend("cpu") as CpuBackend;
  // Without this tfjs prints an advertisement for tfjs-node at its first tensor.
  cpu.firstUse = false;
  const onCpu = ({ dataId, shape, dtype }: tf.TensorInfo): tf.TensorInfo =>
    cpu.makeTensorInfo(shape, dtype, backend.readSync(dataId));
  const given = Object.entries(inputs).flatMap(([name, input]) =>
    input ? [[name, onCpu(input)] as const] : [],
  );
  const result = stock.kernelFunc({
    inputs: Object.fromEntries(given),
    backend: cpu,
    ...(attrs && { attrs }),
  });
  const outputs = Array.isArray(result) ? result : [result];
  const back = outputs.map(({ dataId, shape, dtype }) => ({
    dataId: backend.write(cpu.readSync(dataId), shape, dtype),
    shape,
    dtype,
  }));
  for (const { dataId } of [...given.map(([, input]) => input), ...outputs]) cpu.disposeData(dataId);
  return Array.isArray(result) ? back : back[0]!;
};
