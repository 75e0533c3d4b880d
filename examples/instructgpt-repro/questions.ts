import { fold, integers, type Key } from "@rlhf/core/random";
import { words } from "@rlhf/labeler/words";
import { categories, type Facts } from "./facts.ts";
import { byLot } from "./lot.ts";
import { withArticle } from "./sentences.ts";
import type { Solved, WordnetTask } from "./task.ts";

/** A question about every word that {@link Facts} knows, with its right answer; one word in ten is held out. */
export function factQuestions(
  { definitions, opposites, categoriesOf }: Facts,
  key: Key,
): ReadonlyArray<Solved> {
  const solved = (task: Exclude<WordnetTask, { kind: "write" }>, response: string): Solved => ({
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
