import { CheckpointNotFound, InvalidInput, type Problem } from "@rlhf/core/errors";
import { CountOrZero } from "@rlhf/core/setting";
import { loadTensors, type StoredTensor, saveTensors } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Path from "effect/Path";
import * as Schema from "effect/Schema";
import { KlControl } from "./config.ts";
import type { PpoState } from "./state.ts";

/** Everything in a {@link PpoState} that is not a tensor, and the name of the file with the tensors. */
const StateFile = Schema.fromJsonString(
  Schema.Struct({
    iteration: CountOrZero,
    policyUpdates: CountOrZero,
    criticUpdates: CountOrZero,
    klController: KlControl,
    tensors: Schema.String,
  }),
);

const stateName = "state.json";

/**
 * Writes a state to a folder: `state.json` and a safetensors file that it names. `state.json` is replaced last and
 * whole, so that a run killed at any moment leaves the state before or the state after.
 */
export const saveState = Effect.fn("ppo.saveState")(function* (folder: string, state: PpoState) {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  const tensors = `state-${state.iteration}.safetensors`;
  yield* files.makeDirectory(folder, { recursive: true });
  yield* saveTensors(path.join(folder, tensors), variablesOf(state));
  const json = yield* Schema.encodeEffect(StateFile)({
    iteration: state.iteration,
    policyUpdates: state.policyOptimizer.step,
    criticUpdates: state.criticOptimizer.step,
    klController: state.klController,
    tensors,
  }).pipe(Effect.orDie);
  const target = path.join(folder, stateName);
  yield* files.writeFileString(`${target}.partial`, json);
  yield* files.rename(`${target}.partial`, target);
  for (const name of yield* files.readDirectory(folder)) {
    if (/^state-\d+\.safetensors$/.test(name) && name !== tensors)
      yield* files.remove(path.join(folder, name));
  }
});

/**
 * Reads what {@link saveState} wrote into `state`, as `initState` makes it: its networks are overwritten. A run that
 * goes on from the result does what the uninterrupted run would have done.
 *
 * Fails with `CheckpointNotFound` when the folder has no state, with `InvalidInput` when it is that of other networks.
 */
export const loadState = Effect.fn("ppo.loadState")(function* (folder: string, state: PpoState) {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  const target = path.join(folder, stateName);
  if (!(yield* files.exists(target))) return yield* new CheckpointNotFound({ path: folder });
  const stored = yield* Schema.decodeEffect(StateFile)(yield* files.readFileString(target)).pipe(
    Effect.mapError(
      ({ message }) =>
        new InvalidInput({ problems: [{ where: target, problem: message, remedy: "Start the run again" }] }),
    ),
  );
  const file = path.join(folder, stored.tensors);
  yield* assign(file, yield* loadTensors(file), variablesOf(state));
  state.policyOptimizer.step = stored.policyUpdates;
  state.criticOptimizer.step = stored.criticUpdates;
  const resumed: PpoState = { ...state, iteration: stored.iteration, klController: stored.klController };
  return resumed;
});

/** Every variable of a state under one name. */
function variablesOf(state: PpoState): Record<string, tf.Variable> {
  const groups = {
    policy: state.policy.params,
    averagedPolicy: state.averagedPolicy.params,
    critic: state.critic.params,
    "policyOptimizer.firstMoments": state.policyOptimizer.firstMoments,
    "policyOptimizer.secondMoments": state.policyOptimizer.secondMoments,
    "criticOptimizer.firstMoments": state.criticOptimizer.firstMoments,
    "criticOptimizer.secondMoments": state.criticOptimizer.secondMoments,
  };
  return Object.fromEntries(
    Object.entries(groups).flatMap(([group, variables]) =>
      Object.entries(variables).map(([name, variable]) => [`${group}.${name}`, variable]),
    ),
  );
}

/** Overwrites all variables, or none and says what is wrong. */
function assign(
  file: string,
  stored: Readonly<Record<string, StoredTensor>>,
  variables: Readonly<Record<string, tf.Variable>>,
): Effect.Effect<void, InvalidInput> {
  const problems = Object.entries(variables).flatMap(([name, { shape }]): Array<Problem> => {
    const found = stored[name]?.shape;
    if (found !== undefined && tf.util.arraysEqual([...found], shape)) return [];
    const given = found === undefined ? "there is none" : `found [${found}]`;
    return [
      {
        where: `${file}: ${name}`,
        problem: `a tensor of shape [${shape}] is required, ${given}`,
        remedy: "Resume with the networks that the run was started with",
      },
    ];
  });
  if (problems.length > 0) return Effect.fail(new InvalidInput({ problems }));
  return Effect.sync(() => {
    tf.tidy(() => {
      for (const [name, variable] of Object.entries(variables)) {
        variable.assign(tf.tensor(stored[name]!.values, variable.shape));
      }
    });
  });
}
