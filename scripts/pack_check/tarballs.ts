import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { must, pnpm } from "./commands.ts";
import { cache, root } from "./places.ts";

/** The part of a package.json that is read here. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

/** A package as it would be published. */
export interface Tarball {
  readonly name: string;
  readonly version: string;
  /** Its folder in packages/. */
  readonly folder: string;
  readonly file: string;
  readonly manifest: Manifest;
  readonly readme: string;
}

const target = join(cache, "tarballs");

/** Every package as publishing would pack it: built and packed anew, unless nothing has changed since the last time. */
export async function packAll(): Promise<ReadonlyArray<Tarball>> {
  const folders = readdirSync(join(root, "packages"));
  const packed = join(target, "sources.sha256");
  const sources = await hashOfSources();
  if (!existsSync(packed) || readFileSync(packed, "utf8") !== sources) {
    // A file that is left of an earlier build would be packed too.
    for (const folder of folders)
      rmSync(join(root, "packages", folder, "dist"), { recursive: true, force: true });
    rmSync(join(root, "node_modules/.cache/tsbuild"), { recursive: true, force: true });
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target, { recursive: true });
    await must(pnpm("run", "build"), { cwd: root });
    await must(pnpm("-r", "--filter", "./packages/*", "pack", "--pack-destination", target), { cwd: root });
    writeFileSync(packed, sources);
  }
  return folders.map((folder) => {
    const { name, version } = JSON.parse(
      readFileSync(join(root, "packages", folder, "package.json"), "utf8"),
    );
    const file = join(target, `${name.slice(1).replace("/", "-")}-${version}.tgz`);
    const manifest = JSON.parse(fileIn(file, "package.json"));
    return { name, version, folder, file, manifest, readme: fileIn(file, "README.md") };
  });
}

/** A hash of every file that decides what is packed. */
async function hashOfSources(): Promise<string> {
  const listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"];
  const files = await must([...listed, "packages", "tsconfig*.json", "pnpm-*.yaml"], { cwd: root });
  const hash = createHash("sha256");
  for (const file of files.trim().split("\n").sort()) {
    const path = join(root, file);
    hash.update(`${file}\n`).update(existsSync(path) ? readFileSync(path) : "deleted");
  }
  return hash.digest("hex");
}

/** The names of a tarball's files. */
export const filesIn = (tarball: string): ReadonlyArray<string> =>
  tar("-tzf", tarball)
    .split("\n")
    .filter(Boolean)
    .map((path) => path.replace(/^package\//, ""));

const fileIn = (tarball: string, path: string): string => tar("-xzOf", tarball, `package/${path}`);

const tar = (...args: ReadonlyArray<string>): string => execFileSync("tar", args, { encoding: "utf8" });
