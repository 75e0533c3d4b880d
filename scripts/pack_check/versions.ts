import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must, pnpm, run } from "./commands.ts";
import { root } from "./places.ts";

/** From a clean clone: `changeset version` gives all packages one version, and a dry run publishes each of them. */
export async function releaseProblems(): Promise<ReadonlyArray<string>> {
  const clone = mkdtempSync(join(tmpdir(), "rlhf-release-"));
  const inClone = { cwd: clone };
  try {
    await must(["git", "clone", "--quiet", root, clone], inClone);
    await must(pnpm("install", "--frozen-lockfile", "--prefer-offline"), inClone);
    await must(pnpm("changeset", "version"), inClone);
    const manifests = readdirSync(join(clone, "packages")).map((folder) =>
      JSON.parse(readFileSync(join(clone, "packages", folder, "package.json"), "utf8")),
    );
    const versions = [...new Set(manifests.map(({ version }) => version as string))];
    // The versions of the clone are not committed, and nothing is published.
    const dry = await run(pnpm("-r", "publish", "--dry-run", "--no-git-checks"), inClone);
    const printed = dry.stdout + dry.stderr;
    const problems = manifests
      .filter(({ name, version }) => !printed.includes(`${name}@${version}`))
      .map(({ name }) => `release: the dry run does not publish ${name}`);
    if (versions.length > 1 || !versions[0]!.startsWith("0."))
      problems.push(`release: one version below 1.0 is expected, changesets gives ${versions.join(", ")}`);
    if (dry.status !== 0) problems.push(`release: the dry run fails:\n${printed}`);
    console.log(`release: ${manifests.length} packages become ${versions.join(", ")}`);
    return problems;
  } finally {
    rmSync(clone, { recursive: true, force: true });
  }
}
