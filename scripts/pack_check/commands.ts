import { execFile } from "node:child_process";

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, or for ten minutes; one that fails is an outcome, not an exception. */
export function run(
  [program, ...args]: ReadonlyArray<string>,
  { cwd, env = {} }: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv },
): Promise<Outcome> {
  const options = { cwd, env: { ...plainEnvironment(), ...env }, timeout: 600_000, maxBuffer: 1 << 26 };
  return new Promise((done) => {
    execFile(program!, args, options, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
      done({ status, stdout, stderr: stderr || (error?.message ?? "") });
    });
  });
}

/** `run`, for what must succeed before anything can be checked. */
export async function must(
  command: ReadonlyArray<string>,
  options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv },
): Promise<string> {
  const { status, stdout, stderr } = await run(command, options);
  if (status !== 0) throw new Error(`${command.join(" ")} failed in ${options.cwd}:\n${stdout}${stderr}`);
  return stdout;
}

export const pnpm = (...args: ReadonlyArray<string>): ReadonlyArray<string> => [
  "npx",
  "--yes",
  "pnpm@12.21.0",
  ...args,
];

/**
 * Without what `npm run` tells its scripts about this package, which an npm below it would take for its own, and without
 * the place where pnpm lets its programs find every package of the workspace.
 */
function plainEnvironment(): NodeJS.ProcessEnv {
  const foreign = /^(npm_(package|lifecycle|command|config_(local_)?prefix)|INIT_CWD|NODE_PATH)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}
