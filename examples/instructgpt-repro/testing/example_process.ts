import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";

/** The example in a process of its own, with what it has printed so far. */
export interface ExampleProcess {
  readonly process: ChildProcess;
  readonly output: Array<string>;
  /** Its exit code. */
  readonly ended: Promise<number | null>;
}

export function startExample(...flags: ReadonlyArray<string>): ExampleProcess {
  const main = join(import.meta.dirname, "../main.ts");
  const child = spawn(process.execPath, ["--import", "tsx", main, ...flags], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output: Array<string> = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => output.push(String(data)));
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  return { process: child, output, ended };
}

export async function finish({
  ended,
  output,
}: ExampleProcess): Promise<{ code: number | null; output: string }> {
  return { code: await ended, output: output.join("") };
}

export async function printed({ process: child, output }: ExampleProcess, text: string): Promise<void> {
  while (child.exitCode === null && !output.join("").includes(text))
    await new Promise((resolve) => setTimeout(resolve, 50));
}
