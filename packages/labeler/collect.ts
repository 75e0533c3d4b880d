import { InvalidInput, type Problem } from "@rlhf/core/errors";
import { Progress, type TableRow } from "@rlhf/core/progress";
import { fold, type Key, shuffled, uniforms } from "@rlhf/core/random";
import type { Prompt, Ranking } from "@rlhf/core/records";
import * as Effect from "effect/Effect";
import { type AgreementMatrix, agreementMatrix } from "./agreement.ts";
import { type DatasetSize, datasetSize } from "./dataset_size.ts";
import type { Labeler } from "./labeler.ts";

/** A prompt with the K responses to be ranked; InstructGPT's labellers saw K = 4 to 9. */
export interface Sampled<P extends Prompt> {
  readonly prompt: P;
  readonly responses: ReadonlyArray<string>;
}

export interface Collection {
  /** `perPrompt` rankings a prompt, those of a prompt in a row: what a reward model learns from. */
  readonly rankings: ReadonlyArray<Ranking>;
  /** The prompts that all labellers ranked, one ranking a labeller: what agreement is measured on. */
  readonly overlap: ReadonlyArray<Ranking>;
  readonly agreement: AgreementMatrix;
  readonly size: DatasetSize;
}

const stage = "labeler.collect";

/**
 * Has every prompt's responses ranked by `perPrompt` labellers drawn at random (InstructGPT: one), and a share `overlap` of
 * the prompts by all labellers. Fails with `InvalidInput` when there are not as many labellers or a prompt has fewer than
 * two responses.
 */
export const collectRankings = Effect.fn("labeler.collectRankings")(function* <P extends Prompt>(input: {
  readonly samples: ReadonlyArray<Sampled<P>>;
  readonly labelers: ReadonlyArray<Labeler<P>>;
  readonly key: Key;
  readonly perPrompt?: number;
  readonly overlap?: number;
}) {
  const { samples, labelers, key, perPrompt = 1, overlap: overlapShare = 0.1 } = input;
  const problems = problemsOf(samples, labelers, perPrompt);
  if (problems.length > 0) return yield* new InvalidInput({ problems });
  const progress = yield* Progress;
  const total = samples.length;
  yield* progress.publish({ _tag: "Started", stage, total, unit: "prompts" });

  const rankings: Array<Ranking> = [];
  const overlap: Array<Ranking> = [];
  const chosen = (i: number) => shuffled(fold(fold(key, "labeler"), i), labelers).slice(0, perPrompt);
  const lots = uniforms(fold(key, "overlap"), total);
  const every = Math.ceil(total / 50);
  yield* Effect.forEach(
    samples,
    Effect.fnUntraced(function* (sample, i) {
      rankings.push(...chosen(i).map((labeler) => rankedBy(labeler, sample)));
      if (lots[i]! < overlapShare) overlap.push(...labelers.map((labeler) => rankedBy(labeler, sample)));
      if ((i + 1) % every !== 0 && i + 1 !== total) return;
      const metrics = { overlap: overlap.length / labelers.length };
      yield* progress.publish({ _tag: "Step", stage, step: i + 1, total, metrics, tokens: 0 });
    }),
    { discard: true },
  );

  const agreement = agreementMatrix(overlap);
  const size = datasetSize(rankings);
  const rows = matrixRows(agreement);
  yield* progress.publish({ _tag: "Table", stage, title: "Agreement between labellers", rows });
  const { share, compared } = agreement.overall;
  const metrics = compared > 0 ? { ...size, agreement: share } : { ...size };
  yield* progress.publish({ _tag: "Finished", stage, metrics });
  return { rankings, overlap, agreement, size } satisfies Collection;
});

function rankedBy<P extends Prompt>(labeler: Labeler<P>, { prompt, responses }: Sampled<P>): Ranking {
  return { prompt: prompt.text, responses, ranks: labeler.rank(prompt, responses), labeler: labeler.name };
}

function problemsOf<P extends Prompt>(
  samples: ReadonlyArray<Sampled<P>>,
  labelers: ReadonlyArray<Labeler<P>>,
  perPrompt: number,
): ReadonlyArray<Problem> {
  const tooFewLabelers = {
    where: "labelers",
    problem: `${labelers.length} are there to rank, and every prompt is to be ranked by ${perPrompt}`,
    remedy: "Give more labellers or lower perPrompt",
  };
  const tooFew = samples.flatMap(({ prompt, responses }) =>
    responses.length >= 2
      ? []
      : {
          where: `prompt ${prompt.id}`,
          problem: `${responses.length} responses cannot be ranked`,
          remedy: "Give two responses or more; InstructGPT ranked 4 to 9",
        },
  );
  return labelers.length >= perPrompt ? tooFew : [tooFewLabelers, ...tooFew];
}

function matrixRows({ labelers, between }: AgreementMatrix): ReadonlyArray<TableRow> {
  const cell = (share: number) => (Number.isNaN(share) ? "–" : `${(100 * share).toFixed(0)} %`);
  return labelers.map((labeler, i) => ({
    labeler,
    ...Object.fromEntries(labelers.map((other, j) => [other, cell(between[i]![j]!.share)])),
  }));
}
