import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { must } from "./commands.ts";
import { cache } from "./places.ts";

/** What runs an example. */
export interface Runtime {
  readonly name: string;
  readonly command: (file: string) => ReadonlyArray<string>;
}

/** A version of Node, and a version of npm that people have with it. */
export interface Node extends Runtime {
  readonly program: string;
  readonly npm: string;
}

const folder = join(cache, "runtimes");
const inside = (path: string): string => join(folder, "node_modules", path);
const platform = `${process.platform}-${process.arch}`;

/** All of them are npm packages. Between them the three Nodes meet the three npms in use. */
const dependencies = {
  node20: `npm:node-${platform}@20.20.2`,
  node22: `npm:node-${platform}@22.23.3`,
  node24: `npm:node-${platform}@24.21.0`,
  npm10: "npm:npm@10.9.9",
  npm11: "npm:npm@11.19.1",
  npm12: "npm:npm@12.2.0",
  deno: "2.9.6",
  bun: "1.4.5",
};

const node = (version: number, npm: number): Node => {
  const program = inside(`node${version}/bin/node`);
  const name = `Node ${version}`;
  return { name, program, npm: inside(`npm${npm}/bin/npm-cli.js`), command: (file) => [program, file] };
};

export const nodes: ReadonlyArray<Node> = [node(20, 10), node(22, 11), node(24, 12)];

/** The packages `deno` and `bun` only start these programs. */
export const others: ReadonlyArray<Runtime> = [
  {
    name: "Deno",
    command: (file) => [
      inside(
        `@deno/${platform === "linux-x64" || platform === "linux-arm64" ? `${platform}-glibc` : platform}/deno`,
      ),
      "run",
      "--allow-all",
      "--node-modules-dir=manual",
      file,
    ],
  },
  {
    name: "Bun",
    command: (file) => [inside(`@oven/bun-${platform.replace("arm64", "aarch64")}/bin/bun`), file],
  },
];

/** Downloads the runtimes, 700 MB, unless they are there. */
export async function installRuntimes(): Promise<void> {
  const manifest = join(folder, "package.json");
  const wanted = JSON.stringify({ private: true, dependencies });
  const installed = join(folder, "node_modules/.package-lock.json");
  if (existsSync(installed) && readFileSync(manifest, "utf8") === wanted) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(manifest, wanted);
  await must(["npm", "install", "--ignore-scripts", "--no-package-lock"], { cwd: folder });
}
