import { key } from "@rlhf/core/random";
import type { Prompt } from "@rlhf/core/records";
import { describe, expect, it } from "vitest";
import type { Criteria } from "./criterion.ts";
import { goldUtility, simulatedLabelers } from "./simulated.ts";

/** A response "a b r" scores a on the first criterion, b on the second, and r in readability. */
const part = (at: number) => ({
  name: `part ${at}`,
  judge: (_: Prompt, response: string) => Number(response.split(" ")[at]),
});
const criteria: Criteria<Prompt> = {
  content: [
    { criterion: part(0), weight: 1 },
    { criterion: part(1), weight: 1 },
  ],
  readability: [part(2)],
};
const prompt = { id: "1", text: "?" };
const everyone = (options: { spread?: number; temperature?: number; tieMargin?: number }) => {
  const { training, heldOut } = simulatedLabelers({ criteria, key: key(3), ...options });
  return [...training, ...heldOut];
};

describe("simulatedLabelers", () => {
  it("makes five for training and five others", () => {
    expect(new Set(everyone({}).map(({ name }) => name)).size).toBe(10);
    expect(simulatedLabelers({ criteria, key: key(3) }).heldOut).toHaveLength(3);
  });

  it("measures utility from 0 to 1: weighed content, as far as it is readable", () => {
    const [labeler] = everyone({ spread: 0 });
    expect(labeler!.utility(prompt, "1 1 1")).toBe(1);
    expect(labeler!.utility(prompt, "1 0 1")).toBe(0.5);
    expect(labeler!.utility(prompt, "1 1 0.5")).toBeCloseTo(0.6);
    expect(labeler!.utility(prompt, "1 1 0")).toBeCloseTo(0.2);
  });

  it("gives labellers weights of their own", () => {
    const utilities = everyone({}).map((labeler) => labeler.utility(prompt, "1 0 1"));
    expect(new Set(utilities).size).toBe(10);
    const [labeler] = everyone({});
    const { "part 0": first, "part 1": second } = labeler!.weights;
    expect(utilities[0]).toBeCloseTo(first! / (first! + second!));
  });

  it("leaves out criteria that do not apply", () => {
    const silent = { criterion: { name: "silent", judge: () => undefined }, weight: 5 };
    const labelers = simulatedLabelers({
      criteria: { content: [...criteria.content, silent], readability: [] },
      key: key(3),
      spread: 0,
    });
    expect(goldUtility(labelers.heldOut, prompt, "1 0 1")).toBe(0.5);
  });
});

describe("rank", () => {
  it("is the order of utility without noise, ties within the margin", () => {
    const [labeler] = everyone({ spread: 0, temperature: 0, tieMargin: 0.05 });
    const responses = ["0 0 1", "1 1 1", "0.98 0.98 1", "0.5 0.5 1"];
    expect(labeler!.rank(prompt, responses)).toEqual([3, 1, 1, 2]);
  });

  it("is the same when asked twice, whatever else is in the list", () => {
    const [labeler] = everyone({ temperature: 1, tieMargin: 0 });
    const responses = ["0 0 1", "0 1 1", "1 0 1", "1 1 1"];
    const ranks = labeler!.rank(prompt, responses);
    expect(labeler!.rank(prompt, responses)).toEqual(ranks);
    expect(labeler!.rank(prompt, [...responses].reverse())).toEqual([...ranks].reverse());
    const pair = labeler!.rank(prompt, responses.slice(0, 2));
    expect(pair[0]! < pair[1]!).toBe(ranks[0]! < ranks[1]!);
  });

  it("follows Bradley and Terry: P(a before b) = σ(Δu / temperature)", () => {
    const temperature = 0.2;
    const [labeler] = everyone({ spread: 0, temperature, tieMargin: 0 });
    const trials = 4000;
    let wins = 0;
    for (let i = 0; i < trials; i++) {
      const ranks = labeler!.rank({ id: "", text: String(i) }, ["1 0.5 1", "0.5 0.6 1"]);
      if (ranks[0]! < ranks[1]!) wins++;
    }
    expect(wins / trials).toBeCloseTo(1 / (1 + Math.exp(-0.2 / temperature)), 1);
  });
});
