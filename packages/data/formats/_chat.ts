import type { Value } from "../_value.ts";
import type { Message, Role } from "../messages.ts";

/** What the roles are called: OpenAI's own names, and those of ShareGPT files. */
const roles: Readonly<Record<string, Role>> = {
  system: "system",
  developer: "system",
  user: "user",
  human: "user",
  prompter: "user",
  assistant: "assistant",
  gpt: "assistant",
  chatgpt: "assistant",
  bard: "assistant",
  bing: "assistant",
  model: "assistant",
  function_call: "assistant",
  tool: "tool",
  function: "tool",
  observation: "tool",
};

/** Messages of a list, `{role, content}` or `{from, value}`; one message alone will do. */
export function messagesOf(list: Value): ReadonlyArray<Message> {
  const items = isMessage(list) ? [list] : list.items();
  if (items.length === 0 && Array.isArray(list.found)) list.refuse("one message or more");
  return items.map(messageOf);
}

function isMessage(value: Value): boolean {
  return value.field("role").exists || value.field("from").exists;
}

function messageOf(value: Value): Message {
  const isShareGpt = !value.field("role").exists && value.field("from").exists;
  const role = value.field(isShareGpt ? "from" : "role");
  const content = value.field(isShareGpt ? "value" : "content");
  const known = roles[String(role.found)];
  if (known === undefined) role.refuse(`one of ${Object.keys(roles).join(", ")}`);
  const text = contentOf(content, value.field("tool_calls"));
  if (role.found === "function_call") return { role: "assistant", content: "", tool_calls: [callOf(text)] };
  return {
    role: known ?? "user",
    content: text,
    ...passed(value, "name"),
    ...passed(value, "tool_calls"),
    ...passed(value, "tool_call_id"),
  };
}

/** Content may be missing beside calls of tools, and may be a list of parts, of which only text can be read. */
function contentOf(content: Value, calls: Value): string {
  if (!content.exists && calls.exists) return "";
  if (!Array.isArray(content.found)) return content.textOrEmpty();
  return content
    .items()
    .map((part) => {
      if (part.field("type").found === "text") return part.field("text").textOrEmpty();
      part.refuse("a part of type text");
      return "";
    })
    .join("");
}

function callOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function passed<Name extends "name" | "tool_calls" | "tool_call_id">(
  value: Value,
  name: Name,
): Pick<Message, Name> | Record<string, never> {
  const field = value.field(name);
  return field.exists ? ({ [name]: field.found } as Pick<Message, Name>) : {};
}
