import type { Key } from "@rlhf/core/random";
import type { Lexicon } from "@rlhf/labeler/lexicon";
import { type Mood, valence } from "@rlhf/labeler/mood";
import { words } from "@rlhf/labeler/words";
import { isClause } from "./clauses.ts";
import { usesCommonWords } from "./common_words.ts";
import { isHeldOut } from "./corpus.ts";
import { exampleSentences } from "./sentences.ts";
import type { Solved } from "./task.ts";
import { topicFinder } from "./topics.ts";
import type { Wordnet } from "./wordnet.ts";

/**
 * Whole sentences of 5 to 20 common words, as answers to a request for each topic that they mention, and for that topic in
 * their mood where they have one to people on average (a valence beyond ±1.6).
 */
export function topicSentences(wordnet: Wordnet, lexicon: Lexicon, key: Key): ReadonlyArray<Solved> {
  const topicsOf = topicFinder(wordnet);
  const seen = new Set<string>();
  const solved: Array<Solved> = [];
  for (const synset of wordnet.synsets.values()) {
    for (const response of exampleSentences(synset)) {
      const length = words(response).length;
      if (seen.has(response) || length < 5 || length > 20) continue;
      if (!usesCommonWords(wordnet, response) || !isClause(wordnet, response)) continue;
      seen.add(response);
      const mood = moodOf(valence(lexicon, response));
      const heldOut = isHeldOut(synset, key);
      for (const topic of topicsOf(response)) {
        solved.push({ task: { kind: "write", topic }, response, heldOut });
        if (mood) solved.push({ task: { kind: "write", mood, topic }, response, heldOut });
      }
    }
  }
  return solved;
}

function moodOf(sentenceValence: number): Mood | undefined {
  if (sentenceValence >= 1.6) return "happy";
  return sentenceValence <= -1.6 ? "sad" : undefined;
}
