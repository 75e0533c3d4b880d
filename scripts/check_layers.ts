/**
 * Holds the layering of docs/architecture.md: a package imports only from layers below its own, and only what its
 * package.json declares. Run by `npm test`.
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
  for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".ts") || /(^|\/)(node_modules|dist)\//.test(file)) continue;
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
