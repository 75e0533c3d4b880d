/** Tests run on any GPU, and where there is none on the SwiftShader that comes with Chromium. */
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { findAdapter } from "../adapter.ts";

const chromium = "/usr/lib/chromium";
/** dlopen's RTLD_NODELETE: the library stays although it is no Node addon. */
const stay = 0x1000;

/** Whether tests find an adapter; says why they are skipped where they do not. */
export const hasAdapter = async (): Promise<boolean> => {
  useChromiumsVulkan();
  try {
    await findAdapter();
    return true;
  } catch (error) {
    console.warn(`Skipped, no WebGPU adapter: ${error}`);
    return false;
  }
};

const useChromiumsVulkan = (): void => {
  const driver = `${chromium}/vk_swiftshader_icd.json`;
  if (process.platform !== "linux" || process.env.VK_DRIVER_FILES || !existsSync(driver)) return;
  process.env.VK_ICD_FILENAMES ??= driver;
  try {
    process.dlopen({ exports: {} }, `${chromium}/libvulkan.so.1`, constants.dlopen.RTLD_NOW | stay);
  } catch {
    // It is no Node addon, but Dawn finds it by its name from now on.
  }
};
