/** Documents as one stream of tokens, each ended by `eos`. */
export function joinDocuments(documents: ReadonlyArray<ArrayLike<number>>, eos: number): Int32Array {
  const stream = new Int32Array(documents.reduce((length, document) => length + document.length + 1, 0));
  let at = 0;
  for (const document of documents) {
    stream.set(document, at);
    at += document.length;
    stream[at++] = eos;
  }
  return stream;
}

/**
 * Cuts a stream of tokens into chunks for next-token training: `length` tokens each, fewer in the last, which is left
 * out if it is a single token. A chunk sees nothing of the one before it; its first token is context only.
 *
 * @throws RangeError when `length` is not an integer of at least 2.
 */
export function chunkStream(
  tokens: ArrayLike<number>,
  { length }: { readonly length: number },
): Array<Array<number>> {
  if (!Number.isInteger(length) || length < 2)
    throw new RangeError(`Cannot cut into chunks: length must be an integer of at least 2, got ${length}`);
  const chunks: Array<Array<number>> = [];
  for (let start = 0; start < tokens.length - 1; start += length) {
    const end = Math.min(start + length, tokens.length);
    chunks.push(Array.from({ length: end - start }, (_, i) => tokens[start + i]!));
  }
  return chunks;
}

/**
 * The segments of a chunk that holds several documents: each ends with its `eos`. With them in `Row.segments` a
 * document does not see the one before it.
 */
export function documentSegments(tokens: ArrayLike<number>, eos: number): Int32Array {
  const segments = new Int32Array(tokens.length);
  let document = 1;
  for (let t = 0; t < tokens.length; t++) {
    segments[t] = document;
    if (tokens[t] === eos) document++;
  }
  return segments;
}
