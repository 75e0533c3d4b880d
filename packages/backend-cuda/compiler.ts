/** Compiles kernels for one GPU, once: what NVRTC made lies in a folder, by source, architecture and compiler. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { type Nvrtc, outputOf } from "./driver.ts";

/** RLHF_CUDA_CACHE, else the user's folder for caches. */
const cacheFolder = (): string => {
  const { RLHF_CUDA_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  return RLHF_CUDA_CACHE || join(XDG_CACHE_HOME || LOCALAPPDATA || join(homedir(), ".cache"), "rlhf", "cuda");
};

/** The library's version and the newest architecture that it can compile for. */
const describe = (nvrtc: Nvrtc): { readonly version: string; readonly newest: number } => {
  const [major, minor] = [[0], [0]];
  nvrtc.nvrtcVersion(major, minor);
  const architectures = new Int32Array(outputOf((count) => nvrtc.nvrtcGetNumSupportedArchs(count)));
  nvrtc.nvrtcGetSupportedArchs(architectures);
  return { version: `${major[0]}.${minor[0]}`, newest: Math.max(...architectures) };
};

const textOf = (size: (bytes: number[]) => void, get: (to: Uint8Array) => void): Uint8Array => {
  const bytes = new Uint8Array(outputOf(size));
  get(bytes);
  return bytes;
};

export interface Compiler {
  /** Machine code for a module, from the cache when it is there. */
  readonly compile: (name: string, source: string) => Uint8Array;
}

/**
 * @param capability the GPU's compute capability, 90 for 9.0. A GPU that is newer than the compiler gets PTX, which
 *   its driver translates.
 */
export const makeCompiler = (nvrtc: Nvrtc, capability: number): Compiler => {
  const { version, newest } = describe(nvrtc);
  const machineCode = capability <= newest;
  const target = machineCode ? `sm_${capability}` : `compute_${newest}`;
  const options = [`--gpu-architecture=${target}`, "--std=c++17", "--device-as-default-execution-space"];

  const compileAfresh = (name: string, source: string): Uint8Array => {
    const program = [
      outputOf((output) => nvrtc.nvrtcCreateProgram(output, source, `${name}.cu`, 0, null, null)),
    ];
    try {
      nvrtc.nvrtcCompileProgram(program[0]!, options.length, options);
      return textOf(
        (bytes) => (machineCode ? nvrtc.nvrtcGetCUBINSize : nvrtc.nvrtcGetPTXSize)(program[0]!, bytes),
        (to) => (machineCode ? nvrtc.nvrtcGetCUBIN : nvrtc.nvrtcGetPTX)(program[0]!, to),
      );
    } catch (cause) {
      const log = textOf(
        (bytes) => nvrtc.nvrtcGetProgramLogSize(program[0]!, bytes),
        (to) => nvrtc.nvrtcGetProgramLog(program[0]!, to),
      );
      const text = new TextDecoder().decode(log).replace(/\0+$/, "");
      throw new Error(`kernels/${name}.cu does not compile for ${target} with NVRTC ${version}:\n${text}`, {
        cause,
      });
    } finally {
      nvrtc.nvrtcDestroyProgram(program);
    }
  };

  let told = false;
  const compile = (name: string, source: string): Uint8Array => {
    const key = createHash("sha256")
      .update([version, ...options, source].join("\0"))
      .digest("hex")
      .slice(0, 32);
    const path = join(cacheFolder(), `${name}-${target}-${key}`);
    try {
      return readFileSync(path);
    } catch {
      // Not compiled yet: seconds for each of the larger files.
      if (!told)
        console.error(`Compiling CUDA kernels for ${target} as they are needed, once: ${cacheFolder()}`);
      told = true;
    }
    const image = compileAfresh(name, source);
    try {
      keep(path, image);
    } catch {
      // A folder that cannot be written to costs time at the next start, nothing else.
    }
    return image;
  };
  return { compile };
};

/** Written under another name first, for other processes may look for the file right now. */
const keep = (path: string, image: Uint8Array): void => {
  mkdirSync(cacheFolder(), { recursive: true });
  const temporary = `${path}.${process.pid}`;
  try {
    writeFileSync(temporary, image);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
};
