import type { Criterion } from "./criterion.ts";
import { words } from "./words.ts";

/**
 * Does the response look like one sentence? The product of: it starts with a capital; it ends with `.`, `!` or `?`;
 * it is one line; its length is right (1 from 5 to 20 words, falling to 0 at 2 and at 30); it does not repeat itself; its
 * words are real. A product, so that no part can be bought with another.
 */
export function formCriterion(isWord: (word: string) => boolean): Criterion {
  return {
    name: "form",
    judge: (_, response) => {
      const found = words(response);
      if (!/^["'“‘]?[A-Z][^\n]*[.!?]["'”’]?$/.test(response.trim())) return 0;
      const real = found.filter(isWord).length / found.length;
      return lengthScore(found.length) * variety(found) * real ** 2;
    },
  };
}

function lengthScore(count: number): number {
  return clamp(Math.min((count - 2) / 3, (30 - count) / 10));
}

/** 0 with a word twice in a row or a pair of words twice; else 1 while four fifths of the words are different. */
function variety(found: ReadonlyArray<string>): number {
  const pairs = found.slice(1).map((word, i) => `${found[i]} ${word}`);
  const stutters = found.some((word, i) => word === found[i - 1]);
  if (stutters || new Set(pairs).size < pairs.length) return 0;
  return clamp((new Set(found).size / found.length - 0.5) / 0.3);
}

function clamp(x: number): number {
  return Math.min(Math.max(x, 0), 1);
}
