import { withArticle } from "./sentences.ts";
import type { WordnetTask } from "./task.ts";

/** All the ways to ask for something; those of `heldOut` are never seen in training. */
export interface Phrasings {
  readonly train: ReadonlyArray<string>;
  readonly heldOut: ReadonlyArray<string>;
}

const openers = {
  train: [
    "",
    "please ",
    "can you ",
    "now ",
    "just ",
    "would you ",
    "kindly ",
    "will you ",
    "quickly ",
    "ok, ",
    "hello, ",
    "go on and ",
  ],
  heldOut: ["could you ", "I want you to "],
};

/** Questions, and orders behind every opener: "Please write a happy sentence about food." */
export function phrasingsOf(task: WordnetTask): Phrasings {
  const { questions, orders } = wordings(task);
  const opened = (list: ReadonlyArray<string>) =>
    list.flatMap((opener) =>
      orders.map((order) =>
        capitalised(`${opener}${order}${/^(?:can|could|would|will)/.test(opener) ? "?" : "."}`),
      ),
    );
  return { train: [...questions, ...opened(openers.train)], heldOut: opened(openers.heldOut) };
}

function wordings(task: WordnetTask): { questions: ReadonlyArray<string>; orders: ReadonlyArray<string> } {
  switch (task.kind) {
    case "write": {
      const verbs = [
        "write",
        "give me",
        "make up",
        "tell me",
        "compose",
        "think of",
        "say",
        "create",
        "invent",
        "produce",
        "come up with",
        "offer me",
      ];
      const mood = task.mood ? `${task.mood} ` : "";
      const objects = ["a", "one", "a short", "another", "a new"].map((which) => `${which} ${mood}sentence`);
      objects.push(`something ${mood}`.trimEnd());
      const orders = verbs.flatMap((verb) =>
        objects.map((object) => `${verb} ${object} about ${task.topic}`),
      );
      return { questions: [], orders };
    }
    case "define": {
      const noun = withArticle(task.word);
      const orders = [`tell me what ${noun} is`, `say what ${noun} is`, `explain what ${noun} is`];
      return { questions: [`What is ${noun}?`], orders };
    }
    case "opposite": {
      const orders = ["name", "give me", "tell me"].map((verb) => `${verb} the opposite of ${task.word}`);
      return { questions: [`What is the opposite of ${task.word}?`], orders };
    }
    case "kind": {
      const noun = withArticle(task.word);
      const orders = ["tell me", "say", "explain"].map((verb) => `${verb} what kind of thing ${noun} is`);
      return { questions: [`What kind of thing is ${noun}?`], orders };
    }
    case "fact": {
      const [noun, category] = [withArticle(task.word), withArticle(task.category)];
      const orders = ["tell me", "say"].map((verb) => `${verb} whether ${noun} is ${category}`);
      return { questions: [`Is ${noun} ${category}?`, `Is it true that ${noun} is ${category}?`], orders };
    }
  }
}

function capitalised(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1);
}
