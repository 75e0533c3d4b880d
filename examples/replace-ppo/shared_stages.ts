import { RunFolder } from "@rlhf/core";
import { Effect } from "effect";
import { labelersOf } from "../instructgpt-repro/comparisons.ts";
import { learnReward, supervise } from "../instructgpt-repro/main.ts";
import type { Setting } from "../instructgpt-repro/setting.ts";

/** The pipeline of `examples/instructgpt-repro` up to its last stage, left in the run folder as it leaves it. */
export const trainSharedStages = Effect.fn("shared stages")(function* (setting: Setting) {
  const folder = yield* RunFolder;
  yield* folder.writeJson("config.json", setting.config);
  const { supervised, epochs } = yield* supervise(setting);
  yield* learnReward({
    ...setting,
    labelers: labelersOf(setting),
    writer: supervised,
    judge: supervised,
    candidates: epochs,
    round: 1,
  });
});
