import { createRequire } from "node:module";
import { describe, expect, it } from "vitest";
import { raterCount, readLexicon } from "./lexicon.ts";
import { type Mood, moodCriterion, valence } from "./mood.ts";

const lexicon = readLexicon();

describe("readLexicon", () => {
  it("holds ten ratings a word", () => {
    expect(lexicon.size).toBeGreaterThan(7400);
    for (const ratings of lexicon.values()) expect(ratings).toHaveLength(raterCount);
    expect(lexicon.get("happy")).toEqual([2, 2, 2, 4, 2, 4, 3, 4, 2, 2]);
  });
});

describe("valence", () => {
  it("is VADER's where its rules for boosters, capitals and punctuation do not come in", () => {
    const { SentimentIntensityAnalyzer } = createRequire(import.meta.url)("vader-sentiment");
    const sentences = [
      "she was happy with the food",
      "he is not happy today",
      "the war killed my friend",
      "they never liked the terrible weather",
      "he did not love it",
      "we can't win",
      "the train leaves at noon",
    ];
    for (const sentence of sentences) {
      const sum = valence(lexicon, sentence);
      // VADER reports x / √(x² + 15), rounded to four digits.
      const { compound } = SentimentIntensityAnalyzer.polarity_scores(sentence);
      expect(sum / Math.sqrt(sum * sum + 15)).toBeCloseTo(compound, 3);
    }
  });

  it("differs from one rater to the next", () => {
    const each = Array.from({ length: raterCount }, (_, rater) =>
      valence(lexicon, "a careful person", rater),
    );
    expect(each).toEqual([3, 0, 0, 0, 1, 0, -1, 2, 1, 0]);
    expect(valence(lexicon, "a careful person")).toBeCloseTo(0.6);
  });
});

describe("moodCriterion", () => {
  const { judge } = moodCriterion<Mood | undefined>(lexicon, (mood) => mood);

  it("ranks happy, plain and sad text by the mood that was asked for", () => {
    const [happy, plain, sad] = ["We love our happy home.", "We live in a house.", "The war was a tragedy."];
    const order = (mood: Mood) => [happy, plain, sad].map((text) => judge(mood, text!, 0)!);
    expect(order("happy")[0]).toBeGreaterThan(order("happy")[1]!);
    expect(order("happy")[1]).toBeGreaterThan(order("happy")[2]!);
    expect(order("sad")[2]).toBeGreaterThan(order("sad")[1]!);
    expect(order("neutral")[1]).toBe(1);
    expect(judge(undefined, happy!, 0)).toBeUndefined();
  });

  it("saturates: two happy words earn nearly as much as ten", () => {
    expect(judge("happy", "happy ".repeat(10), 0)! - judge("happy", "happy happy", 0)!).toBeLessThan(0.03);
  });
});
