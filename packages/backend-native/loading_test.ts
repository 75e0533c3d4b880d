/** Which addon is loaded, with which settings, and what happens where there is none. */
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, expect, it } from "vitest";
import { loadAddon } from "./addon.ts";

const own = import.meta.dirname;
const built = ["prebuilds", "build"]
  .map((folder) => addonIn(own, folder as "prebuilds" | "build"))
  .find((path) => existsSync(path))!;

function addonIn(root: string, folder: "prebuilds" | "build"): string {
  const inner = folder === "build" ? "Release" : `${process.platform}-${process.arch}`;
  return join(root, folder, inner, "native.node");
}

/** This package as it lies after an install that has built nothing yet. */
let copy: string;
beforeEach(() => {
  copy = mkdtempSync(join(tmpdir(), "rlhf-native-"));
  for (const name of ["addon.ts", "build.mjs", "binding.gyp", "package.json"]) {
    copyFileSync(join(own, name), join(copy, name));
  }
  cpSync(join(own, "src"), join(copy, "src"), { recursive: true });
  symlinkSync(join(own, "node_modules"), join(copy, "node_modules"));
});
afterEach(() => rmSync(copy, { recursive: true, force: true }));

const put = (folder: "prebuilds" | "build", works: boolean) => {
  const target = addonIn(copy, folder);
  mkdirSync(dirname(target), { recursive: true });
  if (works) copyFileSync(built, target);
  else writeFileSync(target, "no library");
};
const node = (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}) => {
  const inherited = { ...process.env, RLHF_NATIVE_ADDON: "", RLHF_NATIVE_ISA: "", RLHF_NATIVE_THREADS: "" };
  return spawnSync(process.execPath, args, { env: { ...inherited, ...env }, encoding: "utf8", cwd: own });
};
/** Loads the addon of a package in a process of its own; its settings, or the message of the error. */
const load = (root: string, env: NodeJS.ProcessEnv = {}) => {
  const code = `
    import { loadAddon } from ${JSON.stringify(join(root, "addon.ts"))};
    try {
      const { isa, threads } = loadAddon();
      console.log(JSON.stringify({ isa, threads }));
    } catch (error) {
      console.log(JSON.stringify({ error: error.message }));
    }`;
  const { stdout } = node(["--import", "tsx", "--input-type=module", "-e", code], env);
  return JSON.parse(stdout) as { isa?: string; threads?: number; error?: string };
};

it("takes the prebuilt addon before the one that the install built", () => {
  put("prebuilds", true);
  put("build", false);
  expect(load(copy).error).toBeUndefined();
});

it("takes the one that the install built where the prebuilt one does not load, a different C library say", () => {
  put("prebuilds", false);
  put("build", true);
  expect(load(copy).error).toBeUndefined();
});

it("builds nothing when the prebuilt addon loads", () => {
  put("prebuilds", true);
  const { status, stdout, stderr } = node([join(copy, "build.mjs")]);
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "", stderr: "" });
  expect(existsSync(join(copy, "build"))).toBe(false);
});

it("a build that fails does not fail the install, and the loader says where its output is", () => {
  const noCompiler = { CC: "false", CXX: "false" };
  const { status, stderr } = node([join(copy, "build.mjs"), "--optional"], noCompiler);
  expect(status).toBe(0);
  expect(stderr).toContain("could not be built");
  const { error } = load(copy);
  expect(error).toContain("The native addon is not built");
  expect(error).toContain(`${addonIn(copy, "prebuilds")}: does not exist`);
  const log = join(copy, "build", "failure.log");
  expect(error).toContain(log);
  expect(readFileSync(log, "utf8")).toContain("gyp ERR!");
  expect(node([join(copy, "build.mjs")], noCompiler).status).toBe(1); // the command that people run
});

it("obeys the environment, and refuses what does not exist", () => {
  expect(load(own, { RLHF_NATIVE_ISA: "portable", RLHF_NATIVE_THREADS: "3" })).toEqual({
    isa: "portable",
    threads: 3,
  });
  expect(load(own, { RLHF_NATIVE_ISA: "sse" }).error).toMatch(
    /RLHF_NATIVE_ISA must be one of .*portable, got sse/,
  );
  expect(load(own, { RLHF_NATIVE_THREADS: "none" }).error).toMatch(
    /RLHF_NATIVE_THREADS must be 1 to 256, got none/,
  );
  expect(load(own, { RLHF_NATIVE_ADDON: "/no/such.node" }).error).toContain("/no/such.node: does not exist");
});

it("the choice of a backend passes over a missing addon and says why", () => {
  const code = `
    import { useBackend } from ${JSON.stringify(join(own, "../tensor/backend.ts"))};
    console.log(JSON.stringify(await useBackend("auto")));`;
  const args = ["--import", "tsx", "--input-type=module", "-e", code];
  const { stdout } = node(args, { RLHF_NATIVE_ADDON: "/no/such.node" });
  const { name, reason } = JSON.parse(stdout);
  expect(name).toBe("wasm");
  expect(reason).toMatch(
    /not native: The native addon is not built.*such\.node: does not exist.*npx rlhf-backend-native/s,
  );
});

it("worker threads of Node may use it in turns and end", async () => {
  loadAddon();
  const code = `
    const { workerData } = require("node:worker_threads");
    const addon = require(workerData);
    const a = new Float32Array(90000).fill(1), c = new Float32Array(90000);
    for (let i = 0; i < 20; i++) addon.multiply(a, a, c, 300, 300, 300, false, false, [0], [0]);
    if (c.some((x) => x !== 300)) throw new Error("wrong product");`;
  const run = () =>
    new Promise((resolve, reject) => {
      new Worker(code, { eval: true, workerData: built }).on("error", reject).on("exit", resolve);
    });
  expect(await Promise.all([run(), run(), run()])).toEqual([0, 0, 0]);
});
