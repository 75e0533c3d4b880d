import { it } from "@effect/vitest";
import { Progress, type ProgressEvent } from "@rlhf/core/progress";
import { key } from "@rlhf/core/random";
import type { Prompt } from "@rlhf/core/records";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { describe, expect } from "vitest";
import { collectRankings } from "./collect.ts";
import type { Labeler } from "./labeler.ts";

const byLength: Labeler<Prompt> = {
  name: "likes long",
  rank: (_, responses) => responses.map((a) => 1 + responses.filter((b) => b.length > a.length).length),
};
const byBrevity: Labeler<Prompt> = {
  name: "likes short",
  rank: (_, responses) => responses.map((a) => 1 + responses.filter((b) => b.length < a.length).length),
};
const samples = Array.from({ length: 200 }, (_, i) => ({
  prompt: { id: String(i), text: `prompt ${i}` },
  responses: ["a", "aa", "aaa", "aa"],
}));

describe("collectRankings", () => {
  it.effect("has each prompt ranked by one labeller, a share of them by all", () =>
    Effect.gen(function* () {
      const labelers = [byLength, byBrevity];
      const collected = yield* collectRankings({ samples, labelers, key: key(1), overlap: 0.25 });
      expect(collected.rankings.map(({ prompt }) => prompt)).toEqual(
        samples.map(({ prompt }) => prompt.text),
      );
      const long = collected.rankings.filter(({ labeler }) => labeler === "likes long");
      expect(long.length).toBeGreaterThan(70);
      expect(long.length).toBeLessThan(130);
      expect(long[0]!.ranks).toEqual([4, 2, 1, 2]);
      expect(collected.overlap.length % 2).toBe(0);
      expect(collected.overlap.length / 2).toBeGreaterThan(30);
      expect(collected.agreement.overall.share).toBe(0);
      expect(collected.size).toEqual({ prompts: 200, responses: 800, rankings: 200, pairs: 1200, tied: 200 });
      const again = yield* collectRankings({ samples, labelers, key: key(1), overlap: 0.25 });
      expect(again).toEqual(collected);
    }).pipe(Effect.provide(Progress.layerSilent)),
  );

  it.effect("has each prompt ranked by as many different labellers as asked for", () =>
    Effect.gen(function* () {
      const labelers = [byLength, byBrevity, { ...byLength, name: "likes long too" }];
      const { rankings, size } = yield* collectRankings({ samples, labelers, key: key(1), perPrompt: 2 });
      expect(size).toMatchObject({ prompts: 200, rankings: 400, pairs: 2400 });
      for (const [i, { prompt }] of samples.entries()) {
        const both = rankings.slice(2 * i, 2 * i + 2);
        expect(both.map((ranking) => ranking.prompt)).toEqual([prompt.text, prompt.text]);
        expect(new Set(both.map(({ labeler }) => labeler)).size).toBe(2);
      }
    }).pipe(Effect.provide(Progress.layerSilent)),
  );

  it.effect("tells how far it is and shows who agrees with whom", () =>
    Effect.gen(function* () {
      const events: Array<ProgressEvent> = [];
      const publish = (event: ProgressEvent) => Effect.sync(() => void events.push(event));
      const layer = Layer.succeed(Progress, { publish, events: Stream.empty });
      const input = { samples, labelers: [byLength, byBrevity], key: key(1) };
      yield* collectRankings(input).pipe(Effect.provide(layer));
      const tags = events.map(({ _tag }) => _tag);
      expect([tags[0], tags.at(-2), tags.at(-1)]).toEqual(["Started", "Table", "Finished"]);
      expect(events.at(-3)).toMatchObject({ _tag: "Step", step: 200, total: 200 });
    }),
  );

  it.effect("reports all problems at once", () =>
    Effect.gen(function* () {
      const lonely = [{ prompt: { id: "7", text: "?" }, responses: ["only one"] }];
      const error = yield* Effect.flip(collectRankings({ samples: lonely, labelers: [], key: key(1) }));
      expect(error.problems.map(({ where }) => where)).toEqual(["labelers", "prompt 7"]);
    }).pipe(Effect.provide(Progress.layerSilent)),
  );
});
