import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { CodeBlock } from "./code_blocks.ts";

/** Programs that are not ours and need not be here, each with what it does. Their lines are not checked. */
export const foreignPrograms: Readonly<Record<string, string>> = {
  pip: "installs NVIDIA's libraries, which only GPUs need",
  python3: "makes an environment for PyTorch, which only measurements need",
  "torch/bin/pip": "installs PyTorch, which only measurements need",
};

/** What stands in a shell block, one command after the other, in words. */
export function commandsOf({ code }: CodeBlock): Array<ReadonlyArray<string>> {
  return code
    .split(/\n|&&/)
    .map((line) => line.replace(/(^|\s)#.*/, "").trim())
    .filter((line) => line !== "")
    .map((line) => line.split(/\s+/));
}

interface Manifest {
  readonly scripts?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
  readonly publishConfig?: { readonly bin?: Readonly<Record<string, string>> };
}

const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));

/**
 * What is wrong with a command that is shown in `file`, or nothing. Installing is right when the packages of ours are
 * here and their required peers are named; a script, program or file has to be here; a flag has to be in its help.
 */
export async function problemOf(
  words: ReadonlyArray<string>,
  file: string,
  root: string,
): Promise<string | undefined> {
  const [program, verb = "", ...rest] = words;
  const { scripts = {} } = manifestOf(root);
  if (program! in foreignPrograms) return undefined;
  if (program === "bash") return existsSync(join(root, verb)) ? undefined : `there is no file ${verb}`;
  if (program === "npm" && (verb === "i" || verb === "install")) return installProblem(rest, root);
  if (program === "npm") {
    const [script, ...args] = verb === "run" ? rest : [verb, ...rest];
    return scriptProblem(script!, args, scripts, root);
  }
  if (program === "npx" && verb === "tsx") {
    const source = [join(root, rest[0]!), join(root, dirname(file), rest[0]!)].find(existsSync);
    return source === undefined ? `there is no file ${rest[0]}` : flagProblem(source, rest.slice(1), root);
  }
  if (program === "npx" && verb.startsWith("pnpm@")) {
    if (!scripts.start!.includes(`${verb} `))
      return `the scripts of package.json take another version than ${verb}`;
    const [script, ...args] = rest;
    if (existsSync(join(root, "node_modules/.bin", script!)) && !(script! in scripts)) return undefined;
    return scriptProblem(script!, args, scripts, root);
  }
  if (program === "npx") {
    const owner = join(root, "packages", verb.replace(/^rlhf-/, ""));
    const bin = existsSync(owner) ? manifestOf(owner).publishConfig?.bin?.[verb] : undefined;
    if (bin === undefined) return `no package has the command ${verb}`;
    return flagProblem(join(owner, bin.replace(/^\.\/dist\/(.*)\.js$/, "$1.ts")), rest, root);
  }
  return `${program} is not known: teach scripts/shell_commands.ts to check it`;
}

function installProblem(names: ReadonlyArray<string>, root: string): string | undefined {
  for (const name of names.filter((word) => word.startsWith("@rlhf/"))) {
    const folder = join(root, "packages", name.slice("@rlhf/".length));
    if (!existsSync(folder)) return `there is no package ${name}`;
    const { peerDependencies = {}, peerDependenciesMeta = {} } = manifestOf(folder);
    const missing = Object.keys(peerDependencies).find(
      (peer) => peerDependenciesMeta[peer]?.optional !== true && !names.includes(peer) && names.length > 1,
    );
    if (missing !== undefined) return `${name} needs ${missing} beside it`;
  }
  return undefined;
}

function scriptProblem(
  script: string,
  args: ReadonlyArray<string>,
  scripts: Readonly<Record<string, string>>,
  root: string,
): Promise<string | undefined> | string | undefined {
  const body = scripts[script];
  if (body === undefined) return `package.json has no script ${script}`;
  const flags = args.filter((word) => word.startsWith("--") && word !== "--");
  if (flags.length === 0) return undefined;
  const [, inner] = /run (\w+)$/.exec(body) ?? [];
  if (inner !== undefined) return scriptProblem(inner, args, scripts, root);
  const [, source] = /^tsx (\S+)/.exec(body) ?? [];
  return source === undefined
    ? `the script ${script} takes no flags`
    : flagProblem(join(root, source), flags, root);
}

async function flagProblem(
  source: string,
  args: ReadonlyArray<string>,
  root: string,
): Promise<string | undefined> {
  const flags = args.filter((word) => /^--./.test(word) && word !== "--help");
  if (flags.length === 0) return undefined;
  const help = await helpOf(source, root);
  const unknown = flags.find((flag) => !new RegExp(`${flag.replaceAll(".", "\\.")}(?![\\w.-])`).test(help));
  return unknown === undefined
    ? undefined
    : `the help of ${source.slice(root.length + 1)} does not know ${unknown}`;
}

const helps = new Map<string, Promise<string>>();

/** What a program says for `--help`; of one that has none, the comment at its head. */
function helpOf(source: string, root: string): Promise<string> {
  const known = helps.get(source);
  if (known !== undefined) return known;
  const text = readFileSync(source, "utf8");
  const asked = promisify(execFile)(process.execPath, ["--import", "tsx", source, "--help"], {
    cwd: root,
    timeout: 60_000,
  }).then(
    ({ stdout }) => stdout,
    () => text.slice(0, text.indexOf("*/")),
  );
  helps.set(source, asked);
  return asked;
}
