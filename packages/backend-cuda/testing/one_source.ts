/** All kernels, and as one text for compilers that take long to start. */
import { readdirSync } from "node:fs";
import { kernelSource, kernelsFolder } from "../sources.ts";

/** The modules, `kernels/<name>.cu`. */
export const kernelNames = (): ReadonlyArray<string> =>
  readdirSync(kernelsFolder).flatMap((file) => /^(\w+)\.cu$/.exec(file)?.[1] ?? []);

/** Each module in a namespace of its own. */
export const allKernels = (): string =>
  kernelNames()
    .map((name) => `namespace in_${name} {\n${kernelSource(name)}\n}`)
    .join("\n");
