import { Effect } from "effect";
import { describe, expect, it } from "vitest";
import { Config } from "./config.ts";
import { decodeConfig, parseFlags } from "./flags.ts";
import { presets } from "./presets.ts";

const parse = (...args: ReadonlyArray<string>) => parseFlags(args, presets, "smoke");
const decode = (...args: ReadonlyArray<string>) =>
  Effect.flatMap(parse(...args), ({ fields }) => decodeConfig(Config, fields, presets.smoke!));
const problemsOf = async (...args: ReadonlyArray<string>) => {
  const error = await Effect.runPromise(Effect.flip(decode(...args)));
  return error._tag === "InvalidInput"
    ? error.problems.map(({ where, problem }) => `${where}: ${problem}`)
    : error.problems;
};

describe("flags", () => {
  it("take the place of the preset's values", async () => {
    const config = await Effect.runPromise(decode("--ppo.iterations=3", "--seed", "7"));
    expect(config).toMatchObject({ seed: 7, ppo: { iterations: 3 }, sft: { epochs: 2 } });
  });

  it("choose another kind of KL controller, without the settings of the preset's", async () => {
    const config = await Effect.runPromise(
      decode("--ppo.klControl._tag", "Fixed", "--ppo.klControl.coefficient", "0.02"),
    );
    expect(config.ppo.klControl).toEqual({ _tag: "Fixed", coefficient: 0.02 });
  });

  it("that nobody knows are named together", async () => {
    expect(await problemsOf("stray", "--ppo.iteration", "3", "--seed")).toEqual([
      "Unexpected argument: stray",
      "--seed needs a value",
      "Unknown flag --ppo.iteration: did you mean --ppo.iterations?",
    ]);
  });

  it("that a checkpoint decides are refused beside one", async () => {
    expect(await problemsOf("--base", "./gpt2", "--model.width", "64")).toEqual([
      "--model.width changes nothing: the checkpoint of --base has a shape",
    ]);
  });

  it("out of range are named together, with what was given, and so are those that do not fit each other", async () => {
    const problems = await problemsOf(
      ...["--sft.dropout", "2", "--seed", "x", "--vocabulary", "10", "--comparing.fewest", "10"],
      ...["--ppo.batchSize", "100", "--model.heads", "3"],
    );
    const expected = [
      /^--sft.dropout: .*, got 2$/,
      /^--seed: .*, got "x"$/,
      /^--vocabulary: .* 258, got 10$/,
      /^--comparing.fewest: must not exceed --comparing.most 9, got 10$/,
      /^--ppo.minibatchSize: must divide batchSize, which is 100, got 8$/,
      /^--model.width: must be a multiple of --model.heads 3, got 32$/,
    ];
    for (const one of expected)
      expect(
        problems.some((problem) => one.test(problem)),
        `${one}`,
      ).toBe(true);
    expect(new Set(problems).size).toBe(problems.length);
    expect(await problemsOf("--ppo.maxNewTokens", "64", "--seed", "-1")).toEqual([
      "--ppo.maxNewTokens: must leave room for a prompt within --model.contextLength 64, got 64",
      expect.stringMatching(/^--seed: .*, got -1$/),
    ]);
  });
});
