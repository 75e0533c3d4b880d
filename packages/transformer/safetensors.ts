/**
 * The safetensors format (https://github.com/huggingface/safetensors): eight bytes with the length of a JSON header,
 * the header with type, shape and place of every tensor, then the numbers, little-endian and row-major.
 */

/** A tensor outside any backend. */
export interface StoredTensor {
  readonly shape: ReadonlyArray<number>;
  readonly values: Float32Array | Int32Array;
}

/** Where a tensor lies in a file. */
export interface TensorEntry {
  readonly dtype: string;
  readonly shape: ReadonlyArray<number>;
  /** Its first byte and the one after its last, counted from the end of the header. */
  readonly begin: number;
  readonly end: number;
}

/** Something wrong with a file, with the tensor that it is about. */
export interface HeaderProblem {
  readonly tensor?: string;
  readonly problem: string;
}

/** The length of the reference implementation's longest header. */
export const longestHeader = 100_000_000;

const metadataKey = "__metadata__";

/** Length field and header of a file with these tensors one after the other, padded so that the numbers are aligned. */
export function encodeHeader(
  tensors: ReadonlyArray<{
    readonly name: string;
    readonly dtype: "F32" | "I32";
    readonly shape: ReadonlyArray<number>;
  }>,
): Uint8Array {
  let size = 0;
  const entries = tensors.map(({ name, dtype, shape }) => {
    const begin = size;
    size += 4 * elementsOf(shape);
    return [name, { dtype, shape, data_offsets: [begin, size] }] as const;
  });
  const json = new TextEncoder().encode(
    JSON.stringify(Object.fromEntries([[metadataKey, { format: "pt" }], ...entries])),
  );
  const start = 8 + Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(start).fill(0x20, 8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(start - 8), true);
  bytes.set(json, 8);
  return bytes;
}

/** The bytes of a file with these tensors, as F32 or I32. */
export function encodeSafetensors(tensors: Readonly<Record<string, StoredTensor>>): Uint8Array {
  const entries = Object.entries(tensors);
  const header = encodeHeader(
    entries.map(([name, { shape, values }]) => ({ name, shape, dtype: dtypeOf(values) })),
  );
  const size = entries.reduce((sum, [, { values }]) => sum + values.byteLength, header.length);
  const bytes = new Uint8Array(size);
  bytes.set(header);
  let at = header.length;
  for (const [, { values }] of entries) {
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    at += values.byteLength;
  }
  return bytes;
}

/** How the numbers are stored by {@link encodeSafetensors}. */
export function dtypeOf(values: StoredTensor["values"]): "F32" | "I32" {
  return values instanceof Int32Array ? "I32" : "F32";
}

/**
 * The tensors of a file. F32, F16 and BF16 become Float32Array, I32 becomes Int32Array; tensors of other types are
 * left out (old GPT-2 files store their causal mask as booleans).
 *
 * @throws RangeError that names the tensor when the file is truncated or its header does not add up
 */
export function decodeSafetensors(bytes: Uint8Array): Record<string, StoredTensor> {
  const refuse = (problems: ReadonlyArray<HeaderProblem>): void => {
    if (problems.length === 0) return;
    const lines = problems.map(({ tensor, problem }) =>
      tensor === undefined ? problem : `${tensor}: ${problem}`,
    );
    throw new RangeError(lines.join("\n"));
  };
  const { length, problems: lengthProblems } = headerLength(bytes.subarray(0, 8), bytes.length);
  refuse(lengthProblems);
  const start = 8 + length;
  const { entries, problems } = parseHeader(bytes.subarray(8, start), bytes.length - start);
  refuse(problems);
  return Object.fromEntries(
    Array.from(entries)
      .filter(([, { dtype }]) => isReadable(dtype))
      .map(([name, { dtype, shape, begin, end }]) => {
        const values = emptyValues(dtype, elementsOf(shape));
        decodeNumbers(dtype, bytes.subarray(start + begin, start + end), values);
        return [name, { shape, values }];
      }),
  );
}

