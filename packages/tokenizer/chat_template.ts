import { Template } from "@huggingface/jinja";
import { InvalidInput } from "@rlhf/core/errors";
import { checkpointFiles } from "@rlhf/hub/checkpoint_files";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Path from "effect/Path";
import { type Offset, tokenOffsets } from "./offsets.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** One turn of a conversation; templates may read further fields. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  readonly [field: string]: unknown;
}

export interface ChatOptions {
  readonly messages: ReadonlyArray<ChatMessage>;
  /** Ends the text with what opens an answer. */
  readonly addGenerationPrompt?: boolean;
  /** Further names that the template reads, such as `tools` or `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** A conversation as text, and what of it the assistant says. */
export interface RenderedChat {
  readonly text: string;
  readonly assistant: ReadonlyArray<Offset>;
}

/**
 * Renders a conversation with a model's chat template, as `apply_chat_template` of Python's `transformers` does.
 *
 * The assistant's part is what stands between `{% generation %}` and `{% endgeneration %}`. In a template without
 * them it is what each message of the assistant adds to the conversation before it, opened for an answer.
 *
 * @throws RangeError when the template fails, or the assistant's part cannot be told from the rest
 */
export function renderChat(tokenizer: Tokenizer, template: string, options: ChatOptions): RenderedChat {
  const marked = /\{%-?\s*generation\s*-?%\}/.test(template);
  const render = marked ? renderer(tokenizer, withMarks(template)) : renderer(tokenizer, template);
  return marked ? unmarked(render(options)) : byPrefixes(render, options);
}

/**
 * The token ids of a conversation, and for each whether the assistant says it: the tokens that supervised fine-tuning
 * learns to predict. Nothing is added but what the template writes.
 */
export function encodeChat(
  tokenizer: Tokenizer,
  template: string,
  options: ChatOptions,
): { readonly tokens: ReadonlyArray<number>; readonly assistantMask: ReadonlyArray<0 | 1> } {
  const { text, assistant } = renderChat(tokenizer, template, options);
  const tokens = tokenizer.encode(text);
  const offsets = tokenOffsets(tokenizer, text, tokens);
  const assistantMask = offsets.map(([begin, end]) =>
    assistant.some(([from, to]) => begin < to && end > from) ? 1 : 0,
  );
  return { tokens, assistantMask };
}

/**
 * The chat template of a checkpoint, in a folder or on the Hub: `chat_template.jinja`, or `chat_template` of `tokenizer_config.json`. Fails with
 * `InvalidInput` when there is none.
 */
export const loadChatTemplate = Effect.fn("tokenizer.loadChatTemplate")(function* (place: string) {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  const { folder, fetch } = yield* checkpointFiles(place);
  yield* fetch(["chat_template.jinja", "tokenizer_config.json"]);
  const own = path.join(folder, "chat_template.jinja");
  if (yield* files.exists(own)) return yield* files.readFileString(own);
  const config = path.join(folder, "tokenizer_config.json");
  const text = (yield* files.exists(config)) ? yield* files.readFileString(config) : "{}";
  const found = yield* Effect.try({
    try: () => templateOf(JSON.parse(text)),
    catch: () => noTemplate(config),
  });
  return found ?? (yield* noTemplate(config));
});

/** A template, or the one called "default" of several. */
function templateOf(config: { readonly chat_template?: unknown } | null): string | undefined {
  const given = config?.chat_template;
  if (!Array.isArray(given)) return typeof given === "string" ? given : undefined;
  return given.find((each) => each?.name === "default")?.template;
}

function noTemplate(where: string): InvalidInput {
  const problem = "there is no chat template";
  return new InvalidInput({
    problems: [{ where, problem, remedy: "Give one: every chat model documents its own" }],
  });
}

type Render = (options: ChatOptions) => string;

function renderer(tokenizer: Tokenizer, source: string): Render {
  const template = attempt(() => new Template(source));
  const { specials } = tokenizer;
  const tokens = Object.fromEntries(
    Object.entries(specials).map(([role, id]) => [`${role}_token`, tokenizer.idToToken(id)]),
  );
  return ({ messages, addGenerationPrompt = false, variables = {} }) =>
    attempt(() =>
      template.render({ ...tokens, ...variables, messages, add_generation_prompt: addGenerationPrompt }),
    );
}

function attempt<T>(render: () => T): T {
  try {
    return render();
  } catch (error) {
    throw new RangeError(`Cannot render the chat: ${(error as Error).message}`, { cause: error });
  }
}

/** Characters of the private use area, which no template writes. */
const [opens, closes] = ["\u{10fff0}", "\u{10fff1}"];

/**
 * Puts a mark in the place of each tag. The tags around it keep the tag's own effect on white space: the first on what
 * stands before it, the last on what follows.
 */
function withMarks(template: string): string {
  return template.replace(
    /\{%(-?)\s*(end)?generation\s*(-?)%\}/g,
    (_, before: string, end: string | undefined, after: string) =>
      `{%${before} if true %}{{ "${end === undefined ? opens : closes}" }}{% endif ${after}%}`,
  );
}

function unmarked(text: string): RenderedChat {
  const assistant: Array<Offset> = [];
  let plain = "";
  let begin = 0;
  for (const piece of text.split(new RegExp(`([${opens}${closes}])`, "u"))) {
    if (piece === opens) begin = plain.length;
    else if (piece === closes) assistant.push([begin, plain.length]);
    else plain += piece;
  }
  return { text: plain, assistant };
}

function byPrefixes(render: Render, options: ChatOptions): RenderedChat {
  const text = render(options);
  const assistant = options.messages.flatMap(({ role }, i): ReadonlyArray<Offset> => {
    if (role !== "assistant") return [];
    const before = render({ ...options, messages: options.messages.slice(0, i), addGenerationPrompt: true });
    const after = render({
      ...options,
      messages: options.messages.slice(0, i + 1),
      addGenerationPrompt: false,
    });
    if (!after.startsWith(before) || !text.startsWith(after)) {
      throw new RangeError(
        `Cannot tell what the assistant says in message ${i}: the template writes a conversation differently once it goes on; put {% generation %} and {% endgeneration %} around the answer`,
      );
    }
    return [[before.length, after.length]];
  });
  return { text, assistant };
}
