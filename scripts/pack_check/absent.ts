import { rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { run } from "./commands.ts";
import { installedAt } from "./places.ts";
import type { Node } from "./runtimes.ts";

/** What the published packages say where something is missing that they need: what to install or to run. */
export async function absenceProblems(node: Node): Promise<ReadonlyArray<string>> {
  const tensor = { cwd: installedAt(node.name, "tensor") };
  const say = async (code: string): Promise<string> =>
    (await run([node.program, "--input-type=module", "-e", code], tensor)).stderr;
  const native = await say('import { useBackend } from "@rlhf/tensor"; await useBackend("native");');
  const remedy = "npm i @rlhf/backend-native";
  const problems = native.includes(remedy) ? [] : [`a missing backend: not "${remedy}" but\n${native}`];
  rmSync(join(tensor.cwd, "node_modules/effect"), { recursive: true });
  const effect = await say('import "@rlhf/tensor";');
  if (!effect.includes("Cannot find package 'effect'")) problems.push(`a missing peer: ${effect}`);
  return [...problems, ...(await missingAddonProblems(node))];
}

/** The published native backend without its prebuilt addon: it says what to run, and that builds one which works. */
async function missingAddonProblems(node: Node): Promise<ReadonlyArray<string>> {
  const folder = installedAt(node.name, "backend-native");
  const options = { cwd: folder, env: { PATH: [dirname(node.program), process.env.PATH].join(delimiter) } };
  rmSync(join(folder, "node_modules/@rlhf/backend-native/prebuilds"), { recursive: true, force: true });
  const file = join(folder, "register.js");
  writeFileSync(file, 'import { register } from "@rlhf/backend-native"; register();');
  const without = await run([node.program, file], options);
  if (!without.stderr.includes("npx rlhf-backend-native"))
    return [`a missing addon must be answered with what to run, got:\n${without.stderr}`];
  const built = await run([node.program, node.npm, "exec", "rlhf-backend-native"], options);
  const after = await run([node.program, file], options);
  return after.status === 0
    ? []
    : [`npx rlhf-backend-native must build an addon that loads:\n${built.stderr}${after.stderr}`];
}
