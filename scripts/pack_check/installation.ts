import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { transformSync } from "esbuild";
import { brings, scripted } from "./budgets.ts";
import { run } from "./commands.ts";
import { installedAt } from "./places.ts";
import { exampleOf, installedTogether } from "./readme.ts";
import type { Registry } from "./registry.ts";
import type { Node } from "./runtimes.ts";
import type { Tarball } from "./tarballs.ts";

export interface Installation {
  readonly folder: string;
  /** The README's example, as TypeScript and as JavaScript. */
  readonly example: { readonly ts: string; readonly js: string };
  readonly packages: ReadonlyArray<string>;
  readonly megabytes: number;
  readonly problems: ReadonlyArray<string>;
}

/** What the README tells people to install, by plain npm in an empty folder. */
export async function installAlone(
  { folder: name, readme }: Tarball,
  { registry, node, tarballs }: { registry: Registry; node: Node; tarballs: ReadonlyArray<Tarball> },
): Promise<Installation> {
  const folder = installedAt(node.name, name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, ".npmrc"), `@rlhf:registry=${registry.url}\n`);
  writeFileSync(join(folder, "package.json"), '{ "private": true, "type": "module" }');
  const example = { ts: join(folder, "example.ts"), js: join(folder, "example.js") };
  writeFileSync(example.ts, exampleOf(readme));
  writeFileSync(example.js, transformSync(exampleOf(readme), { loader: "ts", target: "es2022" }).code);

  const asked = installedTogether(readme);
  const path = [dirname(node.program), process.env.PATH].join(delimiter);
  const command = [node.program, node.npm, "install", "--prefer-offline", ...asked];
  const { status, stdout, stderr } = await run(command, { cwd: folder, env: { PATH: path } });
  if (status !== 0) {
    const problems = [`npm install failed on ${node.name}:\n${stdout}${stderr}`];
    return { folder, example, packages: [], megabytes: 0, problems };
  }
  const packages = installedIn(folder);
  const expected = expectedPackages(asked, tarballs);
  const problems = [
    ...warningsIn(stderr).map((line) => `npm warns on ${node.name}: ${line}`),
    ...packages.filter((each) => !expected.has(each)).map((each) => `${each} was installed, unexpectedly`),
  ];
  return { folder, example, packages, megabytes: bytesIn(join(folder, "node_modules")) / 1e6, problems };
}

/**
 * npm's warnings, but for those that are no fault of ours: settings of this machine's npm, and other people's packages
 * that ask for a newer Node or have scripts.
 */
function warningsIn(stderr: string): ReadonlyArray<string> {
  const lines = stderr.split("\n").filter((line) => /^npm (warn|WARN)/.test(line));
  const scripts = lines.filter((line) => /install-scripts +\S+@\S+ \(/.test(line));
  const foreign = scripts.every((line) => scripted.some((name) => line.includes(` ${name}@`)));
  return lines.filter((line) => {
    if (/Unknown (user|env|global|cli) config/.test(line)) return false;
    if (/install-scripts/.test(line)) return !foreign;
    return !/EBADENGINE/.test(line) || /@rlhf\//.test(line);
  });
}

function installedIn(folder: string): ReadonlyArray<string> {
  const lock = JSON.parse(readFileSync(join(folder, "node_modules/.package-lock.json"), "utf8"));
  return Object.keys(lock.packages).map((path) => path.replace(/^.*node_modules\//, ""));
}

/** What was asked for and what it depends on: packages of ours by their manifests, others by the list of budgets.ts. */
function expectedPackages(
  asked: ReadonlyArray<string>,
  tarballs: ReadonlyArray<Tarball>,
): ReadonlySet<string> {
  const expected = new Set<string>();
  const add = (name: string): void => {
    if (expected.has(name)) return;
    expected.add(name);
    const manifest = tarballs.find((tarball) => tarball.name === name)?.manifest;
    const peers = Object.keys(manifest?.peerDependencies ?? {});
    const required = peers.filter((peer) => manifest!.peerDependenciesMeta?.[peer]?.optional !== true);
    for (const each of [...Object.keys(manifest?.dependencies ?? {}), ...required, ...(brings[name] ?? [])])
      add(each);
  };
  for (const each of asked) add(each.replace(/(?<=.)@.*/, "")); // without its version
  return expected;
}

function bytesIn(folder: string): number {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
}
