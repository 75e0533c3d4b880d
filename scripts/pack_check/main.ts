/**
 * Packs every package and tries each by itself, as people will have it: installed by plain npm in an empty folder, its README's
 * example run on every runtime, its types, its tree-shaking and its costs checked. `npm run pack:check`, or
 * `npm run pack:check -- kl ppo` for some packages. Takes minutes, and needs the registry of npm.
 */
import { availableParallelism } from "node:os";
import { absenceProblems } from "./absent.ts";
import { checkPackage, type Row } from "./check_package.ts";
import { startRegistry } from "./registry.ts";
import { installRuntimes, nodes } from "./runtimes.ts";
import { packAll } from "./tarballs.ts";
import { releaseProblems } from "./versions.ts";

const started = performance.now();
const chosen = process.argv.slice(2);
console.log("Packing, and fetching the runtimes …");
const [tarballs] = await Promise.all([packAll(), installRuntimes()]);
const unknown = chosen.filter((folder) => tarballs.every((tarball) => tarball.folder !== folder));
if (unknown.length > 0) throw new Error(`There is no packages/${unknown.join(", packages/")}`);
const registry = await startRegistry(tarballs);
const table = new Map<string, Row>();
const checks = tarballs
  .filter(({ folder }) => chosen.length === 0 || chosen.includes(folder))
  .map((tarball) => ({
    name: tarball.name,
    check: async (): Promise<ReadonlyArray<string>> => {
      const { row, problems } = await checkPackage(tarball, registry, tarballs);
      table.set(tarball.name, row);
      return problems;
    },
  }));
if (chosen.length === 0) checks.push({ name: "a release from a clean clone", check: releaseProblems });

const total = checks.length;
let [done, failed] = [0, 0];
const workers = Array.from({ length: Math.min(4, availableParallelism()) }, async () => {
  for (let next = checks.shift(); next !== undefined; next = checks.shift())
    report(next.name, await next.check());
});
await Promise.all(workers);
// This takes away from what was installed, and so comes last.
if (chosen.length === 0) report("what is absent", await absenceProblems(nodes.at(-1)!));
registry.close();
console.table(Object.fromEntries([...table].sort(([a], [b]) => a.localeCompare(b))));
console.log("In brackets: what is allowed (scripts/pack_check/budgets.ts).");
if (failed > 0) {
  console.error(`${failed} problems`);
  process.exitCode = 1;
}

/** Says how far the check is, and what it has found. */
function report(name: string, problems: ReadonlyArray<string>): void {
  failed += problems.length;
  done += 1;
  const seconds = Math.round((performance.now() - started) / 1000);
  console.log(
    `${problems.length === 0 ? "✓" : "✗"} ${name}  (${Math.min(done, total)} of ${total}, ${seconds} s)`,
  );
  for (const problem of problems) console.log(`  ${problem}`);
}
