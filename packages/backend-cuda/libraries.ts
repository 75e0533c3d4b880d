/** Where the CUDA libraries are: what is looked for, in which order, and what to say when it is not there. */
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import koffi from "koffi";

/** What keeps CUDA from being used on this machine, and how to mend it. */
export class CudaUnavailable extends Error {
  readonly remedy: string;

  constructor(problem: string, remedy: string) {
    super(problem);
    this.remedy = remedy;
  }
}

export type Library = ReturnType<typeof koffi.load>;
type Part = "driver" | "nvrtc" | "cublas" | "cublasLt";

/** The majors of CUDA that this package is written for, the best first. */
const majors = [13, 12];

interface Files {
  /** The library's file for a major of CUDA. */
  readonly name: (major: number) => string;
  /** What it loads by itself only from the loader's path, and therefore is loaded before it from its own folder. */
  readonly companion?: RegExp;
}
const files: Readonly<Record<Part, Files>> =
  process.platform === "win32"
    ? {
        driver: { name: () => "nvcuda.dll" },
        nvrtc: { name: (major) => `nvrtc64_${major}0_0.dll`, companion: /^nvrtc-builtins64_.*\.dll$/ },
        cublas: { name: (major) => `cublas64_${major}.dll`, companion: /^cublasLt64_.*\.dll$/ },
        cublasLt: { name: (major) => `cublasLt64_${major}.dll` },
      }
    : {
        driver: { name: () => "libcuda.so.1" },
        nvrtc: { name: (major) => `libnvrtc.so.${major}`, companion: /^libnvrtc-builtins\.so\.[\d.]+$/ },
        cublas: { name: (major) => `libcublas.so.${major}`, companion: /^libcublasLt\.so\.\d+$/ },
        cublasLt: { name: (major) => `libcublasLt.so.${major}` },
      };

const cublasRemedy =
  "Install a CUDA toolkit, or NVIDIA's wheel: pip install nvidia-cublas (CUDA 13) or nvidia-cublas-cu12; " +
  "or name the library's folder in RLHF_CUDA_LIBRARIES.";
const remedies: Readonly<Record<Part, string>> = {
  driver:
    "Install NVIDIA's driver, 525 or newer; in a container, start it with its GPUs (docker run --gpus all).",
  nvrtc:
    "Install a CUDA toolkit, or NVIDIA's wheel: pip install nvidia-cuda-nvrtc (CUDA 13) or nvidia-cuda-nvrtc-cu12; " +
    "or name the library's folder in RLHF_CUDA_LIBRARIES.",
  cublas: cublasRemedy,
  cublasLt: cublasRemedy,
};

/** Paths below `parent` whose last part matches; none where there is no such folder. */
const entries = (parent: string, pattern: RegExp): ReadonlyArray<string> => {
  if (!existsSync(parent)) return [];
  const names = readdirSync(parent).filter((name) => pattern.test(name));
  return names.sort().map((name) => join(parent, name));
};

const toolkitFolders = (): ReadonlyArray<string> => {
  const { CUDA_HOME, CUDA_PATH } = process.env;
  const roots = [
    CUDA_HOME,
    CUDA_PATH,
    "/usr/local/cuda",
    ...entries("/usr/local", /^cuda-1[23]/),
    "/opt/cuda",
  ];
  const inside = ["lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib", "bin", "bin/x64"];
  return roots.flatMap((root) => (root ? inside.map((folder) => join(root, folder)) : []));
};

const wheelFolders = (): ReadonlyArray<string> => {
  const { VIRTUAL_ENV, CONDA_PREFIX } = process.env;
  const roots = [VIRTUAL_ENV, CONDA_PREFIX, join(homedir(), ".local"), "/usr/local", "/usr"];
  const packages = roots.flatMap((root) =>
    root
      ? entries(join(root, "lib"), /^python3/)
          .flatMap((python) => [join(python, "site-packages"), join(python, "dist-packages")])
          .concat(join(root, "Lib", "site-packages"))
      : [],
  );
  const inside = ["cu13", "cuda_nvrtc", "cublas"].flatMap((name) => [`${name}/lib`, `${name}/bin`]);
  return packages.flatMap((folder) => inside.map((path) => join(folder, "nvidia", path)));
};

/** The places for one part, in the order in which they are tried; "" is the loader's own search. */
const places = (part: Part): ReadonlyArray<string> => {
  const own = (process.env.RLHF_CUDA_LIBRARIES ?? "").split(delimiter).filter((folder) => folder !== "");
  if (part === "driver") return [...own, "", "/usr/lib/wsl/lib"];
  return [...own, "", ...toolkitFolders(), ...wheelFolders()];
};

const load = (folder: string, file: string, companion: RegExp | undefined): Library => {
  if (folder === "") return koffi.load(file);
  if (companion) for (const path of entries(folder, companion)) koffi.load(path);
  return koffi.load(join(folder, file));
};

/**
 * Loads a library from RLHF_CUDA_LIBRARIES (folders), the loader's path, a CUDA toolkit, or NVIDIA's Python wheels.
 *
 * @param newest the newest major of CUDA that the driver can run
 * @throws CudaUnavailable that lists what was tried
 */
export const loadLibrary = (part: Part, newest = Number.POSITIVE_INFINITY): Library => {
  const { name, companion } = files[part];
  const names = [...new Set(majors.filter((major) => major <= newest).map(name))];
  const problems = new Set<string>();
  const without: string[] = [];
  for (const folder of places(part)) {
    const here = folder === "" ? names : names.filter((file) => existsSync(join(folder, file)));
    if (here.length === 0 && existsSync(folder)) without.push(folder);
    for (const file of here) {
      try {
        return load(folder, file, companion);
      } catch (error) {
        const why = (error as Error).message.split("\n")[0];
        problems.add(folder === "" ? `the loader says "${why}"` : `${join(folder, file)}: ${why}`);
      }
    }
  }
  const searched = [`RLHF_CUDA_LIBRARIES (${process.env.RLHF_CUDA_LIBRARIES || "not set"})`];
  if (part !== "driver") searched.push("CUDA toolkits", "Python's nvidia-* wheels");
  const folders = without.length > 0 ? `: ${without.join(", ")}` : "";
  throw new CudaUnavailable(
    `${names.join(" or ")} does not load: ${[...problems].join("; ")}; not found in ${searched.join(", ")}${folders}.`,
    remedies[part],
  );
};
