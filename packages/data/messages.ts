/** Who speaks in a conversation. */
export type Role = "system" | "user" | "assistant" | "tool";

/** One turn of a conversation, as OpenAI's API has it. What belongs to calls of tools is passed through untouched. */
export interface Message {
  readonly role: Role;
  readonly content: string;
  readonly name?: string;
  readonly tool_calls?: ReadonlyArray<unknown>;
  readonly tool_call_id?: string;
}

/** A whole conversation, with the tools that the assistant may call. */
export interface Conversation {
  readonly messages: ReadonlyArray<Message>;
  readonly tools?: unknown;
}

/** What a model reads and writes for messages: a chat template. */
export interface Rendering {
  /** The prompt, up to where the assistant's turn begins. */
  readonly prompt: (messages: ReadonlyArray<Message>) => string;
  /** The assistant's turn after that prompt. */
  readonly response: (messages: ReadonlyArray<Message>, prompt: ReadonlyArray<Message>) => string;
}

/**
 * A question alone is the prompt as it stands; anything longer becomes a transcript as Anthropic's HH-RLHF writes it
 * (Bai et al. 2022, arXiv:2204.05862): `\n\nHuman: …\n\nAssistant:`, whose responses begin with a space.
 */
export const transcripts: Rendering = {
  prompt: (messages) =>
    isQuestion(messages) ? messages[0]!.content : `${messages.map(turn).join("")}\n\nAssistant:`,
  response: (messages, prompt) => {
    const [first, ...rest] = messages;
    const start = first === undefined ? "" : contentOf(first);
    return `${isQuestion(prompt) ? "" : " "}${start}${rest.map(turn).join("")}`;
  },
};

const speakers: Readonly<Record<Role, string>> = {
  system: "System",
  user: "Human",
  assistant: "Assistant",
  tool: "Tool",
};

function isQuestion(messages: ReadonlyArray<Message>): boolean {
  return messages.length === 1 && messages[0]!.role === "user";
}

function turn(message: Message): string {
  return `\n\n${speakers[message.role]}: ${contentOf(message)}`;
}

/** What a message says; a call of a tool is its JSON. */
export function contentOf({ content, tool_calls }: Message): string {
  const calls = (tool_calls ?? []).map((call) => JSON.stringify(call));
  return [content, ...calls].filter((part) => part !== "").join("\n");
}
