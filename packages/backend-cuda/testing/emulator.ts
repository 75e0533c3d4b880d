/**
 * Tests run on an emulated GPU: the kernels' own text compiled by g++, behind the symbols of the driver, NVRTC and
 * cuBLAS. With RLHF_CUDA_TEST_DEVICE=1 they run on this machine's GPU in place of it.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";

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
  const files = ["driver.cc", "nvrtc.cc", "cublas.cc", "cublas_lt.cc"].map((file) => join(sources, file));
  const options = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-fPIC", "-shared", ...flags];
  execFileSync("g++", [...options, ...files, "-ldl", "-o", join(making, "libcuda.so.1")]);
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
  return true;
};
