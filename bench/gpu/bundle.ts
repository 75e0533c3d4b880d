/**
 * One archive that measures on a bare GPU machine without network: Node, our packages in a few files, native addons, PyTorch's
 * side as scripts for where that is installed.
 *
 *     npm run bundle:gpu             # rlhf-gpu-linux-x64.tar.xz
 *     tar xf rlhf-gpu-linux-x64.tar.xz && rlhf-gpu/run     # on the machine; --python names one with PyTorch
 */
import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { build } from "esbuild";

const platform = `${process.platform}-${process.arch}`;
const limit = 60e6;
const bench = join(import.meta.dirname, "..");
const repository = join(bench, "..");
const archive = join(repository, `rlhf-gpu-${platform}.tar.xz`);

const staging = mkdtempSync(join(tmpdir(), "rlhf-bundle-"));
try {
  const root = join(staging, "rlhf-gpu");
  await bundlePrograms(join(root, "bench"));
  cpSync(join(bench, "peers"), join(root, "bench/peers"), { recursive: true });
  cpSync(join(repository, "packages/backend-cuda/kernels"), join(root, "bench/kernels"), { recursive: true });
  copyWebGpu(join(root, "node_modules/webgpu"));
  copyKoffi(join(root, "node_modules"));
  cpSync(join(repository, "packages/backend-native/build/Release/native.node"), join(root, "native.node"));
  copyNode(join(root, "node"));
  writeStarter(join(root, "run"));
  execFileSync("tar", ["-cJf", archive, "-C", staging, "rlhf-gpu"], {
    env: { ...process.env, XZ_OPT: "-9 -T2" },
  });
} finally {
  rmSync(staging, { recursive: true, force: true });
}
const { size } = statSync(archive);
console.log(`${archive}: ${(size / 1e6).toFixed(1)} MB`);
if (size > limit) {
  console.error(`The archive must stay below ${limit / 1e6} MB`);
  process.exitCode = 1;
}

/** The programs, each in one file with all it imports and the engines. */
async function bundlePrograms(outdir: string): Promise<void> {
  const ours = [
    "checkpoint",
    "training",
    "generation",
    "products",
    "ppo",
    "launches",
    "operations",
    "stages",
  ];
  await build({
    entryPoints: [join(bench, "gpu/main.ts"), ...ours.map((name) => join(bench, "ours", `${name}.ts`))],
    inject: [join(bench, "gpu/engines.ts")],
    outbase: bench,
    outdir,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "node",
    target: "node20",
    logLevel: "error",
    external: ["webgpu", "koffi"],
    banner: {
      // Packages made for CommonJS ask for Node's own modules in its way.
      js: 'import { createRequire as $createRequire } from "node:module"; const require = $createRequire(import.meta.url);',
    },
  });
}

/** Dawn for this platform alone. */
function copyWebGpu(to: string): void {
  const require = createRequire(join(repository, "packages/backend-webgpu/package.json"));
  const from = dirname(require.resolve("webgpu"));
  for (const part of ["package.json", "index.js", "LICENSE.md", `dist/${platform}`]) {
    cpSync(join(from, part), join(to, part), { recursive: true, dereference: true });
  }
}

/** Koffi, and its binary for this platform alone. */
function copyKoffi(to: string): void {
  const ours = createRequire(join(repository, "packages/backend-cuda/package.json"));
  const main = ours.resolve("koffi");
  const addon = `@koromix/koffi-${platform}`;
  const binary = createRequire(main).resolve(addon);
  for (const part of ["package.json", "index.js", "index.cjs", "LICENSE.txt", "src"]) {
    cpSync(join(dirname(main), part), join(to, "koffi", part), { recursive: true, dereference: true });
  }
  cpSync(dirname(binary), join(to, addon), { recursive: true, dereference: true });
}

/** The Node that runs this, without its symbols where `strip` is at hand. */
function copyNode(to: string): void {
  cpSync(process.execPath, to);
  chmodSync(to, 0o755);
  try {
    execFileSync("strip", [to], { stdio: "ignore" });
  } catch {
    // Larger, but as good.
  }
}

function writeStarter(to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  writeFileSync(
    to,
    `#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
RLHF_NATIVE_ADDON="$here/native.node" exec "$here/node" "$here/bench/gpu/main.mjs" "$@"
`,
  );
  chmodSync(to, 0o755);
}
