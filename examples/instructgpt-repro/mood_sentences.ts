import type { Key } from "@rlhf/core/random";
import type { Lexicon } from "@rlhf/labeler/lexicon";
import { type Mood, valence } from "@rlhf/labeler/mood";
import { words } from "@rlhf/labeler/words";
import { isClause } from "./clauses.ts";
import { isHeldOut } from "./corpus.ts";
import { exampleSentences } from "./sentences.ts";
import { combination, type Solved } from "./task.ts";
import { topicFinder } from "./topics.ts";
import type { Wordnet } from "./wordnet.ts";

/**
 * Whole sentences of 5 to 20 words that have a mood to people on average (valence beyond ±1.6, or within ±0.3 for
 * neutral) and a topic; of several topics the one that has the fewest sentences.
 */
export function moodSentences(wordnet: Wordnet, lexicon: Lexicon, key: Key): ReadonlyArray<Solved> {
  const topicsOf = topicFinder(wordnet);
  const found = new Map<string, { mood: Mood; topics: ReadonlySet<string>; heldOut: boolean }>();
  for (const synset of wordnet.synsets.values()) {
    for (const sentence of exampleSentences(synset)) {
      const length = words(sentence).length;
      if (found.has(sentence) || length < 5 || length > 20 || !isClause(wordnet, sentence)) continue;
      const mood = moodOf(valence(lexicon, sentence));
      if (mood) found.set(sentence, { mood, topics: topicsOf(sentence), heldOut: isHeldOut(synset, key) });
    }
  }
  const counts = new Map<string, number>();
  const count = (mood: Mood, topic: string) => counts.get(combination({ mood, topic })) ?? 0;
  for (const { mood, topics } of found.values()) {
    for (const topic of topics) counts.set(combination({ mood, topic }), count(mood, topic) + 1);
  }
  return [...found].flatMap(([response, { mood, topics, heldOut }]) => {
    const [topic] = [...topics].sort((a, b) => count(mood, a) - count(mood, b));
    return topic ? [{ task: { kind: "write", mood, topic }, response, heldOut }] : [];
  });
}

function moodOf(sentenceValence: number): Mood | undefined {
  if (sentenceValence >= 1.6) return "happy";
  if (sentenceValence <= -1.6) return "sad";
  return Math.abs(sentenceValence) < 0.3 ? "neutral" : undefined;
}
