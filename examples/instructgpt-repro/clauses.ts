import { frequency, nounMeaning, spelledWords } from "./nouns.ts";
import type { Wordnet } from "./wordnet.ts";

const finiteVerbs = new Set(
  `am are is was were be been has have had do does did can could will would shall should may might must cannot isn't aren't
  wasn't weren't hasn't haven't hadn't don't doesn't didn't can't couldn't won't wouldn't shouldn't became began blew broke
  brought built bought came caught chose crept cut did drank drew drove ate fell felt fought found flew forgot gave got
  grew heard held hit hurt kept knew laid led left lent let lost made meant met paid put ran rang read rose said sang
  sat saw sent shook shot slept sold spent spoke stole stood struck swam swept swore taught threw told took went wept
  woke won wore wrote`.split(/\s+/),
);

/**
 * Is this a whole sentence and not a fragment ("a hot week on the stock market")? It must hold a verb form that is always
 * finite, a pronoun that is always a subject, or a noun followed by a regular verb form. A rule of thumb, since
 * WordNet does not say.
 */
export function isClause(wordnet: Wordnet, sentence: string): boolean {
  const found = spelledWords(sentence);
  return found.some((spelled, i) => {
    const word = spelled.toLowerCase();
    if ((i > 0 && finiteVerbs.has(word)) || /^(?:i|he|she|we|they)(?:['’]|$)/.test(word)) return true;
    return i > 0 && isRegularVerb(wordnet, word) && nounMeaning(wordnet, found[i - 1]!) !== undefined;
  });
}

/** "teaches", "ornamented": the -s or -ed form of a word that is more often a verb than a noun or an adjective. */
function isRegularVerb(wordnet: Wordnet, word: string): boolean {
  const stem = word.match(/^(.{2,}?)(?:s|es|ed)$/)?.[1];
  if (!stem) return false;
  const bases = [stem, `${stem}e`, stem.replace(/i$/, "y"), stem.replace(/(.)\1$/, "$1")];
  return bases.some((base) => {
    const asVerb = frequency(wordnet, base, "v");
    return asVerb > 0 && asVerb > frequency(wordnet, base, "n") + frequency(wordnet, base, "a");
  });
}
