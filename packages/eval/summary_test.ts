import { expect, it } from "vitest";
import { madeUpReport } from "./fixtures/made_up_report.ts";
import { renderSummary } from "./summary.ts";

it("fits one screen", () => {
  const lines = renderSummary(madeUpReport()).split("\n");
  expect(lines.length).toBeLessThanOrEqual(45);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
  expect(lines.join("\n")).toContain("PPO-ptx over SFT");
});

it("shows only what there is", () => {
  expect(renderSummary({ title: "empty" })).toBe("empty\nThis run was not compared with a baseline.\n");
});

it("prints no control characters of a title", () => {
  expect(renderSummary({ title: "a\u001b[31mred" })).not.toContain("\u001b");
});
