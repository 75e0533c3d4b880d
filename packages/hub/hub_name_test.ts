import { expect, it } from "vitest";
import { isCommit, parseHubName } from "./hub_name.ts";

it("reads names with and without a revision", () => {
  expect(parseHubName("openai-community/gpt2")).toEqual({
    repository: "openai-community/gpt2",
    revision: "main",
  });
  expect(parseHubName("Qwen/Qwen3-0.6B@refs/pr/7")).toEqual({
    repository: "Qwen/Qwen3-0.6B",
    revision: "refs/pr/7",
  });
});

it("takes nothing else for a name, above all no path", () => {
  for (const text of [
    "gpt2",
    "./runs",
    "../x",
    "/tmp/x",
    "runs/a/b",
    "a/..",
    "a/b..c",
    "a/",
    "a/b@",
    "a/b@../x",
    "a/b@x@y",
    "a b/c",
    "",
  ])
    expect(parseHubName(text), text).toBeUndefined();
});

it("knows a commit", () => {
  expect(isCommit("0123456789abcdef".padEnd(40, "0"))).toBe(true);
  expect(isCommit("main")).toBe(false);
});
