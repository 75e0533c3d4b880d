import type { LabeledResponse } from "@rlhf/core/records";
import type { Value } from "../_value.ts";
import type { Format, FormatOptions } from "../format.ts";
import type { Message } from "../messages.ts";
import { messagesOf } from "./_chat.ts";

/** Single responses called good or bad, for KTO (Ethayarajh et al. 2024): `{messages, label}` or `{prompt, completion, label}`. */
export const labeled: Format = {
  name: "kto",
  example: '{"messages": […], "label": true} or {"prompt": …, "completion": …, "label": true}',
  recognizes: (row) =>
    ("label" in row || "kto_tag" in row) && ("prompt" in row || "messages" in row || "conversations" in row),
  reads: { labels: (row, options) => [{ ...exchange(row, options), desirable: labelOf(row).boolean() }] },
};

function labelOf(row: Value): Value {
  return row.field("kto_tag").exists ? row.field("kto_tag") : row.field("label");
}

function exchange(row: Value, { rendering }: FormatOptions): Pick<LabeledResponse, "prompt" | "response"> {
  const prompt = row.field("prompt");
  if (prompt.exists) {
    const response = row.field("completion").exists ? row.field("completion") : row.field("response");
    if (typeof prompt.found === "string") return { prompt: prompt.text(), response: response.textOrEmpty() };
    return rendered(messagesOf(prompt), messagesOf(response));
  }
  const turns = row.field("messages").exists ? row.field("messages") : row.field("conversations");
  const messages = messagesOf(turns);
  if (messages.length > 0 && messages.at(-1)!.role !== "assistant") {
    turns.refuse("the assistant to have the last turn");
  }
  return rendered(messages.slice(0, -1), messages.slice(-1));

  function rendered(before: ReadonlyArray<Message>, response: ReadonlyArray<Message>) {
    return { prompt: rendering.prompt(before), response: rendering.response(response, before) };
  }
}
