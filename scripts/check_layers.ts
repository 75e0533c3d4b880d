/**
 * Holds the layering of docs/architecture.md: a package imports only from layers below its own, and only what its
 * package.json declares. Run by `npm test`. Every package has the same exports.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const layers: ReadonlyArray<ReadonlyArray<string>> = [
  ["core"],
  ["hub"],
  ["tensor", "tokenizer", "data"],
  ["transformer", "optim", "kl"],
  ["pretrain", "sft", "reward", "bandit-env"],
  ["policy-gradient", "ppo", "dpo", "labeler", "eval", "doctor"],
];
/** Loaded by name at run time, or types and kernels only: outside the layers. */
const outside = ["backend-cuda", "backend-native", "backend-webgpu"];
/** The one import inside a layer. */
const sideways = new Set(["ppo → policy-gradient"]);
/** These must install and run where tfjs cannot. */
const withoutTfjs = new Set(["core", "hub", "tokenizer", "data", "labeler", "eval"]);

/** Sources, and for `tsc -b` declarations: of sources it would not know the public name, and write `dist/` into what it emits. */
const exported = {
  ".": { declarations: "./dist/mod.d.ts", default: "./mod.ts" },
  "./_*": null,
  "./*": { declarations: "./dist/*.d.ts", default: "./*.ts" },
  "./package.json": "./package.json",
};

const root = join(import.meta.dirname, "..");
const rootManifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const layerOf = (name: string) => layers.findIndex((layer) => layer.includes(name));
const problems: Array<string> = [];

for (const name of readdirSync(join(root, "packages"))) {
  const folder = join(root, "packages", name);
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const shipped = { ...manifest.dependencies, ...manifest.peerDependencies };
  const declared = new Set(Object.keys({ ...shipped, ...manifest.devDependencies }));
  if (!outside.includes(name) && layerOf(name) < 0)
    problems.push(`packages/${name}: no layer; add it in scripts/check_layers.ts`);
  if (JSON.stringify(manifest.exports) !== JSON.stringify(exported))
    problems.push(`packages/${name}/package.json: exports must be ${JSON.stringify(exported)}`);
  for (const file of sourcesIn(folder)) {
    const test = file.endsWith("_test.ts") || file.startsWith("testing/");
    for (const imported of importsOf(readFileSync(join(folder, file), "utf8"))) {
      const where = `packages/${name}/${file}`;
      const target = packageOf(imported);
      if (target === undefined) continue;
      if (target === `@rlhf/${name}`)
        problems.push(`${where}: imports its own package by name; use a relative path`);
      else if (test && target in rootManifest.devDependencies) continue;
      else if (!declared.has(target))
        problems.push(`${where}: imports ${target}, which its package.json does not declare`);
      else if (!test && !(target in shipped))
        problems.push(`${where}: imports ${target}, a development dependency only`);
      if (target.startsWith("@tensorflow/") && withoutTfjs.has(name))
        problems.push(`${where}: ${name} never loads tfjs`);
      const below = target.startsWith("@rlhf/") ? target.slice("@rlhf/".length) : undefined;
      if (below === undefined || test || outside.includes(below) || outside.includes(name)) continue;
      if (layerOf(below) >= layerOf(name) && !sideways.has(`${name} → ${below}`)) {
        problems.push(
          `${where}: ${name} (layer ${layerOf(name)}) must not import ${below} (layer ${layerOf(below)})`,
        );
      }
    }
  }
}

if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}

/** All TypeScript below a folder, but for what is built or installed there: links in node_modules lead to all other packages. */
function sourcesIn(folder: string, below = ""): Array<string> {
  return readdirSync(join(folder, below), { withFileTypes: true }).flatMap((entry) => {
    const path = join(below, entry.name);
    if (entry.isDirectory())
      return /^(node_modules|dist|build)$/.test(entry.name) ? [] : sourcesIn(folder, path);
    return entry.name.endsWith(".ts") ? [path] : [];
  });
}

function importsOf(source: string): Array<string> {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, "");
  return Array.from(code.matchAll(/(?:^|[\s;}])(?:from|import)\s*\(?\s*"([^"]+)"/g), (match) => match[1]!);
}

/** `@scope/name/path` → `@scope/name`; nothing for relative paths and Node's own modules. */
function packageOf(specifier: string): string | undefined {
  if (specifier.startsWith(".") || specifier.startsWith("node:")) return undefined;
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}
