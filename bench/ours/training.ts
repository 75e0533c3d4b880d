/** Training steps of a GPT-2. */
import { initAdamw } from "@rlhf/optim/adamw";
import { trainStep } from "@rlhf/optim/train_step";
import { nextTokenLogProbs } from "@rlhf/transformer/log_probs";
import * as tf from "@tensorflow/tfjs-core";
import type { ModelWork } from "../speed/measures.ts";
import { check, load, sequencesOf, someIds } from "./model.ts";
import { takeTurns, task } from "./turns.ts";

const { batch, time } = task as unknown as ModelWork;
const model = await load(task.checkpoint);
const ids = someIds(batch * time, model.config.vocabSize);
const agreement = await check(model, ids, time);
const state = initAdamw(model.params);
const sequences = sequencesOf(ids, batch, time);
const loss = () => tf.neg(tf.mean(nextTokenLogProbs(model, sequences).logProbs)) as tf.Scalar;

await takeTurns(
  async () => {
    for (let i = 0; i < task.repeats; i++) {
      await trainStep({ params: model.params, state, losses: [loss], learningRate: 1e-4 });
    }
  },
  { check: agreement },
);
