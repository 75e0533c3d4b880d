/** Sampling with the cache of keys and values. */
import { key } from "@rlhf/core/random";
import { generate } from "@rlhf/transformer/generate";
import type { GenerationWork } from "../speed/measures.ts";
import { check, load, someIds } from "./model.ts";
import { takeTurns, task } from "./turns.ts";

const { batch, time, newTokens } = task as unknown as GenerationWork;
const model = await load(task.checkpoint);
const ids = someIds(batch * time, model.config.vocabSize);
const prompts = Array.from({ length: batch }, (_, row) => [...ids.subarray(row * time, (row + 1) * time)]);
/** No token has this number, so every response is as long as it may be. */
const eos = -1;
const options = { prompts, maxNewTokens: newTokens, eos, temperature: 1, key: key(3), slots: batch };

await takeTurns(
  async () => {
    for (let i = 0; i < task.repeats; i++) await generate(model, options);
  },
  { check: await check(model, ids, time) },
);
