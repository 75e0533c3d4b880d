/** The cache of compiled kernels, and the kernels themselves under NVIDIA's compilers where they are installed. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { makeCompiler } from "./compiler.ts";
import { CudaError, loadNvrtc, type Nvrtc, outputOf } from "./driver.ts";
import { kernelSource } from "./sources.ts";
import { allKernels, kernelNames } from "./testing/one_source.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cuda-compiler-"));
  vi.stubEnv("RLHF_CUDA_CACHE", folder);
  vi.spyOn(console, "error").mockReturnValue();
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

/** A compiler that knows architectures up to 90 and answers with what it was asked for. */
const fakeNvrtc = (version: number, log = "") => {
  let source = "";
  const compilations: string[] = [];
  const bytesOf = (text: string) => new TextEncoder().encode(text);
  const size = (text: () => string) => (_: number, bytes: number[]) => {
    bytes[0] = bytesOf(text()).length;
  };
  const get = (text: () => string) => (_: number, to: Uint8Array) => to.set(bytesOf(text()));
  const nvrtc = {
    nvrtcVersion: (major: number[], minor: number[]) => {
      [major[0], minor[0]] = [version, 1];
    },
    nvrtcGetNumSupportedArchs: (count: number[]) => {
      count[0] = 2;
    },
    nvrtcGetSupportedArchs: (architectures: Int32Array) => architectures.set([80, 90]),
    nvrtcCreateProgram: (program: number[], text: string) => {
      program[0] = 1;
      source = text;
    },
    nvrtcDestroyProgram: () => {},
    nvrtcCompileProgram: (_: number, __: number, options: ReadonlyArray<string>) => {
      compilations.push(options[0]!);
      if (log) throw new CudaError("nvrtcCompileProgram", 6, "NVRTC_ERROR_COMPILATION");
    },
    nvrtcGetProgramLogSize: size(() => log),
    nvrtcGetProgramLog: get(() => log),
    nvrtcGetCUBINSize: size(() => `machine code of ${source}`),
    nvrtcGetCUBIN: get(() => `machine code of ${source}`),
    nvrtcGetPTXSize: size(() => `ptx of ${source}`),
    nvrtcGetPTX: get(() => `ptx of ${source}`),
  };
  return { nvrtc: nvrtc as unknown as Nvrtc, compilations };
};
const textOf = (image: Uint8Array) => new TextDecoder().decode(image);

describe("the cache", () => {
  it("is said to be filled, once", () => {
    for (let start = 0; start < 2; start++) {
      const { compile } = makeCompiler(fakeNvrtc(13).nvrtc, 90);
      for (const source of ["one", "two"]) compile("norm", source);
    }
    expect(vi.mocked(console.error).mock.calls).toEqual([
      [`Compiling CUDA kernels for sm_90 as they are needed, once: ${folder}`],
    ]);
  });

  it("holds a kernel by source, architecture and compiler", () => {
    const { nvrtc, compilations } = fakeNvrtc(13);
    for (let start = 0; start < 2; start++) {
      expect(textOf(makeCompiler(nvrtc, 80).compile("norm", "one"))).toBe("machine code of one");
      expect(textOf(makeCompiler(nvrtc, 80).compile("norm", "two"))).toBe("machine code of two");
      expect(textOf(makeCompiler(nvrtc, 90).compile("norm", "one"))).toBe("machine code of one");
    }
    const sm = (capability: number) => `--gpu-architecture=sm_${capability}`;
    expect(compilations).toEqual([sm(80), sm(80), sm(90)]);
    const newer = fakeNvrtc(14);
    makeCompiler(newer.nvrtc, 80).compile("norm", "one");
    expect(newer.compilations).toEqual([sm(80)]);
    expect(readdirSync(folder)).toHaveLength(4);
  });

  it("that cannot be written to is no obstacle", () => {
    vi.stubEnv("RLHF_CUDA_CACHE", "/dev/null/cache");
    expect(textOf(makeCompiler(fakeNvrtc(13).nvrtc, 80).compile("norm", "one"))).toBe("machine code of one");
  });

  it("of a GPU newer than the compiler holds PTX", () => {
    const { nvrtc, compilations } = fakeNvrtc(13);
    expect(textOf(makeCompiler(nvrtc, 120).compile("norm", "one"))).toBe("ptx of one");
    expect(compilations).toEqual(["--gpu-architecture=compute_90"]);
  });

  it("shows what the compiler said", () => {
    const { nvrtc } = fakeNvrtc(13, "norm.cu(3): error: expected a ;");
    expect(() => makeCompiler(nvrtc, 80).compile("norm", "one")).toThrow(
      "kernels/norm.cu does not compile for sm_80 with NVRTC 13.1:\nnorm.cu(3): error: expected a ;",
    );
    expect(readdirSync(folder)).toEqual([]);
  });
});

const has = (run: () => unknown): boolean => {
  try {
    run();
    return true;
  } catch {
    return false;
  }
};

/** The emulator's is not meant: it says that it is older than any. */
const realNvrtc = (): Nvrtc | undefined => {
  try {
    const nvrtc = loadNvrtc(Number.POSITIVE_INFINITY);
    return outputOf((major) => nvrtc.nvrtcVersion(major, [0])) >= 12 ? nvrtc : undefined;
  } catch {
    return undefined;
  }
};

describe("all kernels", { timeout: 600_000 }, () => {
  // Without optimization (-G), which takes most of the time.
  const nvcc = has(() => execFileSync("nvcc", ["--version"]));
  it.skipIf(!nvcc)("compile with nvcc for sm_75 to sm_100", () => {
    const source = join(folder, "all.cu");
    writeFileSync(source, allKernels());
    const known = execFileSync("nvcc", ["--list-gpu-code"], { encoding: "utf8" }).split("\n");
    const wanted = ["75", "80", "90", "100"].filter((capability) => known.includes(`sm_${capability}`));
    expect(wanted).toContain("90");
    const targets = wanted.flatMap((capability) => [
      "-gencode",
      `arch=compute_${capability},code=sm_${capability}`,
    ]);
    const options = ["-std=c++17", "--threads=0", "-w", "-G", "-fatbin", ...targets];
    execFileSync("nvcc", [...options, source, "-o", join(folder, "all.fatbin")], {
      stdio: ["ignore", "ignore", "inherit"],
    });
  });

  const nvrtc = realNvrtc();
  it.skipIf(!nvrtc).each([75, 80, 90, 100])(
    "compile with NVRTC for sm_%i, as on such a GPU",
    (capability) => {
      // Below 8.0 the backend refuses bf16 and has no tf32, so those kernels are not asked for; NVRTC takes minutes for them.
      const wanted = kernelNames().filter((name) => capability >= 80 || !/_(bf16|tf32)$/.test(name));
      const { compile } = makeCompiler(nvrtc!, capability);
      for (const name of wanted) compile(name, kernelSource(name));
      expect(readdirSync(folder)).toHaveLength(wanted.length);
    },
  );
});
