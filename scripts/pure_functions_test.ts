/** The pure functions, imported by their file: neither Effect nor Node comes with them, and tfjs is the caller's own. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { build, type Metafile } from "esbuild";
import { describe, expect, it } from "vitest";

const modules = [
  "ppo/gae",
  "ppo/value_loss",
  "ppo/explained_variance",
  "policy-gradient/clipped_surrogate",
  "policy-gradient/sequence_surrogate",
  "policy-gradient/group_advantages",
  "policy-gradient/leave_one_out",
  "policy-gradient/reinforce_loss",
  "policy-gradient/grpo_loss",
  "dpo/dpo_loss",
  "dpo/ipo_loss",
  "dpo/kto_loss",
  "dpo/orpo_loss",
  "dpo/simpo_loss",
  "dpo/robust_dpo_loss",
  "reward/bradley_terry",
  "reward/ranking_loss",
  "kl/mod",
  "core/random",
  "optim/schedules",
  "tensor/masked_statistics",
  "tensor/token_log_probs",
  "transformer/log_probs",
  "transformer/generate",
];

const bundle = async (contents: string): Promise<Metafile> => {
  const { metafile } = await build({
    stdin: { contents, resolveDir: join(process.cwd(), "examples/short") },
    bundle: true,
    format: "esm",
    platform: "node",
    external: ["@tensorflow/*"],
    metafile: true,
    write: false,
  });
  return metafile;
};

describe.each(modules)("%s", (name) => {
  it("needs neither Effect nor Node", async () => {
    const { inputs } = await bundle(
      `export * from ${JSON.stringify(join(process.cwd(), "packages", `${name}.ts`))};`,
    );
    const imported = Object.values(inputs).flatMap(({ imports }) => imports.map(({ path }) => path));
    expect(imported.filter((path) => /^node:|\/(effect|@effect)\//.test(path))).toEqual([]);
  });
});

it("a bundle of one function of a package holds nothing of Effect", async () => {
  const { inputs, outputs } = await bundle('export { gae } from "@rlhf/ppo";');
  expect(Object.keys(inputs).some((path) => path.includes("/effect/"))).toBe(true);
  const kept = Object.entries(Object.values(outputs)[0]!.inputs).filter(
    ([, { bytesInOutput }]) => bytesInOutput > 0,
  );
  expect(kept.map(([path]) => path).filter((path) => path.includes("node_modules"))).toEqual([]);
});

it("takes one import to use gae from plain JavaScript", async () => {
  // The tensors are the caller's own; the workspace has tfjs's cpu backend beside @rlhf/tensor.
  const code = `
    import "${join(process.cwd(), "packages/tensor/node_modules/@tensorflow/tfjs-backend-cpu/dist/tf-backend-cpu.node.js")}";
    import * as tf from "@tensorflow/tfjs-core";
    import { gae } from "@rlhf/ppo/gae";
    const ones = tf.ones([1, 3]);
    const { returns } = gae({ rewards: ones, values: tf.zeros([1, 3]), mask: ones, gamma: 1, lambda: 1 });
    console.log(JSON.stringify(await returns.array()));`;
  const args = ["--import", "tsx", "--input-type=module", "-e", code];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: "examples/short" });
  expect(JSON.parse(stdout.split("\n").filter(Boolean).at(-1)!)).toEqual([[3, 2, 1]]);
});
