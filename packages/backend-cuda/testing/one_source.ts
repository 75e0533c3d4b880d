/** All kernels as one text, for compilers that take long to start: each file in a namespace of its own. */
import { readdirSync } from "node:fs";
import { kernelSource, kernelsFolder } from "../sources.ts";

export const allKernels = (): string => {
  const names = readdirSync(kernelsFolder).flatMap((file) => /^(\w+)\.cu$/.exec(file)?.[1] ?? []);
  return names.map((name) => `namespace in_${name} {\n${kernelSource(name)}\n}`).join("\n");
};
