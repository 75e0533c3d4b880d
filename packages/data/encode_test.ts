import { describe, expect, it } from "vitest";
import { demonstrationRow, encodeDemonstrations, encodePrompts, encodeRankings } from "./encode.ts";

describe("encode", () => {
  const encoder = {
    encode: (text: string) => Array.from(text, (c) => c.charCodeAt(0)),
    specials: { eos: 0 },
  };
  const format = (prompt: string) => `${prompt}:`;

  it("formats prompts and ends responses with eos", () => {
    expect(encodePrompts(encoder, [{ id: "x", text: "a" }], { format })).toEqual([
      { id: "x", tokens: [97, 58] },
    ]);
    const demonstrations = [{ prompt: "a", response: "b" }];
    expect(encodeDemonstrations(encoder, demonstrations, { format })).toEqual([
      { prompt: [97, 58], response: [98, 0] },
    ]);
    const ranking = { prompt: "a", responses: ["b", ""], ranks: [1, 2] };
    expect(encodeRankings(encoder, [ranking])).toEqual([
      { prompt: [97], responses: [[98, 0], [0]], ranks: [1, 2] },
    ]);
  });

  it("counts the response and its eos in the loss", () => {
    expect(demonstrationRow({ prompt: [1, 2], response: [3, 0] })).toEqual({
      tokens: [1, 2, 3, 0],
      lossMask: [0, 0, 1, 1],
    });
  });
});
