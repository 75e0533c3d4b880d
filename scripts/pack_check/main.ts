/**
 * Packs every package and tries each by itself, as people will have it: installed by plain npm in an empty folder, its README's
 * example run on every runtime, its types, its tree-shaking and its costs checked. `npm run pack:check`, or
 * `npm run pack:check -- kl ppo` for some packages. Takes minutes, and needs the registry of npm.
 */
import { absenceProblems } from "./absent.ts";
import { type Budget, budgets } from "./budgets.ts";
import { run } from "./commands.ts";
import { bundleOf, importTime } from "./costs.ts";
import { type Installation, installAlone } from "./installation.ts";
import { startRegistry } from "./registry.ts";
import { installRuntimes, nodes, others, type Runtime } from "./runtimes.ts";
import { packAll, type Tarball } from "./tarballs.ts";
import { exampleTypeProblems, typeProblems } from "./types.ts";
import { releaseProblems } from "./versions.ts";

const chosen = process.argv.slice(2);
const newest = nodes.at(-1)!;
/** They have native code or, in the case of `cuda` and `webgpu`, bring some. */
const onlyNode = new Set(["@rlhf/backend-cuda", "@rlhf/backend-native", "@rlhf/backend-webgpu"]);

console.log("Packing, and fetching the runtimes …");
const tarballs = await packAll();
await installRuntimes();
const registry = await startRegistry(tarballs);
const problems: Array<string> = [];
const table: Record<string, Record<string, string>> = {};
for (const tarball of tarballs.filter(({ folder }) => chosen.length === 0 || chosen.includes(folder))) {
  const row: Record<string, string> = {};
  const found = [...(await typeProblems(tarball))];
  const installations = await Promise.all(
    nodes.map(async (node) => ({
      node,
      installed: await installAlone(tarball, { registry, node, tarballs }),
    })),
  );
  for (const { node, installed } of installations) {
    found.push(...installed.problems);
    found.push(...(await tryExample(node, installed.example.js, installed, row)));
    if (node !== newest) continue;
    found.push(...(await exampleTypeProblems(installed)));
    found.push(...(await costProblems(tarball, installed, row)));
    if (onlyNode.has(tarball.name)) continue;
    for (const runtime of others)
      found.push(...(await tryExample(runtime, installed.example.ts, installed, row)));
  }
  table[tarball.name] = row;
  console.log(`${found.length === 0 ? "✓" : "✗"} ${tarball.name}`);
  for (const problem of found) console.log(`  ${problem}`);
  problems.push(...found);
}
if (chosen.length === 0) {
  const release = [...(await releaseProblems()), ...(await absenceProblems(newest))];
  for (const problem of release) console.log(problem);
  problems.push(...release);
}
registry.close();
console.table(table);
console.log("In brackets: what is allowed (scripts/pack_check/budgets.ts).");
if (problems.length > 0) {
  console.error(`${problems.length} problems`);
  process.exitCode = 1;
}

/** Runs the README's example; how long it took goes into the table. */
async function tryExample(
  runtime: Runtime,
  file: string,
  { folder }: Installation,
  row: Record<string, string>,
): Promise<ReadonlyArray<string>> {
  const start = performance.now();
  const { status, stdout, stderr } = await run(runtime.command(file), { cwd: folder });
  if (status !== 0 && /NoAdapter|CudaUnavailable/.test(stderr)) {
    row[runtime.name] = "no GPU here"; // and the example has said so
    return [];
  }
  row[runtime.name] = status === 0 ? `${((performance.now() - start) / 1000).toFixed(1)} s` : "fails";
  return status === 0 ? [] : [`the example fails on ${runtime.name}:\n${stdout}${stderr}`];
}

/** Measures what a package costs and compares it with its budget. */
async function costProblems(
  { name }: Tarball,
  installed: Installation,
  row: Record<string, string>,
): Promise<ReadonlyArray<string>> {
  const budget = budgets[name];
  if (budget === undefined) return [`${name} has no budget in scripts/pack_check/budgets.ts`];
  const bundle = await bundleOf(name, budget.function, installed);
  const costs: Readonly<Record<Exclude<keyof Budget, "function">, number>> = {
    megabytes: installed.megabytes,
    importing: await importTime(name, installed, newest),
    kilobytes: bundle.kilobytes,
  };
  const cell = (key: keyof typeof costs, unit: string): string =>
    `${costs[key].toFixed(costs[key] < 10 ? 1 : 0)} ${unit} (${budget[key]})`;
  row.installed = `${installed.packages.length} packages, ${cell("megabytes", "MB")}`;
  row.import = cell("importing", "ms");
  row["one function"] = `${budget.function}, ${cell("kilobytes", "kB")}`;
  return (Object.keys(costs) as Array<keyof typeof costs>)
    .filter((key) => costs[key] > budget[key])
    .map((key) => `${key}: ${costs[key].toFixed(1)} is more than the ${budget[key]} allowed`);
}
