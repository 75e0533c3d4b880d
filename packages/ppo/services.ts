import { integers, type Key } from "@rlhf/core/random";
import { type PadOptions, padRight, type Row, type TokenBatch } from "@rlhf/data/token_batch";
import * as Context from "effect/Context";
import type * as Ref from "effect/Ref";
import type { PpoConfig } from "./config.ts";
import type { PpoState } from "./state.ts";

export { Reference, Scorer } from "@rlhf/bandit-env";

/** Where pretraining text comes from. `draw` is a function of its arguments: the same key draws the same rows. */
export class PretrainingBatches extends Context.Service<
  PretrainingBatches,
  { readonly draw: (key: Key, rows: number) => TokenBatch }
>()("@rlhf/ppo/PretrainingBatches") {
  /** Rows of text, each draw independent of the others. */
  static readonly fromRows = (
    rows: ReadonlyArray<Row>,
    options: PadOptions,
  ): PretrainingBatches["Service"] => {
    const longest = rows.reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
    return {
      draw: (key, count) =>
        padRight(
          Array.from(integers(key, count, rows.length), (row) => rows[row]!),
          { atMost: longest, ...options }, // a model reads the longest row, and maybe nothing longer
        ),
    };
  };

  /** For plain PPO, whose `ptxCoefficient` is 0. */
  static readonly none: PretrainingBatches["Service"] = {
    draw: () => {
      throw new RangeError(
        "Cannot draw pretraining text: ptxCoefficient above 0 requires PretrainingBatches",
      );
    },
  };
}

/** The run that a {@link step} belongs to; `train` provides it. */
export class Learner extends Context.Service<
  Learner,
  {
    readonly config: PpoConfig;
    /** The end-of-sequence token. */
    readonly eos: number;
    readonly key: Key;
    readonly state: Ref.Ref<PpoState>;
  }
>()("@rlhf/ppo/Learner") {}
