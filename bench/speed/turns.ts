/**
 * Processes that take turns: each is started and warmed up once, then does one round whenever it is asked, while the
 * others wait. So both sides of a comparison meet the same machine in the same minute, and never each other.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";

/** What a process says when it is warm. */
interface Ready {
  /** Which engine, with its version. */
  readonly name: string;
  /** The loss of a fixed row under the weights given: equal on both sides when both compute the same thing. */
  readonly check?: number;
}

export interface Round {
  readonly seconds: number;
  /** Seconds of parts of the round, by name. */
  readonly parts: Readonly<Record<string, number>>;
  /** Peak resident memory of the rounds so far, above what the runtime held before there was a model. */
  readonly peakBytes?: number;
}

export interface Player extends Ready {
  readonly round: () => Promise<Round>;
  readonly stop: () => Promise<void>;
}

/** Starts a process and waits until it is warm. Rejects with the end of its error output when it fails. */
export async function startPlayer(command: ReadonlyArray<string>, threads: number): Promise<Player> {
  const [program, ...args] = command as [string, ...Array<string>];
  const env = { ...process.env, RLHF_NATIVE_THREADS: `${threads}`, OMP_NUM_THREADS: `${threads}` };
  const child = spawn(program, args, { env });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  const ended = new Promise<void>((resolve) => {
    child.on("error", (error) => {
      errors += error.message;
      resolve();
    });
    child.on("close", () => resolve());
  });
  child.stdin.on("error", () => {}); // It has ended, and the missing answer tells.
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async <A>(): Promise<A> => {
    const { value, done } = await lines.next();
    if (!done) return JSON.parse(value) as A;
    await ended;
    throw new Error(errors.trim().split("\n").slice(-3).join(" ") || `${program} ended without a word`);
  };
  const stop = () => {
    child.stdin.end();
    return ended;
  };
  return {
    ...(await answer<Ready>()),
    round: () => {
      child.stdin.write("\n");
      return answer<Round>();
    },
    stop,
  };
}

/** Idle threads spin for some milliseconds after a round, at the cost of whoever comes next. */
const settling = 30;

/** Rounds of every player in turns, every second time in the opposite order. */
export async function takeTurns(
  players: ReadonlyArray<Player>,
  rounds: number,
): Promise<Array<Array<Round>>> {
  const results: Array<Array<Round>> = players.map(() => []);
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? [...players.keys()] : [...players.keys()].reverse();
    for (const player of order) {
      await setTimeout(settling);
      results[player]!.push(await players[player]!.round());
    }
  }
  return results;
}
