import type { Model } from "@rlhf/transformer";
import * as Context from "effect/Context";
import type { Score, ScoreFailed } from "./score.ts";

/** The policy that training holds on to: the one it starts from. It is never written to. */
export class Reference extends Context.Service<Reference, Model>()("@rlhf/bandit-env/Reference") {}

/** Who judges the responses. */
export class Scorer extends Context.Service<Scorer, Score<ScoreFailed>>()("@rlhf/bandit-env/Scorer") {}
