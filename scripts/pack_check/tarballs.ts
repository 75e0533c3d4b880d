import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
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

/** Builds every package anew and packs it, as publishing would. */
export async function packAll(): Promise<ReadonlyArray<Tarball>> {
  const folders = readdirSync(join(root, "packages"));
  // A file that is left of an earlier build would be packed too.
  for (const folder of folders)
    rmSync(join(root, "packages", folder, "dist"), { recursive: true, force: true });
  rmSync(join(root, "node_modules/.cache/tsbuild"), { recursive: true, force: true });
  const target = join(cache, "tarballs");
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  await must(pnpm("-r", "--filter", "./packages/*", "pack", "--pack-destination", target), { cwd: root });
  return folders.map((folder) => {
    const { name, version } = JSON.parse(
      readFileSync(join(root, "packages", folder, "package.json"), "utf8"),
    );
    const file = join(target, `${name.slice(1).replace("/", "-")}-${version}.tgz`);
    const manifest = JSON.parse(fileIn(file, "package.json"));
    return { name, version, folder, file, manifest, readme: fileIn(file, "README.md") };
  });
}

/** The names of a tarball's files. */
export const filesIn = (tarball: string): ReadonlyArray<string> =>
  tar("-tzf", tarball)
    .split("\n")
    .filter(Boolean)
    .map((path) => path.replace(/^package\//, ""));

const fileIn = (tarball: string, path: string): string => tar("-xzOf", tarball, `package/${path}`);

const tar = (...args: ReadonlyArray<string>): string => execFileSync("tar", args, { encoding: "utf8" });
