/**
 * Tests run on an emulated GPU: the kernels' own text compiled by g++, behind the symbols of the driver, NVRTC and
 * cuBLAS. With RLHF_CUDA_TEST_DEVICE=1 they run on this machine's GPU in place of it.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import koffi from "koffi";
import { Allocator } from "../allocator.ts";

const sources = join(import.meta.dirname, "..", "emulation");
const cache = join(import.meta.dirname, "..", "..", "..", "node_modules", ".cache", "cuda-emulation");

const hasCompiler = (): boolean => {
  try {
    execFileSync("g++", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
};

/** Builds the emulator once for each version of its sources; answers with its folder. */
const build = (): string => {
  const flags = (process.env.EMULATED_CUDA_FLAGS ?? "").split(" ").filter((flag) => flag !== "");
  const hash = createHash("sha256").update(flags.join(" "));
  for (const file of readdirSync(sources).sort()) hash.update(readFileSync(join(sources, file)));
  const folder = join(cache, hash.digest("hex").slice(0, 16));
  if (existsSync(folder)) return folder;
  const making = `${folder}.${process.pid}`;
  mkdirSync(making, { recursive: true });
  const compile = (to: string, ...options: ReadonlyArray<string>) =>
    execFileSync("g++", ["-std=c++17", "-O1", "-Wall", "-Wextra", "-fPIC", ...options, "-o", to], {
      // A sanitizer that is loaded into this process would make the compiler many times slower.
      env: { ...process.env, LD_PRELOAD: "" },
    });
  const file = (name: string) => join(sources, `${name}.cc`);
  // The flags are meant for what touches the GPU's memory, and make regular expressions slow to compile.
  const nvrtc = join(making, "nvrtc.o");
  compile(nvrtc, "-c", file("nvrtc"));
  const others = ["driver", "cublas", "cublas_lt"].map(file);
  compile(join(making, "libcuda.so.1"), "-shared", ...flags, ...others, nvrtc, "-ldl");
  for (const name of ["libnvrtc.so.13", "libcublas.so.13", "libcublasLt.so.13"])
    symlinkSync("libcuda.so.1", join(making, name));
  try {
    renameSync(making, folder);
  } catch {
    // Another test file was faster.
    rmSync(making, { recursive: true });
  }
  return folder;
};

let guarded = false;

/**
 * For the address sanitizer a block is allocated from `take` to `give` and as long as it was asked for, whatever the
 * allocator rounds up and keeps for reuse.
 */
const guardBlocks = (folder: string): void => {
  if (guarded) return;
  guarded = true;
  const emulator = koffi.load(join(folder, "libcuda.so.1"));
  const allow = emulator.func("void emulated_allow(uint64_t pointer, size_t used, size_t bytes)");
  const { take, give } = Allocator.prototype;
  Allocator.prototype.take = function (bytes, op, what) {
    const block = take.call(this, bytes, op, what);
    allow(block.pointer, bytes, block.bytes);
    return block;
  };
  Allocator.prototype.give = function (block) {
    give.call(this, block);
    allow(block.pointer, 0, block.bytes);
  };
};

/** Whether tests have a GPU, real or emulated; says why they are skipped where they do not. */
export const hasDevice = (): boolean => {
  if (process.env.RLHF_CUDA_TEST_DEVICE) return true;
  if (!hasCompiler()) {
    console.warn("Skipped: the emulated GPU needs g++.");
    return false;
  }
  const folder = build();
  process.env.RLHF_CUDA_LIBRARIES = folder;
  process.env.RLHF_CUDA_CACHE = join(folder, "kernels");
  process.env.RLHF_CUDA_PRECISION ??= "fp32";
  process.env.EMULATED_CUDA_INCLUDE = sources;
  if (process.env.EMULATED_CUDA_FLAGS?.includes("address")) guardBlocks(folder);
  return true;
};
