import { key } from "@rlhf/core";
import { initModel } from "@rlhf/transformer";
import { Effect } from "effect";
import { expect, it } from "vitest";
import { Config } from "../instructgpt-repro/config.ts";
import type { EncodedData } from "../instructgpt-repro/encode.ts";
import { decodeConfig } from "../instructgpt-repro/flags.ts";
import { optimizers } from "./optimizers.ts";
import { plansOf } from "./plan.ts";
import { sharedPresets } from "./settings.ts";

const demonstration = { prompt: new Array(10).fill(5), response: new Array(8).fill(5) };
const encoded: EncodedData = {
  corpus: { train: new Int32Array(10_000), validation: new Int32Array(1000) },
  demonstrations: new Array(100).fill(demonstration),
  validation: new Array(10).fill(demonstration),
  prompts: new Array(40).fill({ id: "1", tokens: demonstration.prompt }),
  evaluation: [],
  rankings: [],
  leftOut: [],
};

it("plans what is not trained yet, and every optimizer with its seeds, networks and tokens", async () => {
  const config = await Effect.runPromise(decodeConfig(Config, sharedPresets.smoke));
  const base = initModel({ architecture: "gpt2", vocabSize: 1024, ...config.model }, key(1));
  const names = Object.keys(optimizers);
  const plan = (seeds: ReadonlyArray<number>, trained: boolean) =>
    plansOf({ config, encoded, base }, { optimizers: names, seeds: [...seeds] }, trained);
  expect(plan([1], false).map(({ stage }) => stage)).toEqual(["pretrain", "sft", "reward", ...names]);
  const [once, thrice] = [plan([1], true), plan([1, 2, 3], true)];
  expect(thrice.map(({ stage }) => stage)).toEqual(names.map((name) => `${name}, 3 seeds`));
  expect(thrice.map(({ trained }) => trained)).toEqual(once.map(({ trained }) => 3 * trained));
  const of = Object.fromEntries(once.map((each) => [each.stage, each]));
  expect(of.ppo!.memory.weights).toBe((5 / 3) * of.rloo!.memory.weights); // value network and average besides
  expect(of.ppo!.trained).toBe(2 * of.rloo!.trained);
  expect(of["ppo-ptx"]!.trained).toBeGreaterThan(of.ppo!.trained);
  expect(of.dpo!.sampled).toBe(0);
  for (const each of once) expect(each.memory.total).toBeGreaterThan(each.memory.weights);
});
