import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { run } from "./commands.ts";
import type { Installation } from "./installation.ts";
import { root } from "./places.ts";
import { filesIn, type Tarball } from "./tarballs.ts";

/** What publint and "are the types wrong" say of a tarball; the packages are for `import` alone, not for `require`. */
export async function typeProblems({ file, manifest }: Tarball): Promise<ReadonlyArray<string>> {
  const bytes = readFileSync(file);
  const tarball = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  const { messages, pkg } = await publint({ pack: { tarball }, level: "warning" });
  const entrypoints = publicModules(file).map((name) => (name === "mod" ? "." : `./${name}`));
  const checked = await checkPackage(createPackageFromTarballData(bytes), { entrypoints });
  if (checked.types === false) return ["attw: the package has no types"];
  const wrong = checked.problems.filter(
    (problem) => !("resolutionKind" in problem) || ["node16-esm", "bundler"].includes(problem.resolutionKind),
  );
  return [
    ...messages.map((message) => `publint: ${formatMessage(message, pkg ?? manifest)}`),
    ...wrong.map((problem) => `attw: ${JSON.stringify(problem)}`),
  ];
}

/** What can be imported of a package: its modules without underscore that are no commands. */
const publicModules = (tarball: string): ReadonlyArray<string> =>
  filesIn(tarball)
    .flatMap((path) => /^dist\/([^_/][^/]*)\.js$/.exec(path)?.[1] ?? [])
    .filter((name) => !name.startsWith("rlhf_"));

/** Type-checks the example as its author would, with the declarations of our packages, all of them. */
export async function exampleTypeProblems({ folder, example }: Installation): Promise<ReadonlyArray<string>> {
  const compilerOptions = {
    noEmit: true,
    strict: true,
    module: "NodeNext",
    target: "ES2023",
    lib: ["ES2023"],
    types: ["node"],
    typeRoots: [join(root, "node_modules/@types")],
  };
  const settings = { compilerOptions, files: [example.ts] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(settings));
  const { stdout } = await run([join(root, "node_modules/.bin/tsc"), "-p", folder], { cwd: folder });
  const lines = stdout.split("\n").filter((line) => /error TS/.test(line));
  // Errors in declarations of other people are theirs.
  return lines.filter((line) => !/node_modules\/(?!@rlhf\/)/.test(line)).map((line) => `tsc: ${line}`);
}
