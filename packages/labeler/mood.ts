import type { Criterion } from "./criterion.ts";
import { type Lexicon, raterCount } from "./lexicon.ts";
import { words } from "./words.ts";

export type Mood = "happy" | "sad" | "neutral";

/** What a negation up to three words before does to a rating: the constant of VADER's rules. */
const negation = -0.74;
const negators = new Set(["no", "not", "never", "without", "neither", "nor", "nothing", "nobody", "cannot"]);

/**
 * v = Σ_w s_w · r_w: the ratings r_w of the text's words, with s_w = −0.74 after a negation (up to three words back) and
 * 1 elsewhere. `rater` picks one person's ratings; without it they are averaged over all ten people.
 */
export function valence(lexicon: Lexicon, text: string, rater?: number): number {
  let sum = 0;
  let sinceNegation = Number.POSITIVE_INFINITY;
  for (const word of words(text)) {
    const negates = negators.has(word) || word.endsWith("n't");
    const ratings = negates ? undefined : lexicon.get(word);
    if (ratings) {
      const rating = rater === undefined ? ratings.reduce((a, b) => a + b, 0) / raterCount : ratings[rater]!;
      sum += sinceNegation < 3 ? negation * rating : rating;
    }
    sinceNegation = negates ? 0 : sinceNegation + 1;
  }
  return sum;
}

/**
 * Does the response have the asked-for mood in the eyes of one of VADER's raters? With t = tanh(v / 2):
 * happy (1 + t) / 2, sad (1 − t) / 2, neutral 1 − |t|. One strong word nearly saturates it, so piling up mood words
 * earns next to nothing. It does not apply to a prompt that asks for no mood.
 */
export function moodCriterion<P>(lexicon: Lexicon, askedMood: (prompt: P) => Mood | undefined): Criterion<P> {
  return {
    name: "mood",
    judge: (prompt, response, rater) => {
      const asked = askedMood(prompt);
      if (asked === undefined) return undefined;
      const t = Math.tanh(valence(lexicon, response, rater) / 2);
      return asked === "happy" ? (1 + t) / 2 : asked === "sad" ? (1 - t) / 2 : 1 - Math.abs(t);
    },
  };
}
