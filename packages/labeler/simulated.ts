import { fold, type Key, normals, uniforms } from "@rlhf/core/random";
import type { Prompt } from "@rlhf/core/records";
import type { Criteria } from "./criterion.ts";
import type { Labeler } from "./labeler.ts";
import { raterCount } from "./lexicon.ts";

/** A made-up person: a real person's word ratings, with weights and slips of the pen drawn at random. */
export interface SimulatedLabeler<P extends Prompt> extends Labeler<P> {
  /** The weight of each content criterion to this labeller, by the criterion's name. */
  readonly weights: Readonly<Record<string, number>>;
  /** The exponent on readability: above 1 for a labeller who minds bad form more than others do. */
  readonly strictness: number;
  /** From 0 to 1, without noise. */
  readonly utility: (prompt: P, response: string) => number;
}

export interface SimulatedLabelers<P extends Prompt> {
  /** Those who rank the training data. */
  readonly training: ReadonlyArray<SimulatedLabeler<P>>;
  /** Those whose judgement training never sees: the gold standard. */
  readonly heldOut: ReadonlyArray<SimulatedLabeler<P>>;
}

/** How many of the {@link raterCount} rank training data; the others are held out entirely. */
const trainingCount = 7;

/** What the content of an unreadable response still counts. */
const floor = 0.2;

/**
 * Ten simulated labellers, seven for training and three held out. Labeller i rates words as the i-th
 * person behind VADER did, weighs criterion k by w_k · exp(spread · N(0, 1)), and draws a strictness s alike. The
 * utility of a response that scores c_k in content (where that applies to the prompt) and r_j in readability is
 *
 *     u = (0.2 + 0.8 · Π_j r_j^s) · Σ_k w_k c_k / Σ_k w_k.
 *
 * The product makes content count as far as the text can be read, so that a heap of fitting words is no optimum; 0.2
 * is left so that unreadable texts are still told apart. A ranking is by u + temperature · g with g ~ Gumbel(0, 1):
 * a labeller prefers a to b with probability σ((u_a − u_b) / temperature), as Bradley and Terry have it. The
 * noise is drawn from (labeller, prompt, response): asked twice, a labeller answers alike. Responses within `tieMargin`
 * of the best of their group share its rank.
 *
 * The defaults make two labellers agree on 73 % of pairs of real sentences of which a fifth have their words shuffled
 * (`examples/instructgpt-repro`); the spread of the responses decides, so measure it on yours. InstructGPT's people agreed
 * on 72.6 % (Ouyang et al. 2022). `temperature: 0` gives labellers without noise.
 */
export function simulatedLabelers<P extends Prompt>(options: {
  readonly criteria: Criteria<P>;
  readonly key: Key;
  readonly spread?: number;
  readonly temperature?: number;
  readonly tieMargin?: number;
}): SimulatedLabelers<P> {
  const { criteria, key, spread = 0.5, temperature = 0.09, tieMargin = 0.01 } = options;
  const { content, readability } = criteria;
  const pool = Array.from({ length: raterCount }, (_, rater): SimulatedLabeler<P> => {
    const name = `simulated-${rater + 1}`;
    const own = fold(key, name);
    const taste = normals(fold(own, "taste"), content.length + 1).map((x) => Math.exp(spread * x));
    const strictness = taste[content.length]!;
    const weighed = content.map(({ criterion, weight }, k) => ({
      criterion,
      weight: weight * taste[k]!,
    }));
    const utility = (prompt: P, response: string) => {
      let [total, weights] = [0, 0];
      for (const { criterion, weight } of weighed) {
        const judged = criterion.judge(prompt, response, rater);
        if (judged === undefined) continue;
        total += weight * judged;
        weights += weight;
      }
      let readable = 1;
      for (const { judge } of readability) readable *= judge(prompt, response, rater) ?? 1;
      return weights > 0 ? (floor + (1 - floor) * readable ** strictness) * (total / weights) : 0;
    };
    const noisy = (prompt: P, response: string) =>
      utility(prompt, response) + temperature * gumbel(fold(fold(fold(own, "noise"), prompt.text), response));
    return {
      name,
      weights: Object.fromEntries(weighed.map(({ criterion, weight }) => [criterion.name, weight])),
      strictness,
      utility,
      rank: (prompt, responses) =>
        ranksOf(
          responses.map((response) => noisy(prompt, response)),
          tieMargin,
        ),
    };
  });
  return { training: pool.slice(0, trainingCount), heldOut: pool.slice(trainingCount) };
}

/** The gold standard: the mean utility over labellers, without noise. From 0 to 1. */
export function goldUtility<P extends Prompt>(
  labelers: ReadonlyArray<SimulatedLabeler<P>>,
  prompt: P,
  response: string,
): number {
  return labelers.reduce((sum, labeler) => sum + labeler.utility(prompt, response), 0) / labelers.length;
}

/** Rank 1 is the highest utility; a rank is shared by all within `margin` of its best, the next rank is one more. */
function ranksOf(utilities: ReadonlyArray<number>, margin: number): ReadonlyArray<number> {
  const ranks = new Array<number>(utilities.length);
  let [rank, best] = [0, Number.POSITIVE_INFINITY];
  const order = utilities.map((_, i) => i).sort((a, b) => utilities[b]! - utilities[a]!);
  for (const i of order) {
    if (rank === 0 || best - utilities[i]! > margin) {
      rank++;
      best = utilities[i]!;
    }
    ranks[i] = rank;
  }
  return ranks;
}

function gumbel(from: Key): number {
  // The half keeps the logarithm's argument above zero.
  return -Math.log(-Math.log(uniforms(from, 1)[0]! + 2 ** -25));
}
