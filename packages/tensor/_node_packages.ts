/**
 * Packages that only Node has, found at run time: native addons are optional peers, which no bundler should look for.
 * Node's own modules are asked for by `process.getBuiltinModule`, so that nothing here keeps a browser from importing it.
 */
export interface FoundPackage {
  readonly name: string;
  readonly folder: string;
  readonly require: NodeJS.Require;
}

/** False in a browser, true in Deno and Bun. */
export const runsInNode =
  (globalThis as { process?: Partial<NodeJS.Process> }).process?.getBuiltinModule !== undefined;

const builtin = <Name extends "node:fs" | "node:module" | "node:path" | "node:url" | "node:util">(
  name: Name,
) => process.getBuiltinModule(name);

/** A package as this file sees it or, for optional peers, as the program that runs does. */
export const findPackage = (name: string): FoundPackage | undefined => {
  if (!runsInNode) return undefined;
  const { dirname, join } = builtin("node:path");
  for (const origin of [import.meta.url, join(process.cwd(), "package.json")]) {
    const require = builtin("node:module").createRequire(origin);
    try {
      return { name, folder: dirname(require.resolve(`${name}/package.json`)), require };
    } catch {
      // Not seen from here.
    }
  }
  return undefined;
};

/** Imports a package that was found, as a module. */
export const importPackage = ({ name, require }: FoundPackage): Promise<unknown> =>
  import(/* @vite-ignore */ builtin("node:url").pathToFileURL(require.resolve(name)).href);

/** Whether tfjs-node's native library has been built or downloaded. */
export const hasBinding = ({ folder }: FoundPackage): boolean => {
  const { existsSync, readdirSync } = builtin("node:fs");
  const { join } = builtin("node:path");
  const lib = join(folder, "lib");
  return (
    existsSync(lib) &&
    readdirSync(lib).some(
      (entry) => entry.startsWith("napi-v") && existsSync(join(lib, entry, "tfjs_binding.node")),
    )
  );
};

/** tfjs-node still calls two functions that Node 23 took out of `node:util`. */
export const restoreRemovedNodeFunctions = (): void => {
  const util = builtin("node:util") as unknown as Record<string, (value: unknown) => boolean>;
  util.isNullOrUndefined ??= (value) => value === null || value === undefined;
  util.isArray ??= Array.isArray;
};
