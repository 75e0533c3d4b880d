/**
 * Writes the table of docs/fidelity.md from what the tests against running references measure: npx tsx scripts/fidelity.ts.
 * The text around the table is written by hand.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FidelityNote, GoldenSource } from "../packages/core/testing/fidelity.ts";

const page = "docs/fidelity.md";
const folder = mkdtempSync(join(tmpdir(), "fidelity-"));
const notesFile = join(folder, "notes.jsonl");
writeFileSync(notesFile, "");
const tests = readdirSync("packages")
  .flatMap((name) => readdirSync(`packages/${name}`).map((file) => `packages/${name}/${file}`))
  .filter((file) => file.endsWith("_test.ts"))
  .filter((file) => readFileSync(file, "utf8").includes("expectFidelity"));
execFileSync("npx", ["vitest", "run", ...tests], {
  stdio: "inherit",
  env: { ...process.env, RLHF_FIDELITY_NOTES: notesFile },
});

/** The largest error of every formula, over backends and cases. */
const worst = new Map<string, FidelityNote>();
for (const line of readFileSync(notesFile, "utf8").split("\n").filter(Boolean)) {
  const note: FidelityNote = JSON.parse(line);
  const name = `${note.test}: ${note.formula}`;
  const known = worst.get(name);
  if (known === undefined || note.error > known.error) worst.set(name, note);
}
rmSync(folder, { recursive: true });

const rows = [...worst].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, note]) => rowOf(note));
const table = [
  "| formula | reference | largest error | allowed | test |",
  "|---|---|---|---|---|",
  ...rows,
].join("\n");
const text = readFileSync(page, "utf8");
const [begin, end] = ["<!-- measured -->", "<!-- end -->"];
const [before, after] = [text.indexOf(begin) + begin.length, text.indexOf(end)];
writeFileSync(page, `${text.slice(0, before)}\n\n${table}\n\n${text.slice(after)}`);

function rowOf({ formula, source, error, limit, test }: FidelityNote): string {
  const found = limit === 0 && error === 0 ? "equal" : error.toExponential(1);
  const allowed = limit === 0 ? "none" : limit.toExponential(0);
  const reference = source === undefined ? "our own training pass" : referenceOf(source);
  const name = formula.replaceAll("|", "\\|");
  return `| ${name} | ${reference} | ${found} | ${allowed} | [${test.replace("packages/", "")}](../${test}) |`;
}

function referenceOf({ script, versions }: GoldenSource): string {
  const named = Object.entries(versions)
    .filter(([name]) => name !== "python" && name !== "numpy")
    .map(([name, version]) => `${name} ${version}`);
  return `${named.join(", ")} ([${script.split("/").at(-1)}](../${script}))`;
}
