/**
 * The safetensors format (https://github.com/huggingface/safetensors): eight bytes with the length of a JSON header,
 * the header with type, shape and place of every tensor, then the numbers, little-endian and row-major.
 */

/** A tensor outside any backend. */
export interface StoredTensor {
  readonly shape: ReadonlyArray<number>;
  readonly values: Float32Array | Int32Array;
}

interface Entry {
  readonly dtype: string;
  readonly shape: ReadonlyArray<number>;
  readonly data_offsets: readonly [number, number];
}

const metadataKey = "__metadata__";

/** The bytes of a file with these tensors, as F32 or I32. */
export function encodeSafetensors(tensors: Readonly<Record<string, StoredTensor>>): Uint8Array {
  const header: Record<string, Entry | Record<string, string>> = { [metadataKey]: { format: "pt" } };
  let size = 0;
  for (const [name, { shape, values }] of Object.entries(tensors)) {
    const end = size + values.byteLength;
    header[name] = { dtype: values instanceof Int32Array ? "I32" : "F32", shape, data_offsets: [size, end] };
    size = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  // Spaces after the header keep the numbers aligned.
  const start = 8 + Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(start + size).fill(0x20, 8, start);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(start - 8), true);
  bytes.set(json, 8);
  let at = start;
  for (const { values } of Object.values(tensors)) {
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    at += values.byteLength;
  }
  return bytes;
}

/**
 * The tensors of a file. F32, F16 and BF16 become Float32Array, I32 becomes Int32Array; tensors of other types are
 * left out (old GPT-2 files store their causal mask as booleans).
 *
 * @throws RangeError that names the tensor when the file is truncated or its header does not add up
 */
export function decodeSafetensors(bytes: Uint8Array): Record<string, StoredTensor> {
  const { entries, start } = readHeader(bytes);
  const available = bytes.length - start;
  const tensors: Record<string, StoredTensor> = {};
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(entries)) {
    const type = types[dtype];
    if (type === undefined) continue;
    const [from, to] = data_offsets;
    const count = shape.reduce((product, size) => product * size, 1);
    if (to - from !== count * type.size) {
      throw new RangeError(
        `${name}: shape [${shape}] of ${dtype} takes ${count * type.size} bytes, the header gives it ${to - from}`,
      );
    }
    if (from < 0 || to > available) {
      throw new RangeError(
        `${name}: ends at byte ${to} of the data, the file has ${available}: it is truncated`,
      );
    }
    // A copy, because a typed array must start at a multiple of its element size.
    const copy = new Uint8Array(bytes.subarray(start + from, start + to));
    tensors[name] = { shape, values: type.read(copy.buffer) };
  }
  return tensors;
}

function readHeader(bytes: Uint8Array): { entries: Record<string, Entry>; start: number } {
  if (bytes.length < 8) throw new RangeError(`a header is required, the file has ${bytes.length} bytes`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (8 + length > bytes.length) {
    throw new RangeError(
      `the header has ${length} bytes, the file only ${bytes.length}: not safetensors, or truncated`,
    );
  }
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  } catch {
    throw new RangeError("the header is not JSON: not safetensors, or corrupt");
  }
  const { [metadataKey]: _, ...entries } = header as Record<string, Entry>;
  for (const [name, entry] of Object.entries(entries)) {
    if (typeof entry?.dtype !== "string" || !Array.isArray(entry.shape) || entry.data_offsets?.length !== 2) {
      throw new RangeError(`${name}: the header must give dtype, shape and data_offsets`);
    }
  }
  return { entries, start: 8 + length };
}

const types: Readonly<
  Record<string, { size: number; read: (bytes: ArrayBuffer) => StoredTensor["values"] }>
> = {
  F32: { size: 4, read: (bytes) => new Float32Array(bytes) },
  I32: { size: 4, read: (bytes) => new Int32Array(bytes) },
  F16: { size: 2, read: (bytes) => Float32Array.from(new Uint16Array(bytes), halfToNumber) },
  BF16: {
    size: 2,
    read: (bytes) => new Float32Array(Uint32Array.from(new Uint16Array(bytes), (half) => half << 16).buffer),
  },
};

/** IEEE 754 binary16: 1 bit sign, 5 bits exponent, 10 bits fraction. */
function halfToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
