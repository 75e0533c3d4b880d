import type { Demonstration } from "@rlhf/core/records";
import type { Value } from "../_value.ts";
import type { Format, Reader } from "../format.ts";
import type { Conversation, Message, Rendering } from "../messages.ts";
import { messagesOf } from "./_chat.ts";

/** OpenAI's chat format, `{messages: [{role, content}]}`, with `tools` and calls of tools. */
export const chat: Format = conversations("messages", "messages", '[{"role": …, "content": …}]');

/** ShareGPT's `{conversations: [{from, value}]}`. */
export const shareGpt: Format = conversations("sharegpt", "conversations", '[{"from": …, "value": …}]');

function conversations(name: string, field: string, list: string): Format {
  const read: Reader<Conversation> = (row) => {
    const messages = messagesOf(row.field(field));
    if (messages.length > 0 && !messages.some(({ role }) => role === "assistant")) {
      row.field(field).refuse("a turn of the assistant", "none");
    }
    const tools = row.field("tools");
    return [{ messages, ...(tools.exists ? { tools: parsed(tools) } : {}) }];
  };
  return {
    name,
    example: `{"${field}": ${list}}`,
    recognizes: (row) => Array.isArray(row[field]) || typeof row[field] === "string",
    reads: {
      conversations: read,
      demonstrations: (row, options) =>
        read(row, options).flatMap((conversation) =>
          demonstrationsOf(conversation.messages, options.rendering),
        ),
    },
  };
}

/** Every turn of the assistant is a demonstration of how to go on from what was said before. */
function demonstrationsOf(messages: ReadonlyArray<Message>, rendering: Rendering): Array<Demonstration> {
  return messages.flatMap((message, i) => {
    if (message.role !== "assistant" || i === 0) return [];
    const before = messages.slice(0, i);
    return [{ prompt: rendering.prompt(before), response: rendering.response([message], before) }];
  });
}

/** Some files write the list of tools as a string. */
function parsed(tools: Value): unknown {
  if (typeof tools.found !== "string") return tools.found;
  try {
    return JSON.parse(tools.found);
  } catch {
    tools.refuse("a list of tools as JSON");
    return [];
  }
}
