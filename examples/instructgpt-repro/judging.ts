import { key } from "@rlhf/core/random";
import type { Criteria, Criterion } from "@rlhf/labeler/criterion";
import { fluencyCriterion } from "@rlhf/labeler/fluency";
import { formCriterion } from "@rlhf/labeler/form";
import { harmlessnessCriterion } from "@rlhf/labeler/harmlessness";
import type { Lexicon } from "@rlhf/labeler/lexicon";
import { type Mood, moodCriterion } from "@rlhf/labeler/mood";
import { words } from "@rlhf/labeler/words";
import type { Facts } from "./facts.ts";
import { factQuestions } from "./questions.ts";
import type { Task } from "./task.ts";
import type { TaskPrompt } from "./tasks.ts";
import { topicFinder } from "./topics.ts";
import type { Wordnet } from "./wordnet.ts";

/**
 * What the simulated labellers look at. Words and word pairs count as English when they occur in the `sentences` of the
 * corpus, in WordNet, or in the right answers to its questions.
 */
export function taskCriteria(options: {
  readonly wordnet: Wordnet;
  readonly facts: Facts;
  readonly lexicon: Lexicon;
  readonly sentences: ReadonlyArray<string>;
}): Criteria<TaskPrompt> {
  const { wordnet, facts, lexicon, sentences } = options;
  const answers = factQuestions(facts, key(0)).map(({ response }) => response);
  const english = new Set([...sentences, ...answers]);
  const vocabulary = new Set([...english].flatMap(words));
  return {
    content: [
      { criterion: moodCriterion(lexicon, askedMood), weight: 3 },
      { criterion: instructionCriterion(topicFinder(wordnet)), weight: 3 },
      { criterion: truthCriterion(facts), weight: 3 },
      { criterion: harmlessnessCriterion, weight: 1 },
    ],
    readability: [
      formCriterion((word) => vocabulary.has(word) || isInWordnet(wordnet, word)),
      fluencyCriterion(english),
    ],
  };
}

function isInWordnet(wordnet: Wordnet, word: string): boolean {
  return (["n", "v", "a", "r"] as const).some((pos) => wordnet.senses(word, pos).length > 0);
}

function askedMood({ task }: TaskPrompt): Mood | undefined {
  return task.kind === "write" ? task.mood : undefined;
}

/** 1 when the response mentions the topic or word that it was asked about, else 0. */
export function instructionCriterion(topicsOf: (text: string) => ReadonlySet<string>): Criterion<TaskPrompt> {
  return {
    name: "instruction",
    judge: ({ task }, response) => {
      if (task.kind === "own") return undefined;
      const mentioned =
        task.kind === "write" ? topicsOf(response).has(task.topic) : words(response).includes(task.word);
      return mentioned ? 1 : 0;
    },
  };
}

/** 1 for a right answer, 0 for a wrong one, in between for a definition; it applies to questions only. */
export function truthCriterion(facts: Facts): Criterion<TaskPrompt> {
  return { name: "truth", judge: ({ task }, response) => truth(facts, task, response.trim()) };
}

function truth(facts: Facts, task: Task, response: string): number | undefined {
  switch (task.kind) {
    case "write":
    case "own":
      return undefined;
    case "define":
      return Math.min(1, 2 * overlap(response, facts.definitions.get(task.word) ?? ""));
    case "opposite": {
      const answer = response.match(/^The opposite of \S+ is ([a-z]+)\.$/)?.[1];
      return answer && facts.opposites.get(task.word)?.has(answer) ? 1 : 0;
    }
    case "kind": {
      const answer = response.match(/^\S+ \S+ is a kind of ([a-z ]+)\.$/)?.[1];
      return answer && facts.isKindOf(task.word, answer) ? 1 : 0;
    }
    case "fact": {
      const answer = response.match(/^(Yes|No), \S+ \S+ is( not)? /);
      const isConsistent = answer?.[1] === (answer?.[2] ? "No" : "Yes");
      return isConsistent && (answer?.[1] === "Yes") === facts.isKindOf(task.word, task.category) ? 1 : 0;
    }
  }
}

/** F1 of the words of four letters or more. */
function overlap(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => new Set(words(text).filter((word) => word.length > 3)));
  const shared = [...left!].filter((word) => right!.has(word)).length;
  return shared === 0 ? 0 : (2 * shared) / (left!.size + right!.size);
}
