import { fold, key } from "@rlhf/core/random";
import { describe, expect, it } from "vitest";
import { maskTokens } from "./masked_lm.ts";

const mask = 1;
const options = { key: key(1), mask, vocabSize: 1000 };
const tokens = Array.from({ length: 200 }, (_, i) => 2 + i);

describe("maskTokens", () => {
  it("asks for 15 % of the tokens and leaves the others as they are", () => {
    const { tokens: shown, targets, lossMask } = maskTokens(tokens, options);
    expect(targets).toEqual(tokens);
    expect(lossMask.reduce((sum, asked) => sum + asked, 0)).toBe(30);
    expect(shown.filter((id, place) => lossMask[place] === 0 && id !== tokens[place])).toEqual([]);
  });

  it("shows of the chosen tokens 80 % as the mask, 10 % as another token, 10 % as they are", () => {
    let [masked, replaced, kept] = [0, 0, 0];
    for (let draw = 0; draw < 300; draw++) {
      const { tokens: shown, lossMask } = maskTokens(tokens, { ...options, key: fold(key(2), draw) });
      for (const [place, asked] of lossMask.entries()) {
        if (asked === 0) continue;
        if (shown[place] === mask) masked++;
        else if (shown[place] === tokens[place]) kept++;
        else replaced++;
      }
    }
    expect(masked / 9000).toBeCloseTo(0.8, 1);
    expect(replaced / 9000).toBeCloseTo(0.1, 1);
    expect(kept / 9000).toBeCloseTo(0.1, 1);
  });

  it("hides the same for the same key, at least one token, and never a special one", () => {
    expect(maskTokens(tokens, options)).toEqual(maskTokens(tokens, options));
    expect(maskTokens(tokens, { ...options, key: key(9) })).not.toEqual(maskTokens(tokens, options));
    expect(maskTokens([5, 0], { ...options, special: [0] }).lossMask).toEqual([1, 0]);
    expect(maskTokens([0, 0], { ...options, special: [0] }).lossMask).toEqual([0, 0]);
  });
});
