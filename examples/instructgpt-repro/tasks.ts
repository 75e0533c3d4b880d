import { fold, integers, type Key, shuffled, uniforms } from "@rlhf/core/random";
import type { Demonstration, Prompt } from "@rlhf/core/records";
import type { Lexicon } from "@rlhf/labeler/lexicon";
import { type Mood, valence } from "@rlhf/labeler/mood";
import { words } from "@rlhf/labeler/words";
import { isClause } from "./clauses.ts";
import { isHeldOut } from "./corpus.ts";
import { categories, type Facts, readFacts } from "./facts.ts";
import { phrasingsOf } from "./phrasings.ts";
import { exampleSentences, withArticle } from "./sentences.ts";
import { topicFinder } from "./topics.ts";
import type { Wordnet } from "./wordnet.ts";

/** What a prompt asks for. */
export type Task =
  | { readonly kind: "write"; readonly mood: Mood; readonly topic: string }
  | { readonly kind: "define"; readonly word: string }
  | { readonly kind: "opposite"; readonly word: string }
  | { readonly kind: "kind"; readonly word: string }
  | { readonly kind: "fact"; readonly word: string; readonly category: string };

export interface TaskPrompt extends Prompt {
  readonly task: Task;
}

export interface TaskDemonstration extends Demonstration {
  readonly task: Task;
}

/**
 * The whole prompt format: an instruction, this separator, the response. The texts of prompts end with it. It is also
 * what stands between two sentences of a corpus document.
 */
export const separator = "\n";

/** How the tasks are mixed, in demonstrations as in prompts. */
export const taskShares: Readonly<Record<Task["kind"], number>> = {
  write: 0.64,
  define: 0.08,
  opposite: 0.08,
  kind: 0.1,
  fact: 0.1,
};

export interface TaskSizes {
  readonly demonstrations: number;
  readonly validation: number;
  readonly prompts: number;
  readonly evaluation: number;
}

export interface Tasks {
  readonly demonstrations: ReadonlyArray<TaskDemonstration>;
  /** Demonstrations with new phrasings, new sentences and new words. */
  readonly validation: ReadonlyArray<TaskDemonstration>;
  /** Prompts without responses, for rankings and for reinforcement learning; all different. */
  readonly prompts: ReadonlyArray<TaskPrompt>;
  /** New phrasings, new words, and among the moods and topics combinations that training leaves out. */
  readonly evaluation: ReadonlyArray<TaskPrompt>;
}

interface Solved {
  readonly task: Task;
  readonly response: string;
  readonly heldOut: boolean;
}

/**
 * Real sentences by mood and topic, and facts about words, all from WordNet, asked for in many phrasings. A sentence is
 * held out with its meaning (as in the corpus), a word or a combination of mood and topic by lot. Throws `RangeError`
 * where WordNet has fewer examples than `sizes` ask for.
 */
export function makeTasks(options: {
  readonly wordnet: Wordnet;
  readonly lexicon: Lexicon;
  readonly sizes: TaskSizes;
  readonly key: Key;
}): Tasks {
  const { wordnet, lexicon, sizes, key } = options;
  const written = writtenSentences(wordnet, lexicon, key);
  const asked = [...written, ...solvedFacts(readFacts(wordnet), key)];
  const isNewCombination = (task: Task) => task.kind === "write" && byLot(key, combination(task), 1 / 7);
  const training = asked.filter(({ task, heldOut }) => !heldOut && !isNewCombination(task));
  const heldOut = asked.filter((solved) => solved.heldOut);
  const unseen = [...asked.filter(({ task }) => task.kind === "write"), ...heldOut];

  const demonstrate = (pool: ReadonlyArray<Solved>, count: number, split: "train" | "heldOut") =>
    mixed(pool, count, fold(key, `${split} demonstrations`)).map(({ task, response }, i) => {
      const phrasings = phrasingsOf(task)[split];
      const [choice] = integers(fold(fold(key, `${split} phrasing`), i), 1, phrasings.length);
      return { prompt: phrasings[choice!]! + separator, response, task };
    });
  const ask = (pool: ReadonlyArray<Solved>, count: number, split: "train" | "heldOut") => {
    const different = new Map(pool.map(({ task }) => [JSON.stringify(task), task]));
    const phrased = [...different.values()].flatMap((task) =>
      phrasingsOf(task)[split].map((text) => ({ task, text: text + separator })),
    );
    return mixed(phrased, count, fold(key, `${split} prompts`)).map((prompt, i) => ({
      id: `${split}-${i}`,
      ...prompt,
    }));
  };
  return {
    demonstrations: demonstrate(training, sizes.demonstrations, "train"),
    validation: demonstrate(heldOut, sizes.validation, "heldOut"),
    prompts: ask(training, sizes.prompts, "train"),
    evaluation: ask(unseen, sizes.evaluation, "heldOut"),
  };
}

