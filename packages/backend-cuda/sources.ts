/** The text of the kernels, which are compiled where they run. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** `kernels` beside this file, or beside the folder above it when this file runs from `dist`. */
const folder = (): string => {
  const here = dirname(fileURLToPath(import.meta.url));
  return [join(here, "kernels"), join(here, "..", "kernels")].find(existsSync) ?? here;
};

export const kernelsFolder = folder();

/**
 * The text of `kernels/<name>.cu` behind the prelude, with `#include "x.cuh"` replaced by that file, each once: the
 * compiler at run time sees no files.
 */
export const kernelSource = (name: string): string => {
  const included = new Set<string>();
  const read = (file: string): string => {
    if (included.has(file)) return "";
    included.add(file);
    return readFileSync(join(kernelsFolder, file), "utf8")
      .replace(/^#pragma once$/gm, "")
      .replace(/^#include "(\w+\.cuh)"$/gm, (_, header: string) => read(header));
  };
  return read("prelude.cuh") + read(`${name}.cu`);
};
