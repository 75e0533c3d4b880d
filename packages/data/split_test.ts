import { key } from "@rlhf/core/random";
import { describe, expect, it } from "vitest";
import { splitByGroup } from "./split.ts";

describe("splitByGroup", () => {
  const records = Array.from({ length: 100 }, (_, i) => ({ i, author: `author ${i % 17}` }));
  const options = {
    group: (record: { author: string }) => record.author,
    validation: 0.2,
    test: 0.1,
    key: key(3),
  };

  it("keeps a group together and gives each side its share", () => {
    const { train, validation, test } = splitByGroup(records, options);
    expect([...train, ...validation, ...test].map(({ i }) => i).sort((a, b) => a - b)).toEqual(
      records.map(({ i }) => i),
    );
    const sides = [train, validation, test].map((side) => new Set(side.map(options.group)));
    expect(sides.reduce((sum, { size }) => sum + size, 0)).toBe(17);
    expect(validation.length).toBeGreaterThanOrEqual(20);
    expect(validation.length).toBeLessThan(26);
    expect(test.length).toBeGreaterThanOrEqual(10);
    expect(test.length).toBeLessThan(16);
  });

  it("does not depend on the order of the records", () => {
    const reversed = splitByGroup([...records].reverse(), options);
    expect(reversed.validation.reverse()).toEqual(splitByGroup(records, options).validation);
  });

  it("refuses to leave nothing to train on", () => {
    expect(() => splitByGroup(records.slice(0, 1), options)).toThrow(
      "Cannot split: more groups are required, got 1",
    );
    expect(() => splitByGroup(records, { ...options, validation: 1 })).toThrow(
      "must be shares that add up to less than 1",
    );
  });
});