/** Combinations of mood and topic with fewer sentences than this are not asked for. */
const fewestSentences = 15;

/**
 * Whole sentences of 5 to 20 words that have a mood to people on average (valence beyond ±1.2, or within ±0.3 for
 * neutral) and a topic; of several topics the one that has the fewest sentences.
 */
function writtenSentences(wordnet: Wordnet, lexicon: Lexicon, key: Key): ReadonlyArray<Solved> {
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
    const askable = [...topics].filter((topic) => count(mood, topic) >= fewestSentences);
    const [topic] = askable.sort((a, b) => count(mood, a) - count(mood, b));
    return topic ? [{ task: { kind: "write", mood, topic }, response, heldOut }] : [];
  });
}

function moodOf(sentenceValence: number): Mood | undefined {
  if (sentenceValence >= 1.2) return "happy";
  if (sentenceValence <= -1.2) return "sad";
  return Math.abs(sentenceValence) < 0.3 ? "neutral" : undefined;
}

function solvedFacts({ definitions, opposites, categoriesOf }: Facts, key: Key): ReadonlyArray<Solved> {
  const solved = (task: Exclude<Task, { kind: "write" }>, response: string): Solved => ({
    task,
    response,
    heldOut: byLot(key, task.word, 0.1),
  });
  const defined = [...definitions]
    .filter(([, definition]) => words(definition).length <= 20)
    .map(([word, definition]) => solved({ kind: "define", word }, definition));
  const opposed = [...opposites].map(([word, [opposite]]) =>
    solved({ kind: "opposite", word }, `The opposite of ${word} is ${opposite}.`),
  );
  const kinds = [...categoriesOf].map(([word, [category]]) =>
    solved({ kind: "kind", word }, sentenceAbout(word, `is a kind of ${category}`)),
  );
  const facts = [...categoriesOf].map(([word, known]) => {
    const others = categories.filter((category) => !known.includes(category) && category !== word);
    const isTrue = byLot(key, `fact ${word}`, 0.5);
    const choices = isTrue ? known : others;
    const category = choices[integers(fold(fold(key, "category"), word), 1, choices.length)[0]!]!;
    const answer = isTrue ? `Yes, ${withArticle(word)} is` : `No, ${withArticle(word)} is not`;
    return solved({ kind: "fact", word, category }, `${answer} ${withArticle(category)}.`);
  });
  return [...defined, ...opposed, ...kinds, ...facts];
}

function sentenceAbout(noun: string, rest: string): string {
  const text = `${withArticle(noun)} ${rest}.`;
  return text[0]!.toUpperCase() + text.slice(1);
}

function combination({ mood, topic }: { readonly mood: Mood; readonly topic: string }): string {
  return `${mood} ${topic}`;
}

/** True for a share of all names, always for the same. */
function byLot(key: Key, name: string, share: number): boolean {
  return uniforms(fold(fold(key, "lot"), name), 1)[0]! < share;
}

/** `count` different items in random order: the kinds of task by {@link taskShares}, within "write" each mood and topic alike. */
function mixed<T extends { readonly task: Task }>(
  pool: ReadonlyArray<T>,
  count: number,
  key: Key,
): ReadonlyArray<T> {
  const chosen = Object.entries(taskShares).flatMap(([kind, share]) => {
    const groups = new Map<string, Array<T>>();
    for (const item of shuffled(
      fold(key, kind),
      pool.filter(({ task }) => task.kind === kind),
    )) {
      const group = item.task.kind === "write" ? combination(item.task) : "";
      const known = groups.get(group);
      if (known) known.push(item);
      else groups.set(group, [item]);
    }
    const wanted = Math.round(count * share);
    const inTurns = [...groups.values()]
      .flatMap((group) => group.map((item, turn) => ({ item, turn })))
      .sort((a, b) => a.turn - b.turn);
    if (inTurns.length < wanted) {
      throw new RangeError(`Cannot make ${wanted} tasks of kind ${kind}: WordNet holds ${inTurns.length}`);
    }
    return inTurns.slice(0, wanted).map(({ item }) => item);
  });
  return shuffled(fold(key, "order"), chosen);
}
