import { Checkpoints } from "@rlhf/core/checkpoints";
import { type CheckpointFailed, InvalidInput, type Problem } from "@rlhf/core/errors";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import type { AdamwState, Variables } from "./adamw.ts";

/** What a stage carries from one step to the next: all that a run which goes on has to get back. */
export interface Memory {
  /** Weights by the name of their network; other variables, such as averages, are the same. */
  readonly variables: Readonly<Record<string, Variables>>;
  readonly optimizers: Readonly<Record<string, AdamwState>>;
  /** The rest, if there is any, as JSON. */
  readonly values?: { readonly save: () => unknown; readonly restore: (saved: never) => void };
}

/** Metrics of the step at which a stage stands. */
type Metrics = Readonly<Record<string, number>>;

interface StoredValues {
  readonly metrics: Metrics;
  readonly updates: Readonly<Record<string, number>>;
  readonly values?: unknown;
}

/** A stage that keeps its memory in the run's checkpoints. */
export interface Kept {
  /** Steps that the run has behind it, and the metrics of the last of them. */
  readonly step: number;
  readonly metrics: Metrics;
  readonly save: (step: number, metrics: Metrics) => Effect.Effect<void, CheckpointFailed>;
  /** The same when the last checkpoint is old enough. */
  readonly saveWhenDue: Kept["save"];
}

/**
 * Puts a stage's memory back as the newest checkpoint has it, if the run has one; what it is given is overwritten.
 *
 * Fails with `InvalidInput` when the checkpoint is that of other networks, with `CheckpointFailed` when it cannot be read.
 */
export const keepMemory = Effect.fn("optim.keepMemory")(function* (
  stage: string,
  memory: Memory | undefined,
) {
  const checkpoints = yield* Checkpoints;
  if (memory === undefined || !checkpoints.isKeeping) return forgetful;
  const stored = yield* checkpoints.load(stage);
  if (stored !== undefined) yield* restore(stage, stored.arrays, stored.values as StoredValues, memory);
  const save: Kept["save"] = (step, metrics) =>
    Effect.gen(function* () {
      const arrays = yield* Effect.promise(() => bytesOf(memory));
      const updates = Object.fromEntries(
        Object.entries(memory.optimizers).map(([name, state]) => [name, state.step]),
      );
      const values: StoredValues = { metrics, updates, values: memory.values?.save() };
      yield* checkpoints.save(stage, { step, values, arrays }, scoreOf(metrics));
    });
  const kept: Kept = {
    step: stored?.step ?? 0,
    metrics: (stored?.values as StoredValues | undefined)?.metrics ?? {},
    save,
    saveWhenDue: (step, metrics) =>
      Effect.suspend(() => (checkpoints.isDue() ? save(step, metrics) : Effect.void)),
  };
  return kept;
});

/** Of a stage that keeps nothing. */
const forgetful: Kept = { step: 0, metrics: {}, save: () => Effect.void, saveWhenDue: () => Effect.void };

/** The best checkpoint is that of the lowest validation loss, where there is one. */
function scoreOf({ validationLoss }: Metrics): number | undefined {
  return validationLoss === undefined ? undefined : -validationLoss;
}

/** Every variable under one name. */
function flatten({ variables, optimizers }: Memory): Record<string, tf.Variable> {
  const moments = Object.entries(optimizers).flatMap(([name, { firstMoments, secondMoments }]) => [
    [`${name}.firstMoments`, firstMoments] as const,
    [`${name}.secondMoments`, secondMoments] as const,
  ]);
  return Object.fromEntries(
    [...Object.entries(variables), ...moments].flatMap(([group, members]) =>
      Object.entries(members).map(([name, variable]) => [`${group}.${name}`, variable]),
    ),
  );
}

async function bytesOf(memory: Memory): Promise<Record<string, Uint8Array>> {
  const arrays: Record<string, Uint8Array> = {};
  for (const [name, variable] of Object.entries(flatten(memory))) {
    const { buffer, byteOffset, byteLength } = await variable.data();
    // A copy: backends may hand out the memory that the next step writes to.
    arrays[name] = new Uint8Array(buffer, byteOffset, byteLength).slice();
  }
  return arrays;
}

/** Overwrites everything, or nothing and says what is wrong. */
const restore = Effect.fnUntraced(function* (
  stage: string,
  arrays: Readonly<Record<string, Uint8Array>>,
  stored: StoredValues,
  memory: Memory,
) {
  const variables = flatten(memory);
  const problems = Object.entries(variables).flatMap(([name, { shape, size }]): Array<Problem> => {
    const found = arrays[name]?.length;
    if (found === 4 * size) return [];
    const given = found === undefined ? "there is none" : `found ${found / 4} numbers`;
    return [
      {
        where: `checkpoint of ${stage}: ${name}`,
        problem: `a tensor of shape [${shape}] is required, ${given}`,
        remedy: "resume with the networks that the run was started with",
      },
    ];
  });
  if (problems.length > 0) return yield* new InvalidInput({ problems });
  tf.tidy(() => {
    for (const [name, variable] of Object.entries(variables)) {
      const bytes = new Uint8Array(arrays[name]!); // a copy that starts at 0: typed arrays want to be aligned
      const values =
        variable.dtype === "int32" ? new Int32Array(bytes.buffer) : new Float32Array(bytes.buffer);
      variable.assign(tf.tensor(values, variable.shape, variable.dtype));
    }
  });
  for (const [name, state] of Object.entries(memory.optimizers)) state.step = stored.updates[name]!;
  memory.values?.restore(stored.values as never);
});
