import type { Demonstration } from "@rlhf/core/records";
import type { Value } from "../_value.ts";
import { type Format, has } from "../format.ts";
import { messagesOf } from "./_chat.ts";

/** `{prompt, response}`, and what OpenAI and TRL call it, `{prompt, completion}`; either side may be messages. */
export const promptAndResponse: Format = {
  name: "prompt-response",
  example: '{"prompt": …, "response": …}',
  recognizes: (row) => "prompt" in row && ("response" in row || "completion" in row),
  reads: {
    demonstrations: (row, { rendering }) => {
      const response = row.field("completion").exists ? row.field("completion") : row.field("response");
      const prompt = row.field("prompt");
      if (typeof prompt.found !== "object" || prompt.found === null) {
        return [{ prompt: prompt.text(), response: response.text() }];
      }
      const messages = messagesOf(prompt);
      return [
        { prompt: rendering.prompt(messages), response: rendering.response(messagesOf(response), messages) },
      ];
    },
  },
};

/** Alpaca (Taori et al. 2023); an input follows its instruction after an empty line. */
export const alpaca: Format = {
  name: "alpaca",
  example: '{"instruction": …, "output": …}',
  recognizes: has("instruction", "output"),
  reads: { demonstrations: (row) => [instructed(row, "input", "output")] },
};

/** Dolly (Conover et al. 2023). */
export const dolly: Format = {
  name: "dolly",
  example: '{"instruction": …, "context": …, "response": …}',
  recognizes: has("instruction", "response"),
  reads: { demonstrations: (row) => [instructed(row, "context", "response")] },
};

/** Self-Instruct's seed tasks (Wang et al. 2022, arXiv:2212.10560). */
export const seedTasks: Format = {
  name: "seed-tasks",
  example: '{"instruction": …, "instances": [{"input": …, "output": …}]}',
  recognizes: has("instruction", "instances"),
  reads: {
    demonstrations: (row) => {
      const instruction = row.field("instruction").text();
      return row
        .field("instances")
        .items()
        .map((instance) => ({
          prompt: withInput(instruction, instance.field("input").textOrEmpty()),
          response: instance.field("output").text(),
        }));
    },
  },
};

function instructed(row: Value, input: string, output: string): Demonstration {
  const more = row.field(input);
  return {
    prompt: withInput(row.field("instruction").text(), more.exists ? more.textOrEmpty() : ""),
    response: row.field(output).text(),
  };
}

function withInput(instruction: string, input: string): string {
  return input === "" ? instruction : `${instruction}\n\n${input}`;
}
