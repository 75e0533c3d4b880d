/** MinHash values of a text; more make the first guess better, the verdict is by the sets themselves. */
const bands = 16;
const rowsPerBand = 4;

interface Entry {
  readonly text: string;
  readonly shingles: ReadonlySet<number>;
}

/** Finds texts that share most of their word triples, without comparing all with all. */
export class NearDuplicates {
  private readonly threshold: number;
  private readonly buckets = new Map<string, Array<Entry>>();

  /** @param threshold the least Jaccard similarity of the sets of triples that counts */
  constructor(threshold: number) {
    this.threshold = threshold;
  }

  add(text: string): void {
    const entry = { text, shingles: shinglesOf(text) };
    for (const bucket of bucketsOf(entry.shingles)) {
      const entries = this.buckets.get(bucket);
      // Thousands of texts in one bucket are the same text: a few of them will do.
      if (entries === undefined) this.buckets.set(bucket, [entry]);
      else if (entries.length < 32) entries.push(entry);
    }
  }

  /** The texts added that are near to this one. */
  near(text: string): ReadonlyArray<{ readonly text: string; readonly similarity: number }> {
    if (this.buckets.size === 0) return [];
    const shingles = shinglesOf(text);
    const candidates = new Set(bucketsOf(shingles).flatMap((bucket) => this.buckets.get(bucket) ?? []));
    return Array.from(candidates, (entry) => ({
      text: entry.text,
      similarity: jaccard(shingles, entry.shingles),
    })).filter(({ similarity }) => similarity >= this.threshold);
  }
}

/** Hashes of all runs of three words, in lower case and without punctuation; a shorter text is one run. */
function shinglesOf(text: string): ReadonlySet<number> {
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  const runs =
    words.length < 3
      ? [words.join(" ")]
      : words.slice(2).map((word, i) => `${words[i]} ${words[i + 1]} ${word}`);
  return new Set(runs.map(hash));
}

function bucketsOf(shingles: ReadonlySet<number>): Array<string> {
  const signature = new Uint32Array(bands * rowsPerBand).fill(0xffffffff);
  for (const shingle of shingles) {
    for (let i = 0; i < signature.length; i++) {
      const value = mix(shingle ^ Math.imul(i + 1, 0x9e3779b1));
      if (value < signature[i]!) signature[i] = value;
    }
  }
  return Array.from(
    { length: bands },
    (_, band) => `${band}:${signature.subarray(band * rowsPerBand, (band + 1) * rowsPerBand)}`,
  );
}

function jaccard(a: ReadonlySet<number>, b: ReadonlySet<number>): number {
  let both = 0;
  for (const shingle of a) if (b.has(shingle)) both++;
  return both / (a.size + b.size - both);
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}

/** The finalizer of MurmurHash3: every bit depends on every other. */
function mix(value: number): number {
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
