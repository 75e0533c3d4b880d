import { type Budget, budgets } from "./budgets.ts";
import { run } from "./commands.ts";
import { bundleOf, importTime } from "./costs.ts";
import { type Installation, installAlone } from "./installation.ts";
import type { Registry } from "./registry.ts";
import { nodes, others, type Runtime } from "./runtimes.ts";
import type { Tarball } from "./tarballs.ts";
import { exampleTypeProblems, typeProblems } from "./types.ts";

/** A line of the table. */
export type Row = Record<string, string>;

const newest = nodes.at(-1)!;

/** Everything about one package: its types, its installation and example on every runtime, its costs. */
export async function checkPackage(
  tarball: Tarball,
  registry: Registry,
  tarballs: ReadonlyArray<Tarball>,
): Promise<{ readonly row: Row; readonly problems: ReadonlyArray<string> }> {
  const budget = budgets[tarball.name];
  if (budget === undefined)
    return { row: {}, problems: ["it has no budget in scripts/pack_check/budgets.ts"] };
  const row: Row = {};
  const problems = [...(await typeProblems(tarball))];
  for (const node of nodes) {
    const installed = await installAlone(tarball, { registry, node, tarballs });
    problems.push(...installed.problems);
    if (installed.packages.length === 0) continue; // nothing was installed
    problems.push(...(await exampleProblems(node, installed.example.js, installed, budget, row)));
    if (node !== newest) continue;
    problems.push(...(await exampleTypeProblems(installed)));
    problems.push(...(await costProblems(tarball.name, installed, budget, row)));
    for (const runtime of budget.nodeOnly ? [] : others)
      problems.push(...(await exampleProblems(runtime, installed.example.ts, installed, budget, row)));
  }
  return { row, problems };
}

/** Runs the README's example; how long it took goes into the table. */
async function exampleProblems(
  runtime: Runtime,
  file: string,
  { folder }: Installation,
  { device }: Budget,
  row: Row,
): Promise<ReadonlyArray<string>> {
  const start = performance.now();
  const { status, stdout, stderr } = await run(runtime.command(file), { cwd: folder });
  if (status !== 0 && device !== undefined && stderr.includes(device.missing)) {
    row[runtime.name] = `no ${device.name} here`; // and the example has said so
    return [];
  }
  row[runtime.name] = status === 0 ? `${((performance.now() - start) / 1000).toFixed(1)} s` : "fails";
  return status === 0 ? [] : [`the example fails on ${runtime.name}:\n${stdout}${stderr}`];
}

/** Measures what a package costs and compares it with its budget. */
async function costProblems(
  name: string,
  installed: Installation,
  budget: Budget,
  row: Row,
): Promise<ReadonlyArray<string>> {
  const bundle = await bundleOf(name, budget.function, installed);
  const costs = {
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
