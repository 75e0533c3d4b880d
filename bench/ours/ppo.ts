/** PPO iterations: rollout, scores, reference, advantages, one epoch of updates. */
import { Progress } from "@rlhf/core/progress";
import { key } from "@rlhf/core/random";
import { RunFolder } from "@rlhf/core/run_folder";
import * as ppo from "@rlhf/ppo";
import { scoreEpisodes } from "@rlhf/reward/score";
import { cloneModel } from "@rlhf/transformer/model";
import { initScalarModel } from "@rlhf/transformer/scalar_head";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Ref from "effect/Ref";
import type { PpoWork } from "../speed/measures.ts";
import { check, load, someIds } from "./model.ts";
import { takeTurns, task } from "./turns.ts";

const { batch, time, newTokens, minibatch } = task as unknown as PpoWork;
const reference = await load(task.checkpoint);
const ids = someIds(batch * time, reference.config.vocabSize);
const prompts = Array.from({ length: batch }, (_, row) => ({
  id: `${row}`,
  tokens: [...ids.subarray(row * time, (row + 1) * time)],
}));
const rewardModel = initScalarModel(cloneModel(reference), key(2));
const config = ppo.PpoConfig.make({
  batchSize: batch,
  minibatchSize: minibatch,
  microBatchSize: minibatch,
  maxNewTokens: newTokens,
  policyLearningRate: 1e-6,
  criticLearningRate: 1e-6,
});
const state = Ref.makeUnsafe(ppo.initState({ policy: reference, rewardModel, config }));
/** No token has this number, so every response is as long as it may be. */
const eos = -1;
const services = Layer.mergeAll(
  Layer.succeed(ppo.Learner, { config, eos, key: key(3), state }),
  Layer.succeed(ppo.Reference, reference),
  Layer.succeed(ppo.Scorer, scoreEpisodes(rewardModel)),
  Layer.succeed(ppo.PretrainingBatches, ppo.PretrainingBatches.none),
  Progress.layerSilent,
  RunFolder.layerMemory,
);

await takeTurns(
  async () => {
    const seconds: Record<string, number> = {};
    for (let i = 0; i < task.repeats; i++) {
      const { metrics } = await Effect.runPromise(Effect.provide(ppo.step(prompts), services));
      for (const [name, value] of Object.entries(metrics)) {
        const phase = name.match(/^(.+)TokensPerSecond$/)?.[1];
        if (phase !== undefined) seconds[phase] = (seconds[phase] ?? 0) + (batch * newTokens) / value;
      }
    }
    return seconds;
  },
  { check: await check(reference, ids, time) },
);