/** The length of the header, from the first eight bytes of a file of `size` bytes. */
export function headerLength(
  bytes: Uint8Array,
  size: number,
): { readonly length: number; readonly problems: ReadonlyArray<HeaderProblem> } {
  const refused = (problem: string) => ({ length: 0, problems: [{ problem }] });
  if (bytes.length < 8) return refused(`a header is required, the file has ${size} bytes`);
  // A zip archive or a pickle: what torch.save writes.
  if ((bytes[0] === 0x50 && bytes[1] === 0x4b) || (bytes[0] === 0x80 && bytes[1]! >= 2 && bytes[1]! <= 5)) {
    return refused(
      "this is a pickle, which runs whatever code it carries when it is opened, not safetensors",
    );
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (length > BigInt(longestHeader)) {
    return refused(
      `the header is said to have ${length} bytes, the format allows ${longestHeader}: not safetensors`,
    );
  }
  if (8 + Number(length) > size) {
    return refused(`the header has ${length} bytes, the file only ${size}: not safetensors, or truncated`);
  }
  return { length: Number(length), problems: [] };
}

/**
 * The entries of a header, or all that is wrong with it. As in the reference implementation, the tensors must cover
 * the data without gap or overlap.
 *
 * @param available bytes of data behind the header
 */
export function parseHeader(
  json: Uint8Array,
  available: number,
): { readonly entries: ReadonlyMap<string, TensorEntry>; readonly problems: ReadonlyArray<HeaderProblem> } {
  const entries = new Map<string, TensorEntry>();
  const problems: Array<HeaderProblem> = [];
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
  } catch {
    return { entries, problems: [{ problem: "the header is not JSON: not safetensors, or corrupt" }] };
  }
  if (!isObject(header)) return { entries, problems: [{ problem: "the header is not a JSON object" }] };
  for (const [name, entry] of Object.entries(header)) {
    if (name === metadataKey) continue;
    const parsed = parseEntry(entry, available);
    if (typeof parsed === "string") problems.push({ tensor: name, problem: parsed });
    else entries.set(name, parsed);
  }
  if (problems.length === 0) problems.push(...gapsAndOverlaps(entries, available));
  return { entries, problems };
}

function parseEntry(entry: unknown, available: number): TensorEntry | string {
  if (
    !isObject(entry) ||
    typeof entry.dtype !== "string" ||
    !isCounts(entry.shape) ||
    !isCounts(entry.data_offsets)
  ) {
    return "the header must give dtype, shape and data_offsets";
  }
  const { dtype, shape, data_offsets } = entry;
  const [begin, end] = data_offsets;
  if (data_offsets.length !== 2 || begin === undefined || end === undefined || begin > end) {
    return `data_offsets must be a first and a last byte, got [${data_offsets}]`;
  }
  if (!Number.isSafeInteger(8 * elementsOf(shape))) return `shape [${shape}] is larger than any file`;
  const size = sizes[dtype];
  const needed = size === undefined ? end - begin : elementsOf(shape) * size;
  if (end - begin !== needed) {
    return `shape [${shape}] of ${dtype} takes ${needed} bytes, the header gives it ${end - begin}`;
  }
  if (end > available) {
    return `shape [${shape}] ends at byte ${end} of the data, the file has ${available}: it is truncated`;
  }
  return { dtype, shape, begin, end };
}

function gapsAndOverlaps(entries: ReadonlyMap<string, TensorEntry>, available: number): Array<HeaderProblem> {
  const inOrder = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let covered = 0;
  let before = "the header";
  for (const [tensor, { shape, begin, end }] of inOrder) {
    if (begin !== covered) {
      const how = begin < covered ? "overlaps with" : "leaves a gap behind";
      return [
        {
          tensor,
          problem: `shape [${shape}] begins at byte ${begin} and ${how} ${before}, which ends at ${covered}`,
        },
      ];
    }
    covered = end;
    before = tensor;
  }
  if (covered === available) return [];
  return [{ problem: `the tensors end at byte ${covered} of the data, the file has ${available}` }];
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is ReadonlyArray<number> {
  return Array.isArray(value) && value.every((count) => Number.isSafeInteger(count) && count >= 0);
}

export function elementsOf(shape: ReadonlyArray<number>): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Bytes of one number; types that are missing here are not looked into. */
const sizes: Readonly<Record<string, number | undefined>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
};

/** Bytes of one number of a type that can be read. */
export function numberSize(dtype: string): number {
  return sizes[dtype]!;
}

/** Whether {@link decodeNumbers} knows the type. */
export function isReadable(dtype: string): boolean {
  return dtype === "F32" || dtype === "F16" || dtype === "BF16" || dtype === "I32";
}

/** Whether the numbers are read as float32. */
export function isFloat(dtype: string): boolean {
  return isReadable(dtype) && dtype !== "I32";
}

/** Room for numbers of a type. */
export function emptyValues(dtype: string, count: number): StoredTensor["values"] {
  return dtype === "I32" ? new Int32Array(count) : new Float32Array(count);
}

/** Turns stored bytes into numbers. */
export function decodeNumbers(dtype: string, bytes: Uint8Array, into: StoredTensor["values"]): void {
  if (dtype === "F32" || dtype === "I32") {
    new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(bytes);
    return;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (dtype === "F16") {
    for (let i = 0; i < into.length; i++) into[i] = halfToNumber(view.getUint16(2 * i, true));
    return;
  }
  // BF16 is the upper half of a float32.
  const bits = new Uint32Array(into.buffer, into.byteOffset, into.length);
  for (let i = 0; i < bits.length; i++) bits[i] = view.getUint16(2 * i, true) << 16;
}

/** IEEE 754 binary16: 1 bit sign, 5 bits exponent, 10 bits fraction. */
function halfToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
