import { fold, integers, type Key, shuffled } from "@rlhf/core/random";
import type { Demonstration, Prompt } from "@rlhf/core/records";
import type { Lexicon } from "@rlhf/labeler/lexicon";
import type { Facts } from "./facts.ts";
import { byLot } from "./lot.ts";
import { phrasingsOf } from "./phrasings.ts";
import { factQuestions } from "./questions.ts";
import { combination, type Solved, type Task, type WordnetTask } from "./task.ts";
import { topicSentences } from "./topic_sentences.ts";
import type { Wordnet } from "./wordnet.ts";

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

/** How the kinds of tasks are mixed, in demonstrations as in prompts: sentences on a topic, in a mood too, and questions. */
export const taskShares = {
  topic: 0.6,
  "mood and topic": 0.2,
  define: 0.05,
  opposite: 0.05,
  kind: 0.05,
  fact: 0.05,
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

/**
 * Real sentences by mood and topic, and facts about words, all from WordNet, asked for in many phrasings. A sentence is
 * held out with its meaning (as in the corpus), a word or a combination of mood and topic by lot. Throws `RangeError`
 * where WordNet has fewer examples than `sizes` ask for.
 */
export function makeTasks(options: {
  readonly wordnet: Wordnet;
  readonly facts: Facts;
  readonly lexicon: Lexicon;
  readonly sizes: TaskSizes;
  readonly key: Key;
}): Tasks {
  const { wordnet, facts, lexicon, sizes, key } = options;
  const asked = [...topicSentences(wordnet, lexicon, key), ...factQuestions(facts, key)];
  const isNewCombination = (task: WordnetTask) =>
    task.kind === "write" && task.mood !== undefined && byLot(key, combination(task), 1 / 7);
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

/** `count` different items in random order: the kinds of task by {@link taskShares}, within a kind each mood and topic alike. */
function mixed<T extends { readonly task: WordnetTask }>(
  pool: ReadonlyArray<T>,
  count: number,
  key: Key,
): ReadonlyArray<T> {
  const chosen = Object.entries(taskShares).flatMap(([kind, share]) => {
    const groups = new Map<string, Array<T>>();
    for (const item of shuffled(
      fold(key, kind),
      pool.filter(({ task }) => formOf(task) === kind),
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

export function formOf(task: WordnetTask): keyof typeof taskShares {
  if (task.kind !== "write") return task.kind;
  return task.mood === undefined ? "topic" : "mood and topic";
}
