/**
 * What it costs the host to ask a GPU for GPT-2's training steps and sampling: `cuda` on its emulated GPU, told to compute
 * nothing. Needs no GPU, but g++.
 *
 *     npx tsx bench/gpu/host_cost.ts
 */
import { key } from "@rlhf/core/random";
import { initAdamw } from "@rlhf/optim/adamw";
import { trainStep } from "@rlhf/optim/train_step";
import { useBackend } from "@rlhf/tensor/backend";
import { initModel } from "@rlhf/transformer";
import { generate } from "@rlhf/transformer/generate";
import { nextTokenLogProbs } from "@rlhf/transformer/log_probs";
import * as tf from "@tensorflow/tfjs-core";
import type { CudaBackend } from "../../packages/backend-cuda/backend.ts";
import { hasDevice } from "../../packages/backend-cuda/testing/emulator.ts";
import { sequencesOf, someIds } from "../ours/model.ts";
import { median, number, printTable } from "../speed/report.ts";

process.env.RLHF_CUDA_PRECISION = "bf16";
process.env.EMULATED_CUDA_MEMORY = `${80 * 2 ** 30}`;
if (!hasDevice()) process.exit(1);
await useBackend("cuda");
const { device, products } = tf.backend() as CudaBackend;
// From here on: the backend itself was checked as it began.
process.env.EMULATED_CUDA_IDLE = "1";

let launches = 0;
/** Counts the calls of a method. */
const counted = <Owner extends object>(owner: Owner, name: keyof Owner & string) => {
  const method = owner[name] as (...args: ReadonlyArray<unknown>) => unknown;
  const counting = (...args: ReadonlyArray<unknown>) => {
    launches++;
    return method.apply(owner, [...args]);
  };
  Object.assign(owner, { [name]: counting });
};
counted(device, "launch");
counted(products, "run");
counted(products, "runWithEpilogue");

const model = initModel(
  { architecture: "gpt2", layers: 12, width: 768, heads: 12, vocabSize: 50257, contextLength: 1024 },
  key(1),
);
const state = initAdamw(model.params);

const training = (batch: number, time: number) => {
  const sequences = sequencesOf(someIds(batch * time, 50257), batch, time);
  const loss = () => tf.neg(tf.mean(nextTokenLogProbs(model, sequences).logProbs)) as tf.Scalar;
  return () => trainStep({ params: model.params, state, losses: [loss], learningRate: 1e-4 });
};
const newTokens = 64;
const sampling = (batch: number) => {
  const prompts = Array.from({ length: batch }, (_, row) => [...someIds(16, 50257 - row)]);
  const options = { prompts, maxNewTokens: newTokens, eos: -1, temperature: 1, key: key(3), slots: batch };
  return () => generate(model, options);
};

/** The JavaScript engine compiles for as long. */
const [warmups, rounds] = [150, 50];
const rows: Array<Array<string>> = [];
const measure = async (name: string, run: () => Promise<unknown>, steps: number) => {
  const times: Array<number> = [];
  for (let i = 0; i < warmups + rounds; i++) {
    launches = 0;
    const start = performance.now();
    await run();
    if (i >= warmups) times.push((performance.now() - start) / steps);
  }
  rows.push([name, number(median(times)), number(launches / steps)]);
};
await measure("training step, 8×1,024 tokens", training(8, 1024), 1);
await measure("training step, 16×64 tokens", training(16, 64), 1);
await measure("sampling, batch 1, a token", sampling(1), newTokens);
await measure("sampling, batch 64, a token", sampling(64), newTokens);
printTable("GPT-2 124M in bf16, without the GPU's part.", ["what", "ms", "launches and products"], rows);
