import { existsSync } from "node:fs";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import { describe, expect, it } from "vitest";
import type { Kind } from "./format.ts";
import { type ReadOptions, readData } from "./read.ts";

const shared = process.env.RLHF_SHARED_DATA ?? join(import.meta.dirname, "../../../shared/data");
const absent = existsSync(shared) ? "" : ` (skipped: no folder ${shared}; set RLHF_SHARED_DATA)`;

const read = async <K extends Kind>(file: string, kind: K, options?: ReadOptions) =>
  Effect.runPromise(readData(join(shared, file), kind, options));

describe.skipIf(absent !== "")(`published data sets${absent}`, () => {
  it.each<[string, Kind, string, number]>([
    ["alpaca_farm/outputs_sft.json", "demonstrations", "alpaca", 252],
    ["alpaca_farm/eval_gpt-3.5-turbo-0301.json", "demonstrations", "alpaca", 805],
    ["alpaca_eval_pairs/text_davinci_001.model_outputs.json", "demonstrations", "alpaca", 803],
    ["llamafactory-demo/alpaca_en_demo.json", "demonstrations", "alpaca", 999],
    ["llamafactory-demo/identity.json", "demonstrations", "alpaca", 91],
    ["alpaca-seed/seed_tasks.jsonl", "demonstrations", "seed-tasks", 175],
    ["sharegpt-demo/dummy_conversation.json", "demonstrations", "sharegpt", 1000],
    ["sharegpt-demo/dummy_conversation.json", "conversations", "sharegpt", 500],
    ["llamafactory-demo/glaive_toolcall_en_demo.json", "conversations", "sharegpt", 300],
    ["llamafactory-demo/glaive_toolcall_en_demo.json", "demonstrations", "sharegpt", 957],
    ["hh-rlhf/harmless-base-first-1000.jsonl.gz", "rankings", "hh-rlhf", 1000],
    ["hh-rlhf/harmless-base-first-1000.jsonl.gz", "demonstrations", "hh-rlhf", 1000],
    [
      "alpaca_eval_pairs/alpaca-farm-ppo-human.alpaca_eval_gpt4.annotations.json",
      "rankings",
      "alpaca-eval",
      805,
    ],
    ["llamafactory-demo/dpo_en_demo.json", "rankings", "sharegpt-pairs", 300],
    ["llamafactory-demo/kto_en_demo.json", "labels", "kto", 300],
    ["tinyshakespeare/input.txt", "texts", "plain text", 1],
    ["llamafactory-demo/c4_demo.jsonl", "texts", "text", 300],
    ["llamafactory-demo/wiki_demo.txt", "texts", "plain text", 1],
    ["parquet/sentiment-test.parquet", "texts", "text", 1047],
  ])("%s as %s", async (file, kind, format, count) => {
    const { records, files } = await read(file, kind);
    expect(files[0]!.format).toBe(format);
    expect(records.length).toBe(count);
  });

  it("tables, by a map of their fields", async () => {
    const questions = await read("truthfulqa/TruthfulQA.csv", "demonstrations", {
      fields: { prompt: "Question", response: "Best Answer" },
    });
    expect(questions.records.length).toBe(817);
    expect(questions.records[0]).toEqual({
      prompt: "What happens to you if you eat watermelon seeds?",
      response: "The watermelon seeds pass through your digestive system",
    });
    const sentences = await read("crows-pairs/crows_pairs_anonymized.csv", "rankings", {
      fields: { prompt: "bias_type", chosen: "sent_less", rejected: "sent_more" },
    });
    expect(sentences.records.length).toBe(1508);
    const numbered = await read("crows-pairs/crows_pairs_anonymized.csv", "texts", {
      fields: { text: "column1" },
    });
    expect(numbered.records.slice(0, 3)).toEqual(["0", "1", "2"]);
    const labelled = await read("sst2/train.tsv", "labels", {
      fields: { prompt: "column1", response: "column1", label: "column2" },
    });
    expect(labelled.records.length).toBe(6920);
  });

  it("transcripts of hh-rlhf, with their empty replies counted", async () => {
    const { records, files } = await read("hh-rlhf", "rankings", { emptyResponses: "drop" });
    expect(files[0]).toMatchObject({
      rows: 1000,
      badRows: 0,
      withEmptyResponse: 3,
      diverging: 0,
      dropped: 3,
    });
    expect(records.length).toBe(997);
    for (const { prompt, responses } of records) {
      expect(prompt).toMatch(/^\n\nHuman:[\s\S]*\n\nAssistant:$/);
      expect(responses[0]).not.toBe(responses[1]);
      expect(responses.join()).not.toContain("\n\nHuman:");
    }
  });
});
