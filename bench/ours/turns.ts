/** The other half of ../speed/turns.ts: says when it is warm, then does one round for every line it is sent. */
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { type BackendName, useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import type { Task } from "../speed/measures.ts";

// What is wrong, not where: the end of the error output is shown to whoever compares.
process.on("uncaughtException", ({ message }) => {
  console.error(message);
  process.exit(1);
});

export const task = JSON.parse(process.argv[2]!) as Task;
const { reason } = await useBackend(task.backend as "auto" | BackendName);
/** Engines for GPUs that have a choice let it be set. */
const engine = tf.backend() as { precision?: string };
if (engine.precision !== undefined) engine.precision = task.precision;

/** Waits until the device has done all that it was asked for: it does one thing after the other. */
export async function finished(last: tf.Tensor): Promise<void> {
  const one = tf.tidy(() => tf.slice(tf.reshape(last, [-1]), 0, 1));
  await one.data();
  tf.dispose([last, one]);
}

/** A line of Linux's own account of this process, in bytes. */
function memory(name: string): number | undefined {
  try {
    const line = readFileSync("/proc/self/status", "utf8").match(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m"));
    return Number(line![1]) * 1024;
  } catch {
    return undefined;
  }
}
/** Peaks count from here. */
function forgetPeak(): void {
  try {
    writeFileSync("/proc/self/clear_refs", "5");
  } catch {
    // Not Linux: then there is no peak to be read either.
  }
}
const before = memory("VmRSS");

type Parts = Readonly<Record<string, number>>;

/** Runs `oneRound` for every line of input. What it returns, if anything, is reported with its time. */
export async function takeTurns(
  // biome-ignore lint/suspicious/noConfusingVoidType: a round may return nothing
  oneRound: () => Promise<void | Parts>,
  facts: { readonly check?: number } = {},
): Promise<void> {
  for (let i = 0; i < task.warmups; i++) await oneRound();
  forgetPeak();
  console.log(JSON.stringify({ name: reason, ...facts }));
  for await (const _ of createInterface({ input: process.stdin })) {
    const start = performance.now();
    const parts = (await oneRound()) ?? {};
    const seconds = (performance.now() - start) / 1000;
    const peakBytes = before === undefined ? undefined : memory("VmHWM")! - before;
    console.log(JSON.stringify({ seconds, parts, peakBytes }));
  }
}
