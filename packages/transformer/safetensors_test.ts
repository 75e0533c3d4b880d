import { integers, key } from "@rlhf/core/random";
import { expect, it } from "vitest";
import { decodeSafetensors, encodeSafetensors } from "./safetensors.ts";

/** A file with one tensor of the given type, as another program would write it. */
const fileWith = (dtype: string, shape: ReadonlyArray<number>, data: Uint8Array) => {
  const header = JSON.stringify({ x: { dtype, shape, data_offsets: [0, data.length] } });
  const bytes = new Uint8Array(8 + header.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(new TextEncoder().encode(header), 8);
  bytes.set(data, 8 + header.length);
  return bytes;
};

it("decodes what it encodes", () => {
  const tensors = {
    floats: { shape: [2, 2], values: Float32Array.of(1, -2.5, 1e-20, 3) },
    scalar: { shape: [], values: Float32Array.of(7) },
    integers: { shape: [3], values: Int32Array.of(1, -2, 3) },
    empty: { shape: [0, 4], values: new Float32Array(0) },
  };
  expect(decodeSafetensors(encodeSafetensors(tensors))).toEqual(tensors);
});

it("reads half precision of both kinds", () => {
  const halves = Uint8Array.of(0x00, 0x3c, 0x00, 0xc1, 0x01, 0x00, 0x00, 0x7c); // 1, −2.5, 2⁻²⁴, ∞
  expect(Array.from(decodeSafetensors(fileWith("F16", [4], halves)).x!.values)).toEqual([
    1,
    -2.5,
    2 ** -24,
    Number.POSITIVE_INFINITY,
  ]);
  const brains = Uint8Array.of(0x80, 0x3f, 0x20, 0xc0); // 1, −2.5
  expect(Array.from(decodeSafetensors(fileWith("BF16", [2], brains)).x!.values)).toEqual([1, -2.5]);
});

it("leaves out types that it does not know", () => {
  expect(decodeSafetensors(fileWith("BOOL", [2], Uint8Array.of(0, 1)))).toEqual({});
});

it("names the tensor that does not add up", () => {
  expect(() => decodeSafetensors(fileWith("F32", [3], new Uint8Array(8)))).toThrow(
    /x: shape \[3\] of F32 takes 12/,
  );
  expect(() => decodeSafetensors(fileWith("F32", [2], new Uint8Array(8)).subarray(0, -1))).toThrow(
    /x: .*truncated/,
  );
  expect(() => decodeSafetensors(new Uint8Array(3))).toThrow(/header/);
});

/** A file with any header before 8 bytes of data. */
const withHeader = (header: unknown) => {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + 8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
};
const entry = (begin: number, end: number, shape = [(end - begin) / 4]) => ({
  dtype: "F32",
  shape,
  data_offsets: [begin, end],
});

it.each([
  [
    "a gap",
    { a: entry(0, 4), b: entry(8, 8, [0]) },
    /b: shape \[0\] begins at byte 8 and leaves a gap behind a/,
  ],
  ["an overlap", { a: entry(0, 8), b: entry(4, 8) }, /b: shape \[1\] begins at byte 4 and overlaps with a/],
  ["unused bytes", { a: entry(0, 4) }, /end at byte 4 of the data, the file has 8/],
  ["too little data", { a: entry(0, 12) }, /a: shape \[3\] ends at byte 12 of the data, the file has 8/],
  ["another size", { a: { ...entry(0, 8), shape: [2, 3] } }, /a: shape \[2,3\] of F32 takes 24 bytes/],
  ["a negative size", { a: { ...entry(0, 8), shape: [-2] } }, /a: the header must give/],
  ["a huge size", { a: { ...entry(0, 8), shape: [2 ** 52, 2 ** 52] } }, /a: shape .* larger than any file/],
  ["offsets backwards", { a: { ...entry(0, 8), data_offsets: [8, 0] } }, /a: data_offsets must be/],
  ["no offsets", { a: { dtype: "F32", shape: [2] } }, /a: the header must give/],
  ["a list", [], /not a JSON object/],
  ["half a header", '{"a": {', /not JSON/],
])("refuses %s", (_, header, message) => {
  expect(() => decodeSafetensors(withHeader(header))).toThrow(message);
});

it("refuses a header of ten gigabytes, and pickles", () => {
  const bytes = withHeader({});
  new DataView(bytes.buffer).setBigUint64(0, 10n ** 10n, true);
  expect(() => decodeSafetensors(bytes)).toThrow(/10000000000 bytes, the format allows 100000000/);
  expect(() => decodeSafetensors(new TextEncoder().encode("PK\u0003\u0004 a zip archive"))).toThrow(/pickle/);
});

it("takes the name of any property", () => {
  const header = JSON.stringify({ a: entry(0, 8) }).replace('"a"', '"__proto__"');
  expect(Object.keys(decodeSafetensors(withHeader(header)))).toEqual(["__proto__"]);
});

it("answers every damaged file with the tensors or a RangeError", () => {
  const whole = encodeSafetensors({
    weight: { shape: [2, 2], values: Float32Array.of(1, -2.5, 1e-20, 3) },
    bias: { shape: [3], values: Int32Array.of(1, -2, 3) },
  });
  const headerSize = whole.length - 28;
  for (let i = 0; i < 4000; i++) {
    const [cut, ...changes] = integers(key(i), 13, 2 ** 30) as unknown as [number, ...Array<number>];
    const bytes = i % 4 === 0 ? whole.slice(0, cut % whole.length) : whole.slice();
    for (let j = 0; j < 2 * (1 + (i % 6)); j += 2) bytes[changes[j]! % headerSize] = changes[j + 1]! & 255;
    try {
      decodeSafetensors(bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(RangeError);
      expect((error as Error).message).toMatch(/header|shape|tensors|data_offsets|pickle/);
    }
  }
});
