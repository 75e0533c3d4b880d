/** What all measures of one run share: how to start each side, and the checkpoints that both open. */
import { execFileSync } from "node:child_process";
import { extname, join } from "node:path";
import { checks, type Precision, smallest, type Task, type Work } from "./measures.ts";
import { type Player, startPlayer } from "./turns.ts";

export const threads = 2;
const bench = join(import.meta.dirname, "..");
/** This process's own way of running TypeScript, or JavaScript where everything is bundled. */
const node = [process.execPath, ...process.execArgv];
const extension = extname(import.meta.filename);

export interface Variant {
  readonly name: string;
  readonly player: Player;
}

/** Progress goes to the error output, tables to the output. */
export const say = (text: string): void => console.error(text);

export class Session {
  /** Everything once, tiny. */
  readonly smoke: boolean;
  /** The interpreter with PyTorch, if there is one. */
  readonly python: string | undefined;
  readonly #folder: string;
  readonly #on: Pick<Task, "backend" | "device">;
  readonly #checkpoints = new Map<string, string>();

  constructor(options: {
    readonly folder: string;
    readonly smoke: boolean;
    readonly python: string | undefined;
    readonly on?: Pick<Task, "backend" | "device">;
  }) {
    this.smoke = options.smoke;
    this.python = options.python;
    this.#folder = options.folder;
    this.#on = options.on ?? { backend: "auto", device: "cpu" };
  }

  rounds(count: number): number {
    return this.smoke ? 1 : count;
  }

  /** Starts our side of a measure. */
  ours(work: Work, repeats = 1, precision: Precision = "fp32"): Promise<Player> {
    const program = [...node, join(bench, "ours", work.kind + extension)];
    return startPlayer([...program, this.#task(work, { repeats, variant: "", precision })], threads);
  }

  /** Starts the variants of PyTorch's side that run here; says why the others do not. */
  async peers(
    work: Work,
    variants: ReadonlyArray<string>,
    repeats = 1,
    precision: Precision = "fp32",
  ): Promise<Array<Variant>> {
    const started: Array<Variant> = [];
    for (const name of this.python === undefined ? [] : variants) {
      const program = [this.python!, join(bench, "peers", `${work.kind}.py`)];
      try {
        const task = this.#task(work, { repeats, variant: name, precision });
        const player = await startPlayer([...program, task], threads);
        started.push({ name, player });
      } catch (error) {
        say(`  PyTorch, ${name}, does not run: ${(error as Error).message}`);
      }
    }
    return started;
  }

  /** Compiles and starts the program that measures the processor; `undefined` where there is no compiler. */
  async peak(): Promise<Player | undefined> {
    const program = join(this.#folder, "fma_peak");
    const flags = ["-O3", "-march=native", "-ffp-contract=fast", "-pthread"];
    try {
      const source = join(bench, "ours", "fma_peak.cc");
      execFileSync(process.env.CXX ?? "c++", [...flags, source, "-o", program], { stdio: "pipe" });
      return await startPlayer([program, `${threads}`], threads);
    } catch (error) {
      say(`  The processor's peak is not measured: ${(error as Error).message.split("\n")[0]}`);
      return undefined;
    }
  }

  #task(given: Work, options: Pick<Task, "repeats" | "variant" | "precision">): string {
    const work = this.smoke ? smallest(given) : given;
    const checked = checks.some((kind) => kind === work.kind);
    const often = { warmups: checked ? 0 : this.smoke ? 1 : 2, ...(this.smoke && { repeats: 1 }) };
    const checkpoint = this.#checkpointOf(work);
    const task: Task = { ...work, ...options, ...often, ...this.#on, threads, checkpoint };
    return JSON.stringify(task);
  }

  /** A checkpoint with a model of this shape, made once. */
  #checkpointOf(work: Work): string {
    if (!("model" in work)) return "";
    const shape = JSON.stringify(work.model);
    const known = this.#checkpoints.get(shape);
    if (known !== undefined) return known;
    const path = join(this.#folder, `model-${this.#checkpoints.size}`);
    const [program, ...args] = [...node, join(bench, "ours", `checkpoint${extension}`), path, shape];
    execFileSync(program!, args, { stdio: "pipe" });
    this.#checkpoints.set(shape, path);
    return path;
  }
}
