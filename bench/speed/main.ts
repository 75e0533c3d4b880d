/**
 * How fast the engine is, beside PyTorch on the same machine in the same minutes.
 *
 *     npm run bench                                 # everything
 *     npm run bench -- train                        # or generate, ppo, gemm, scaling
 *     npm run bench -- --python torch/bin/python    # the interpreter with PyTorch; or BENCH_PYTHON, or python3
 *     npm run bench -- --smoke                      # tiny and once, to see that everything runs
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { compare } from "./compare.ts";
import { comparisons } from "./measures.ts";
import { multiply } from "./multiply.ts";
import { findPyTorch } from "./python.ts";
import { scale } from "./scale.ts";
import { Session, threads } from "./session.ts";

const groups = ["train", "generate", "ppo", "gemm", "scaling"];
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: "string", default: process.env.BENCH_PYTHON ?? "python3" },
    smoke: { type: "boolean", default: false },
  },
});
const unknown = positionals.find((group) => !groups.includes(group));
if (unknown !== undefined) {
  console.error(`Cannot measure ${unknown}: choose from ${groups.join(", ")}`);
  process.exit(1);
}
const wanted = (group: string) => positionals.length === 0 || positionals.includes(group);

const pytorch = await findPyTorch(values.python);
const system = `${cpus()[0]?.model.trim()}, ${process.platform} ${process.arch}, Node ${process.versions.node}`;
console.log(`${system}, ${threads} threads a side, load before ${loadavg()[0]!.toFixed(2)}.\n`);
console.log(`${"missing" in pytorch ? pytorch.missing : `PyTorch ${pytorch.version}.`}\n`);

if (values.smoke) console.log("Everything is tiny and done once: the figures below mean nothing.\n");

const folder = mkdtempSync(join(tmpdir(), "rlhf-bench-"));
const python = "missing" in pytorch ? undefined : values.python;
const session = new Session({ folder, python, smoke: values.smoke });
try {
  const programs = new Set<string>();
  const chosen = comparisons.filter(({ group, peers }) => {
    if (!wanted(group)) return false;
    const known = programs.has(`${group} ${peers}`);
    programs.add(`${group} ${peers}`);
    return !(values.smoke && known); // other sizes of a program show nothing more
  });
  await compare(session, chosen);
  if (wanted("gemm")) await multiply(session);
  if (wanted("scaling")) await scale(session);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
