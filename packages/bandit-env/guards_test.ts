import { Progress, type ProgressEvent } from "@rlhf/core/progress";
import { key } from "@rlhf/core/random";
import { RunFolder, type Warning } from "@rlhf/core/run_folder";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { describe, expect, it } from "vitest";
import { warnings } from "./guards.ts";
import { onlineLoop } from "./online_loop.ts";

const healthy = {
  score: 1,
  scoreDeviation: 0.3,
  gold: 0.5,
  kl: 3,
  entropy: 2,
  eosRate: 1,
  valueLoss: 0.1,
  responseLength: 10,
};
type Metrics = typeof healthy;

/** Twenty iterations that change half-way, with a little noise. */
const history = (after: Partial<Metrics>, before: Partial<Metrics> = {}): ReadonlyArray<Metrics> =>
  Array.from({ length: 20 }, (_, i) => {
    const metrics = { ...healthy, ...(i < 10 ? before : after) };
    const wobble = 1 + 0.01 * Math.sin(i * i);
    return Object.fromEntries(
      Object.entries(metrics).map(([name, value]) => [name, value * wobble]),
    ) as unknown as Metrics;
  });
const raisedBy = (metrics: ReadonlyArray<Partial<Metrics>>) => warnings(metrics).map(({ rule }) => rule);

describe("warnings", () => {
  it.each<[string, Partial<Metrics>, Partial<Metrics>]>([
    ["KL run-away", { kl: 12 }, { kl: 5 }],
    ["entropy collapse", { entropy: 0.45 }, {}],
    ["EOS rate falling", { eosRate: 0.85 }, {}],
    ["all scores equal", { scoreDeviation: 0 }, {}],
    ["reward hacking", { score: 2, gold: 0.4 }, {}],
    ["value loss exploding", { valueLoss: 2 }, {}],
    ["length drift", { responseLength: 17 }, {}],
    ["length drift", { responseLength: 6 }, {}],
  ])("%s", (rule, after, before) => {
    // The KL at its new height for five iterations; all else for ten.
    const all = history(after, before).slice(0, rule === "KL run-away" ? 15 : 20);
    expect(raisedBy(all)).toEqual([rule]);
    const [{ problem, remedy }] = warnings(all) as [Warning];
    expect(problem).toMatch(/\d/);
    expect(remedy).not.toBe("");
  });

  it("are not raised by a run that is well, wherever it stands", () => {
    const gentle = { kl: 9, entropy: 1, eosRate: 0.95, score: 3, valueLoss: 0.5, responseLength: 13 };
    expect(raisedBy(history({}))).toEqual([]);
    expect(raisedBy(history(gentle))).toEqual([]);
    expect(raisedBy(history({ kl: 40 }, { kl: 40 }))).toEqual([]);
    expect(raisedBy(history({ score: 2, gold: 0.499 }))).toEqual([]); // less than its noise
    expect(raisedBy(history({ score: 0.5, gold: 0.4 }))).toEqual([]); // both fall: it is no hacking
  });

  it("wait for ten iterations, and for metrics that are measured now and then", () => {
    const collapsing = history({ entropy: 0.1 });
    expect(raisedBy(collapsing.slice(6, 15))).toEqual([]);
    expect(raisedBy(collapsing.slice(5, 15))).toEqual(["entropy collapse"]);
    const sparse = (every: number) =>
      history({ score: 2, gold: 0.3 }).map(({ gold, ...metrics }, i) =>
        i % every ? metrics : { ...metrics, gold },
      );
    expect(raisedBy(sparse(2))).toEqual(["reward hacking"]);
    expect(raisedBy(sparse(3))).toEqual([]);
  });
});

it("a loop tells of each warning once, and keeps it in the run folder", async () => {
  const events: Array<ProgressEvent> = [];
  const kept: Array<unknown> = [];
  const watching = Layer.mergeAll(
    Layer.succeed(Progress, {
      publish: (event) => Effect.sync(() => void events.push(event)),
      events: Stream.empty,
    }),
    Layer.effect(
      RunFolder,
      Effect.map(RunFolder, (folder) => ({
        ...folder,
        appendWarning: (stage, step, { rule }) => Effect.sync(() => void kept.push([stage, step, rule])),
      })),
    ).pipe(Layer.provide(RunFolder.layerMemory)),
  );
  let iteration = 0;
  const loop = onlineLoop({
    stage: "ppo",
    iteration: Effect.sync(() => iteration),
    memory: { variables: {}, optimizers: {} },
    iterations: 20,
    prompts: [{ id: "1", tokens: [1] }],
    promptsPerIteration: 1,
    key: key(1),
    sampleEvery: 100,
    samples: 1,
    decode: String,
    step: () =>
      Effect.sync(() => ({
        metrics: history({ score: 2 })[iteration++]!,
        episodes: [],
        scores: new Float32Array(),
        sequenceKl: new Float32Array(),
      })),
    measure: () => Effect.sync(() => ({ gold: iteration < 10 ? 0.5 : 0.3 })),
    afterIteration: () => Effect.void,
  });
  await Effect.runPromise(Effect.provide(loop, watching));
  const raised = events.filter((event) => event._tag === "Warning");
  expect(raised).toMatchObject([
    { stage: "ppo", rule: "reward hacking", remedy: expect.stringContaining("KL") },
  ]);
  expect(kept).toEqual([["ppo", raised[0]!.step, "reward hacking"]]);
});
