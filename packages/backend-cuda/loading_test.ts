/** What stands in the way of CUDA is said with what was tried and how to mend it. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import koffi from "koffi";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { BackendUnavailable, useBackend } from "../tensor/backend.ts";
import { loadDriver } from "./driver.ts";
import { CudaUnavailable, loadLibrary } from "./libraries.ts";
import { hasDevice } from "./testing/emulator.ts";

const found = hasDevice();
const emulator = process.env.RLHF_CUDA_LIBRARIES;
let folder: string;

beforeEach(() => {
  vi.spyOn(koffi, "load");
  folder = mkdtempSync(join(tmpdir(), "cuda-loading-"));
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const failureOf = (run: () => unknown): CudaUnavailable => {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(CudaUnavailable);
    return error as CudaUnavailable;
  }
  throw new Error("nothing was thrown");
};

/** Machines with CUDA 12 find the library that others look for in vain. */
const hasCublas = ((): boolean => {
  try {
    loadLibrary("cublas", 12);
    return true;
  } catch {
    return false;
  }
})();

describe("a library", () => {
  it.skipIf(hasCublas)("that is broken is named with the loader's words and a remedy", () => {
    vi.stubEnv("RLHF_CUDA_LIBRARIES", folder);
    writeFileSync(join(folder, "libcublas.so.12"), "no library");
    const error = failureOf(() => loadLibrary("cublas", 12));
    expect(error.message).toContain("libcublas.so.12 does not load");
    expect(error.message).toContain(`${join(folder, "libcublas.so.12")}: `);
    expect(error.message).toContain("the loader says");
    expect(error.message).toContain("CUDA toolkits, Python's nvidia-* wheels");
    expect(error.remedy).toContain("pip install nvidia-cublas");
    expect(error.remedy).toContain("RLHF_CUDA_LIBRARIES");
  });

  it.skipIf(!emulator)("newer than the driver is not taken", () => {
    vi.stubEnv("RLHF_CUDA_LIBRARIES", folder);
    writeFileSync(join(folder, "libnvrtc.so.13"), "no library");
    cpSync(join(emulator!, "libcuda.so.1"), join(folder, "libnvrtc.so.12"));
    expect(() => loadLibrary("nvrtc", 12)).not.toThrow();
    expect(koffi.load).toHaveBeenLastCalledWith(join(folder, "libnvrtc.so.12"));
    expect(koffi.load).not.toHaveBeenCalledWith(join(folder, "libnvrtc.so.13"));
  });

  it.skipIf(!emulator)("is found among Python's wheels and in a toolkit", () => {
    vi.stubEnv("RLHF_CUDA_LIBRARIES", "");
    for (const place of ["lib/python3.12/site-packages/nvidia/cu13/lib", "targets/x86_64-linux/lib"]) {
      mkdirSync(join(folder, place), { recursive: true });
    }
    const copy = (name: string, place: string) =>
      cpSync(join(emulator!, "libcuda.so.1"), join(folder, place, name));
    copy("libnvrtc.so.13", "lib/python3.12/site-packages/nvidia/cu13/lib");
    copy("libcublas.so.13", "targets/x86_64-linux/lib");
    vi.stubEnv("VIRTUAL_ENV", folder);
    vi.stubEnv("CUDA_HOME", folder);
    const version = loadLibrary("nvrtc").func("int nvrtcVersion(_Out_ int* major, _Out_ int* minor)");
    expect(version([0], [0])).toBe(0);
    expect(() => loadLibrary("cublas")).not.toThrow();
  });
});

describe.skipIf(!emulator)("a driver", () => {
  it("without a GPU is no success", () => {
    vi.stubEnv("EMULATED_CUDA_DEVICES", "0");
    const error = failureOf(loadDriver);
    expect(error.message).toBe("The NVIDIA driver sees no GPU.");
    expect(error.remedy).toContain("CUDA_VISIBLE_DEVICES");
  });

  it("that is too old says which it is", () => {
    vi.stubEnv("EMULATED_CUDA_VERSION", "11040");
    const error = failureOf(loadDriver);
    expect(error.message).toBe("The NVIDIA driver knows CUDA 11.4; 12.0 is needed.");
    expect(error.remedy).toContain("525");
  });
});

describe.skipIf(!found)("useBackend", () => {
  it("refuses a precision that is none, then says what it takes", async () => {
    vi.stubEnv("RLHF_CUDA_PRECISION", "fp8");
    const refused = await useBackend("cuda").catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(BackendUnavailable);
    expect(String(refused)).toContain("RLHF_CUDA_PRECISION must be one of fp32, tf32, bf16, got fp8");
    vi.unstubAllEnvs();
    vi.stubEnv("RLHF_CUDA_PRECISION", "");
    const choice = await useBackend("auto");
    expect(choice.name).toBe("cuda");
    expect(choice.reason).toMatch(/^CUDA on .+, matrix products in tf32$/);
    expect(tf.getBackend()).toBe("cuda");
  });
});
