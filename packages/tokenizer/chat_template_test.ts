import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import { expectFidelity, type GoldenSource } from "@rlhf/core/testing/fidelity";
import * as Effect from "effect/Effect";
import { expect, it } from "vitest";
import { type ChatMessage, encodeChat, loadChatTemplate, renderChat } from "./chat_template.ts";
import { tokenizerFromJson } from "./load.ts";

const read = (name: string) =>
  JSON.parse(readFileSync(new URL(`golden/${name}.json`, import.meta.url), "utf8"));

/** From Python's transformers: bench/references/tokenizer_chat.py. */
const golden: {
  readonly source: GoldenSource;
  readonly templates: Record<string, string>;
  readonly cases: ReadonlyArray<{
    readonly template: string;
    readonly messages: ReadonlyArray<ChatMessage>;
    readonly addGenerationPrompt: boolean;
    readonly text: string;
    readonly ids: ReadonlyArray<number>;
    readonly mask: ReadonlyArray<number> | null;
  }>;
} = read("chat");
const tokenizer = tokenizerFromJson(read("llama3").tokenizer, {
  specialTokens: { bos: "<s>", eos: "</s>", pad: "<pad>" },
});

it.each(golden.cases.map((one, i) => [i, one.template, one] as const))(
  "case %i gives the text, ids and mask of transformers: %s",
  (_, name, { text, ids, mask, ...options }) => {
    const template = golden.templates[name]!;
    const found = renderChat(tokenizer, template, options);
    expect(found.text).toBe(text);
    const { tokens, assistantMask } = encodeChat(tokenizer, template, options);
    expect(tokens).toEqual(ids);
    if (mask !== null) expect(assistantMask).toEqual(mask);
    const formula = "chat templates: text, ids and mask of the assistant";
    const same =
      found.text === text && `${tokens}` === `${ids}` && (mask === null || `${assistantMask}` === `${mask}`);
    expectFidelity({ formula, source: golden.source, error: same ? 0 : 1, limit: 0 });
  },
);

it("finds the assistant's words in a template without tags", () => {
  const { messages } = golden.cases[2]!;
  const { text, assistant } = renderChat(tokenizer, golden.templates.ChatML!, { messages });
  expect(assistant.map(([begin, end]) => text.slice(begin, end))).toEqual([
    "Two.<|end|>\n",
    "Three, naïve one!<|end|>\n",
  ]);
});

it("refuses what it cannot render or tell apart", () => {
  const { messages } = golden.cases[2]!;
  const lastOnly = "{{ messages[-1].content }}";
  expect(() => renderChat(tokenizer, lastOnly, { messages })).toThrow(/message 2: .*\{% generation %\}/);
  expect(() => renderChat(tokenizer, "{{ raise_exception('no system') }}", { messages })).toThrow(
    /no system/,
  );
  expect(() => renderChat(tokenizer, "{% for %}", { messages })).toThrow(/Cannot render the chat/);
});

it("is loaded from a checkpoint", async () => {
  const folder = await mkdtemp(join(tmpdir(), "chat-"));
  const load = () =>
    Effect.runPromise(
      loadChatTemplate(folder).pipe(Effect.provide([NodeFileSystem.layer, NodePath.layer]), Effect.result),
    );
  expect(await load()).toMatchObject({ failure: { message: /no chat template/ } });
  const config = join(folder, "tokenizer_config.json");
  await writeFile(config, JSON.stringify({ chat_template: [{ name: "default", template: "a" }] }));
  expect(await load()).toMatchObject({ success: "a" });
  await writeFile(join(folder, "chat_template.jinja"), "b");
  expect(await load()).toMatchObject({ success: "b" });
  await rm(folder, { recursive: true });
});
