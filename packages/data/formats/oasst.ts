import type { Demonstration, Ranking } from "@rlhf/core/records";
import type { Value } from "../_value.ts";
import { type Format, type FormatOptions, has } from "../format.ts";
import type { Message } from "../messages.ts";

/**
 * Message trees of OpenAssistant (Köpf et al. 2023, arXiv:2304.07327). Wherever two or more answers to the same
 * messages have been ranked they are a ranking; the best answer is a demonstration.
 */
export const oasstTrees: Format = {
  name: "oasst-trees",
  example: '{"message_tree_id": …, "prompt": {"text": …, "role": "prompter", "replies": […]}}',
  recognizes: has("message_tree_id", "prompt"),
  reads: {
    rankings: (row, options) => rankings(treeOf(row.field("prompt")), options),
    demonstrations: (row, options) => demonstrations(treeOf(row.field("prompt")), options),
  },
};

/** The same trees, one message a row: `parent_id` says what it replies to. */
export const oasstMessages: Format = {
  name: "oasst-messages",
  example: '{"message_id": …, "parent_id": …, "message_tree_id": …, "text": …, "role": …}',
  recognizes: has("message_id", "message_tree_id", "text", "role"),
  groupBy: ({ message_tree_id }) => message_tree_id,
  reads: {
    rankings: (rows, options) => rankings(assemble(rows), options),
    demonstrations: (rows, options) => demonstrations(assemble(rows), options),
  },
};

interface Node {
  readonly message: Message;
  /** 0 is best; without it nobody ranked the message. */
  readonly rank: number | undefined;
  readonly replies: Array<Node>;
}

function nodeOf(value: Value): Node {
  const role = value.field("role");
  if (role.found !== "prompter" && role.found !== "assistant") role.refuse("prompter or assistant");
  const rank = value.field("rank");
  return {
    message: { role: role.found === "assistant" ? "assistant" : "user", content: value.field("text").text() },
    rank: rank.exists ? rank.integer() : undefined,
    replies: [],
  };
}

function treeOf(value: Value): Node {
  const node = nodeOf(value);
  const replies = value.field("replies");
  if (replies.exists) node.replies.push(...replies.items().map(treeOf));
  return node;
}

function assemble(rows: Value): Node | undefined {
  const nodes = new Map(rows.items().map((row) => [row.field("message_id").text(), nodeOf(row)]));
  let root: Node | undefined;
  for (const row of rows.items()) {
    const node = nodes.get(String(row.field("message_id").found))!;
    const parent = row.field("parent_id");
    const found = nodes.get(String(parent.found));
    if (found !== undefined) found.replies.push(node);
    else if (root === undefined && !parent.exists) root = node;
    else parent.refuse("the id of a message of the same tree");
  }
  if (root === undefined) rows.refuse("a tree with one message that replies to none");
  return root;
}

function rankings(root: Node | undefined, { rendering }: FormatOptions): Array<Ranking> {
  return exchanges(root).flatMap(({ before, answers }) => {
    const ranked = answers.filter(({ rank }) => rank !== undefined);
    if (ranked.length < 2) return [];
    return [
      {
        prompt: rendering.prompt(before),
        responses: ranked.map(({ message }) => rendering.response([message], before)),
        ranks: ranked.map(({ rank }) => rank! + 1),
      },
    ];
  });
}

function demonstrations(root: Node | undefined, { rendering }: FormatOptions): Array<Demonstration> {
  return exchanges(root).map(({ before, answers }) => {
    const [best] = [...answers].sort((a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity));
    return { prompt: rendering.prompt(before), response: rendering.response([best!.message], before) };
  });
}

interface Exchange {
  readonly before: ReadonlyArray<Message>;
  readonly answers: ReadonlyArray<Node>;
}

/** Every place in a tree where the assistant answers, with all that was said before it. */
function exchanges(node: Node | undefined, before: ReadonlyArray<Message> = []): Array<Exchange> {
  if (node === undefined) return [];
  const said = [...before, node.message];
  const answers = node.replies.filter(({ message }) => message.role === "assistant");
  const here = node.message.role === "user" && answers.length > 0 ? [{ before: said, answers }] : [];
  return [...here, ...node.replies.flatMap((reply) => exchanges(reply, said))];
}
