import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as PubSub from "effect/PubSub";
import * as Stream from "effect/Stream";
import type { Warning } from "./run_folder.ts";

/** A row of a {@link ProgressEvent} table: column title → cell. */
export type TableRow = Readonly<Record<string, string | number>>;

/** What a stage tells whoever watches it. `tokens` counts the tokens worked through in this step alone. */
export type ProgressEvent =
  | { readonly _tag: "Started"; readonly stage: string; readonly total: number; readonly unit: string }
  | {
      readonly _tag: "Step";
      readonly stage: string;
      readonly step: number;
      readonly total: number;
      readonly metrics: Readonly<Record<string, number>>;
      readonly tokens: number;
    }
  | { readonly _tag: "Note"; readonly stage: string; readonly message: string }
  | ({ readonly _tag: "Warning"; readonly stage: string; readonly step: number } & Warning)
  | {
      readonly _tag: "Table";
      readonly stage: string;
      readonly title: string;
      readonly rows: ReadonlyArray<TableRow>;
    }
  | { readonly _tag: "Finished"; readonly stage: string; readonly metrics: Readonly<Record<string, number>> };

/** The bus from the stages to a terminal, a web page or a test. Publishing never waits for a watcher. */
export class Progress extends Context.Service<
  Progress,
  {
    readonly publish: (event: ProgressEvent) => Effect.Effect<void>;
    readonly events: Stream.Stream<ProgressEvent>;
  }
>()("@rlhf/core/Progress") {
  static readonly layer = Layer.effect(
    Progress,
    Effect.map(
      Effect.acquireRelease(PubSub.unbounded<ProgressEvent>({ replay: 1024 }), PubSub.shutdown),
      (bus) => ({
        publish: (event) => Effect.asVoid(PubSub.publish(bus, event)),
        events: Stream.fromPubSub(bus),
      }),
    ),
  );

  /** Nobody watches: for tests and for callers that only want the result. */
  static readonly layerSilent = Layer.succeed(Progress, { publish: () => Effect.void, events: Stream.empty });
}
