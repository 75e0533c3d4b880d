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
