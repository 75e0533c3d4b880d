/**
 * GPT-2's pre-tokenisation (Radford et al. 2019): contractions, words, numbers and symbols with the space before
 * them, and white space. `\p{White_Space}` is what the reference means by `\s`; JavaScript's own `\s` differs from it
 * at U+0085 and U+FEFF.
 */
const word =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** Calls `visit` with each word of the text, in order; the words cover the text without gaps. */
export function forEachWord(text: string, visit: (word: string) => void): void {
  const matcher = new RegExp(word);
  let start = 0;
  while (matcher.test(text)) {
    visit(text.slice(start, matcher.lastIndex));
    start = matcher.lastIndex;
  }
}
