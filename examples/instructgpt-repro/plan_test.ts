import type { TensorMemory } from "@rlhf/doctor";
import { stageMemory, type TransformerConfig } from "@rlhf/transformer";
import { Effect } from "effect";
import { expect, it } from "vitest";
import { Config } from "./config.ts";
import type { EncodedData } from "./encode.ts";
import { decodeConfig } from "./flags.ts";
import { planOf, type StagePlan } from "./plan.ts";
import { presets } from "./presets.ts";
import { refuseWhatDoesNotFit } from "./show_plan.ts";

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
const plansOf = async (changes: object = {}) => {
  const config = await Effect.runPromise(decodeConfig(Config, { ...presets.smoke!, ...changes }));
  const model = { architecture: "gpt2", vocabSize: 1024, ...config.model } as TransformerConfig;
  return planOf(config, { model, encoded, ownComparisons: false });
};

it("plans every stage of every round, with steps and tokens", async () => {
  const plans = await plansOf({ rounds: 2 });
  const again = ["reward (round 2)", "ppo-ptx (round 2)", "ppo (round 2)"];
  expect(plans.map(({ stage }) => stage)).toEqual(["pretrain", "sft", "reward", "ppo-ptx", ...again]);
  const [pretrain, sft, , mixed, , , ppo] = plans as ReadonlyArray<StagePlan> as [
    ...[StagePlan, StagePlan, StagePlan, StagePlan],
    ...[StagePlan, StagePlan, StagePlan],
  ];
  expect(pretrain).toMatchObject({ steps: 20, trained: 20 * 16 * 64 });
  expect(sft).toMatchObject({ steps: 2 * 7, trained: 2 * 100 * 18 });
  expect(ppo).toMatchObject({
    steps: 4,
    trained: 32 * 2 * 18,
    valued: 32 * 18,
    scored: 4 * 32 * 18,
    sampled: 32 * 8,
  });
  expect(mixed.trained).toBe(ppo.trained + 32 * 64);
  expect(ppo.memory.weights).toBeGreaterThan(mixed.memory.weights); // the results of the runs before
});

it("refuses all stages that would not fit, and names the setting to change", async () => {
  const plans = await plansOf();
  await Effect.runPromise(refuseWhatDoesNotFit(plans));
  const wide = await plansOf({
    pretrain: { ...(presets.smoke!.pretrain as object), batchSize: 4e6, microBatchSize: 4e6 },
  });
  const tooWide = await Effect.runPromise(
    Effect.flip(refuseWhatDoesNotFit(wide, { of: "machine", bytes: 16e9 })),
  );
  expect(tooWide.problems.map(({ where }) => where)).toEqual(["--pretrain.microBatchSize"]);
  expect(tooWide.message).toMatch(/pretrain would take [\d,]+ of 16,000 MB of the machine's memory/);
  const large = {
    architecture: "gpt2",
    vocabSize: 50_000,
    contextLength: 64,
    layers: 48,
    width: 1600,
    heads: 25,
  } as const;
  const heavy = plans.map((plan) => ({
    ...plan,
    memory: stageMemory({
      config: large,
      trained: 2,
      held: 3,
      passes: [{ tokens: 512, predictions: 512 }],
      accumulates: false,
    }),
  }));
  const tooHeavy = await Effect.runPromise(
    Effect.flip(refuseWhatDoesNotFit(heavy, { of: "machine", bytes: 16e9 })),
  );
  expect(new Set(tooHeavy.problems.map(({ where }) => where))).toEqual(new Set(["--model.width"]));
});

it("compares with the GPU's memory where tensors lie there, and with nothing where nobody tells how much that is", async () => {
  const plans = await plansOf();
  const bytes = Math.max(...plans.map(({ memory }) => memory.total));
  await Effect.runPromise(refuseWhatDoesNotFit(plans, { of: "GPU", bytes })); // nothing else lies there
  const message = async (available: TensorMemory) =>
    (await Effect.runPromise(Effect.flip(refuseWhatDoesNotFit(plans, available)))).message;
  expect(await message({ of: "GPU", bytes: bytes - 1 })).toContain("MB of the GPU's memory");
  expect(await message({ of: "machine", bytes })).toContain("MB of the machine's memory");
  await Effect.runPromise(refuseWhatDoesNotFit(plans, { of: "GPU", bytes: undefined }));
});

it("counts the base of adapters once, and their gradients and moments alone", async () => {
  const lora = { rank: 2, alpha: 4, dropout: 0 };
  const [whole, adapters] = [await plansOf(), await plansOf({ lora })];
  const ppo = (plans: ReadonlyArray<StagePlan>) => plans.find(({ stage }) => stage === "ppo-ptx")!.memory;
  const base = whole.find(({ stage }) => stage === "pretrain")!.memory.weights; // one network
  expect(ppo(adapters).weights - base).toBeLessThan(0.2 * base);
  expect(ppo(adapters).optimizer).toBeLessThan(0.05 * ppo(whole).optimizer);
  expect(ppo(adapters).activations).toBe(ppo(whole).activations);
});
