#!/usr/bin/env node
// Builds the addon, as the command `rlhf-backend-native` and, with --optional, when the workspace is installed: there a
// failing build is a warning, because other tensor backends work without it. Does nothing when a prebuilt addon loads or
// when the last build had the same sources. What a failed build printed stays in build/failure.log, which the loader
// names when somebody asks for the backend.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const built = join(folder, "build", "Release", "native.node");
const stamp = join(folder, "build", "sources.sha256");
const failure = join(folder, "build", "failure.log");
const prebuilt = join(folder, "prebuilds", `${process.platform}-${process.arch}`, "native.node");

const sources = ["binding.gyp", ...readdirSync(join(folder, "src")).map((name) => join("src", name))].sort();
const hash = createHash("sha256").update(`${process.platform} ${process.arch}\n`);
for (const name of sources) hash.update(name).update(readFileSync(join(folder, name)));
const digest = hash.digest("hex");

const loads = (path) => {
  try {
    return existsSync(path) && Boolean(require(path));
  } catch {
    return false;
  }
};
const upToDate = () => existsSync(built) && existsSync(stamp) && readFileSync(stamp, "utf8") === digest;

/** node-gyp of the workspace; people who build the published package fetch it for the occasion. */
const nodeGyp = () => {
  try {
    return [process.execPath, require.resolve("node-gyp/bin/node-gyp.js")];
  } catch {
    return ["npx", "--yes", "node-gyp@12.4.0"];
  }
};

/** Returns whether the addon was built. */
const build = () => {
  const [program, ...first] = nodeGyp();
  // Headers that came with this Node spare a download.
  const prefix = dirname(dirname(process.execPath));
  const headers = existsSync(join(prefix, "include", "node", "node_api.h")) ? [`--nodedir=${prefix}`] : [];
  const result = spawnSync(program, [...first, "rebuild", "-j", "max", ...headers], {
    cwd: folder,
    encoding: "utf8",
  });
  if (result.status === 0) {
    writeFileSync(stamp, digest);
    return true;
  }
  mkdirSync(dirname(failure), { recursive: true });
  writeFileSync(failure, `${result.stdout}${result.stderr}${result.error ?? ""}`);
  console.warn(
    `@rlhf/backend-native: the addon could not be built, see ${failure}; without it, wasm is used.`,
  );
  return false;
};

const prebuild = process.argv.includes("--prebuild");
const done = (!prebuild && loads(prebuilt)) || upToDate() || build();
if (!done && !process.argv.includes("--optional")) process.exit(1);
if (prebuild) {
  mkdirSync(dirname(prebuilt), { recursive: true });
  copyFileSync(built, prebuilt);
}
