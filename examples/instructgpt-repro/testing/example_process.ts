import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";

/** The example in a process of its own, with what it has printed so far. */
export interface ExampleProcess {
  readonly process: ChildProcess;
  readonly output: Array<string>;
}

export function startExample(...flags: ReadonlyArray<string>): ExampleProcess {
  const main = join(import.meta.dirname, "../main.ts");
  const child = spawn(process.execPath, ["--import", "tsx", main, ...flags], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output: Array<string> = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => output.push(String(data)));
  return { process: child, output };
}

export function finish({
  process: child,
  output,
}: ExampleProcess): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, output: output.join("") })));
}

export async function printed({ process: child, output }: ExampleProcess, text: string): Promise<void> {
  while (child.exitCode === null && !output.join("").includes(text))
    await new Promise((resolve) => setTimeout(resolve, 50));
}
