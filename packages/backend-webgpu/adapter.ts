/** Where the GPU comes from: the platform's own WebGPU, or in Node the package `webgpu`, which is Chromium's. */

/** What of an adapter says who made it; the types at hand are older. */
interface Introduction {
  readonly isFallbackAdapter?: boolean;
  readonly info?: Partial<Record<"vendor" | "architecture" | "description", string>> & {
    readonly isFallbackAdapter?: boolean;
  };
}

export interface Adapter {
  /** Keeps the implementation alive: in Node the devices end with it. */
  readonly gpu: GPU;
  readonly handle: GPUAdapter;
  /** Maker and model, as far as the platform tells. */
  readonly name: string;
  /** A program that plays a GPU on the CPU, much slower than an engine made for the CPU. */
  readonly software: boolean;
}

/** What keeps this machine's GPU from being used, and how to mend it. */
export class NoAdapter extends Error {
  readonly remedy: string;

  constructor(problem: string, remedy: string) {
    super(problem);
    this.remedy = remedy;
  }
}

const knownSoftware = /swiftshader|llvmpipe|lavapipe|softpipe|basic render/i;

const driverRemedy: Readonly<Record<string, string>> = {
  linux:
    "Install the GPU's Vulkan driver: NVIDIA's own, or mesa-vulkan-drivers for AMD and Intel, and libvulkan1.",
  darwin: "It needs a GPU with Metal, outside of a virtual machine.",
  win32: "Install the GPU maker's driver; it needs Direct3D 12.",
};
const browserRemedy =
  "Use a browser with WebGPU on a page from https or localhost; in Chromium chrome://gpu says what is missing.";
const remedyHere = () => driverRemedy[globalThis.process?.platform ?? ""] ?? browserRemedy;

/**
 * The fastest adapter of this machine.
 *
 * @throws NoAdapter when there is no WebGPU or no adapter
 */
export const findAdapter = async (): Promise<Adapter> => {
  const gpu = platformGpu() ?? (await createDawn());
  const handle = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!handle) throw new NoAdapter("WebGPU finds no GPU.", remedyHere());
  const { info, isFallbackAdapter } = handle as Introduction;
  const { vendor = "", architecture = "", description = "" } = info ?? {};
  const name = description || [vendor, architecture].filter(Boolean).join(" ") || "a GPU without a name";
  const software =
    info?.isFallbackAdapter === true ||
    isFallbackAdapter === true ||
    knownSoftware.test(`${architecture} ${description}`);
  return { gpu, handle, name, software };
};

/** `navigator.gpu` of browsers and Deno. */
export const platformGpu = (): GPU | undefined =>
  (globalThis as { readonly navigator?: { readonly gpu?: GPU } }).navigator?.gpu;

const createDawn = async (): Promise<GPU> => {
  if (typeof globalThis.process?.dlopen !== "function") {
    throw new NoAdapter("This platform has no WebGPU.", browserRemedy);
  }
  refuseMissingVulkan();
  const dawn = await import("webgpu").catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new NoAdapter(`The package webgpu does not load: ${why}.`, "Install it again: npm i webgpu");
  });
  // Its classes and flags, which tfjs expects to be global as in a browser.
  Object.assign(globalThis, dawn.globals);
  return dawn.create([]);
};

/** Dawn prints a warning where there is no Vulkan; an error that says what to install is better. */
const refuseMissingVulkan = (): void => {
  if (process.platform !== "linux") return;
  try {
    process.dlopen({ exports: {} }, "libvulkan.so.1");
  } catch (error) {
    // A library that is there is still no Node addon, which is an error with other words.
    if (!/cannot open shared object/.test(String(error))) return;
    throw new NoAdapter("Vulkan's loader libvulkan.so.1 is not installed.", driverRemedy.linux!);
  }
};
