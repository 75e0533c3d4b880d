import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeServices from "@effect/platform-node/NodeServices";
import { firstCommit, type LocalHub, startLocalHub } from "@rlhf/hub/testing/local_hub";
import * as ConfigProvider from "effect/ConfigProvider";
import * as Effect from "effect/Effect";
import { afterEach, beforeEach, expect, it } from "vitest";
import { loadChatTemplate } from "./chat_template.ts";
import { loadTokenizer, tokenizerFromJson } from "./load.ts";
import { trainBpe } from "./train.ts";

const text = "the cat sat on the mat, the dog sat on the cat";
const json = trainBpe([text], { vocabSize: 280 });
const config = JSON.stringify({ eos_token: "<|endoftext|>", pad_token: "<|pad|>", chat_template: "{{ 1 }}" });

let home = "";
let hub: LocalHub;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "hub-"));
  const { vocab, merges } = json.model;
  const ids = Object.fromEntries(json.added_tokens.map(({ content, id }) => [content, id]));
  hub = await startLocalHub({
    "someone/new": {
      files: {
        "tokenizer.json": JSON.stringify(json),
        "tokenizer_config.json": config,
        "model.safetensors": "",
      },
    },
    "someone/old": {
      files: {
        "vocab.json": JSON.stringify({ ...vocab, ...ids }),
        "merges.txt": `#version: 0.2\n${merges.map((pair) => [pair].flat().join(" ")).join("\n")}\n`,
        "tokenizer_config.json": config,
      },
    },
  });
});
afterEach(async () => {
  await hub.close();
  await rm(home, { recursive: true });
});

const run = <A, E>(effect: Effect.Effect<A, E, Effect.Services<ReturnType<typeof loadTokenizer>>>) =>
  Effect.runPromise(
    effect.pipe(
      Effect.provideService(
        ConfigProvider.ConfigProvider,
        ConfigProvider.fromUnknown({ HF_HOME: home, HF_ENDPOINT: hub.url }),
      ),
      Effect.provide(NodeServices.layer),
    ),
  );

it("loads a tokenizer by its name, without the model", async () => {
  const expected = tokenizerFromJson(json).encode(text);
  expect((await run(loadTokenizer("someone/new@main"))).encode(text)).toEqual(expected);
  const snapshot = join(home, "hub", "models--someone--new", "snapshots", firstCommit);
  expect((await readdir(snapshot)).sort()).toEqual(["tokenizer.json", "tokenizer_config.json"]);
  expect((await run(loadTokenizer("someone/old"))).encode(text)).toEqual(expected);
});

it("loads a chat template by its name", async () => {
  expect(await run(loadChatTemplate("someone/new"))).toBe("{{ 1 }}");
});

it("says why a name leads nowhere", async () => {
  const error = await run(Effect.flip(loadTokenizer("someone/nothing")));
  expect(error).toMatchObject({ _tag: "HubError", reason: "Refused" });
});
