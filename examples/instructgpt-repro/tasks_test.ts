import { fold, integers, key, shuffled } from "@rlhf/core/random";
import { readLexicon } from "@rlhf/labeler/lexicon";
import { goldUtility, simulatedLabelers } from "@rlhf/labeler/simulated";
import { describe, expect, it } from "vitest";
import { makeCorpus } from "./corpus.ts";
import { readFacts } from "./facts.ts";
import { taskCriteria } from "./judging.ts";
import type { Task } from "./task.ts";
import { formOf, makeTasks, separator, type TaskDemonstration, taskShares } from "./tasks.ts";
import { readWordnet } from "./wordnet.ts";

const wordnet = readWordnet();
const lexicon = readLexicon();
const facts = readFacts(wordnet);
const sizes = { demonstrations: 5000, validation: 200, prompts: 3400, evaluation: 400 };
const tasks = makeTasks({ wordnet, facts, lexicon, sizes, key: key(1) });
const texts = (prompts: ReadonlyArray<{ readonly text: string }>) => new Set(prompts.map(({ text }) => text));

describe("makeTasks", () => {
  it("makes as many as asked for, mixed by share, always the same", () => {
    for (const [name, size] of Object.entries(sizes)) {
      const made = tasks[name as keyof typeof sizes];
      expect(made).toHaveLength(size);
      for (const [form, share] of Object.entries(taskShares)) {
        const formed = made.filter(({ task }) => task.kind !== "own" && formOf(task) === form);
        expect(formed).toHaveLength(Math.round(size * share));
      }
    }
    expect(makeTasks({ wordnet, facts, lexicon, sizes, key: key(1) })).toEqual(tasks);
    expect(makeTasks({ wordnet, facts, lexicon, sizes, key: key(2) }).prompts).not.toEqual(tasks.prompts);
  });

  it("ends every prompt with the separator and every response with a full stop", () => {
    for (const { prompt, response } of tasks.demonstrations) {
      expect(prompt).toMatch(/^[A-Z][^\n]*[.?]\n$/);
      expect(response).toMatch(/^[A-Z][^\n]*[.!?]'?$/);
    }
    for (const { text } of tasks.prompts) expect(text.indexOf(separator)).toBe(text.length - 1);
  });

  it("asks for happy and sad sentences about as often", () => {
    const moods = tasks.demonstrations.flatMap(({ task }) =>
      task.kind === "write" ? (task.mood ?? []) : [],
    );
    const happy = moods.filter((found) => found === "happy").length;
    expect(happy / moods.length).toBeGreaterThan(0.4);
    expect(happy / moods.length).toBeLessThan(0.6);
  });

  it("evaluates on new phrasings, new words and some new combinations of mood and topic", () => {
    const seen = new Set([...texts(tasks.prompts), ...tasks.demonstrations.map(({ prompt }) => prompt)]);
    for (const { text } of tasks.evaluation) expect(seen.has(text)).toBe(false);
    expect(texts(tasks.prompts).size).toBe(sizes.prompts);
    const subject = (task: Task) =>
      task.kind === "write" ? `${task.mood} ${task.topic}` : task.kind === "own" ? "" : task.word;
    const trained = new Set([...tasks.demonstrations, ...tasks.prompts].map(({ task }) => subject(task)));
    const fresh = tasks.evaluation.filter(({ task }) => !trained.has(subject(task)));
    expect(fresh.filter(({ task }) => task.kind !== "write")).toHaveLength(
      tasks.evaluation.filter(({ task }) => task.kind !== "write").length,
    );
    expect(fresh.filter(({ task }) => task.kind === "write").length).toBeGreaterThan(5);
  });

  it("shares no response between training and validation", () => {
    const trained = new Set(tasks.demonstrations.map(({ response }) => response));
    for (const { response } of tasks.validation) expect(trained.has(response)).toBe(false);
  });

  it("says what is missing", () => {
    const tooMany = { ...sizes, demonstrations: 1_000_000 };
    expect(() => makeTasks({ wordnet, facts, lexicon, sizes: tooMany, key: key(1) })).toThrow(
      "tasks of kind topic",
    );
  });
});

describe("taskCriteria", () => {
  const sentences = makeCorpus(wordnet, key(1)).train.flatMap((document) => document.split("\n"));
  const criteria = taskCriteria({ wordnet, facts, lexicon, sentences });
  const { heldOut } = simulatedLabelers({ criteria, key: key(1) });
  const gold = ({ prompt, task }: TaskDemonstration, response: string) =>
    goldUtility(heldOut, { id: "", text: prompt, task }, response);
  const mean = (values: ReadonlyArray<number>) => values.reduce((a, b) => a + b, 0) / values.length;
  const writing = tasks.demonstrations
    .flatMap((asked) =>
      asked.task.kind === "write" && asked.task.mood ? { ...asked, task: asked.task } : [],
    )
    .slice(0, 600);

  it("puts right sentences before those of a wrong mood, a wrong topic and shuffled words", () => {
    const right = mean(writing.map((asked) => gold(asked, asked.response)));
    const ofOther = (same: "mood" | "topic", different: "mood" | "topic") =>
      mean(
        writing.flatMap((asked, i) => {
          const pool = writing.filter(
            ({ task }) => task[same] === asked.task[same] && task[different] !== asked.task[different],
          );
          const chosen = pool.length > 0 ? integers(fold(key(5), i), 1, pool.length)[0]! : undefined;
          return chosen === undefined ? [] : gold(asked, pool[chosen]!.response); // a left-out combination has none
        }),
      );
    const scrambled = mean(
      writing.map((asked, i) => {
        const text = shuffled(fold(key(6), i), asked.response.slice(0, -1).split(" ")).join(" ");
        return gold(asked, `${text[0]!.toUpperCase()}${text.slice(1)}.`);
      }),
    );
    const wrongMood = ofOther("topic", "mood");
    const wrongTopic = ofOther("mood", "topic");
    expect(right).toBeGreaterThan(0.85);
    expect(wrongMood).toBeLessThan(right - 0.15);
    expect(wrongTopic).toBeLessThan(right - 0.15);
    expect(scrambled).toBeLessThan(Math.min(wrongMood, wrongTopic) - 0.1);
  });

  it("does not reward degenerate text, nor one sentence for all prompts", () => {
    for (const text of ["Happy happy happy food.", "Love great win food good happy friend.", "food", ""]) {
      expect(mean(writing.map((asked) => gold(asked, text)))).toBeLessThan(0.2);
    }
    const one = "She was happy with the good food and loved her children.";
    expect(mean(writing.map((asked) => gold(asked, one)))).toBeLessThan(0.55);
  });

  it("finds all right answers true and other people's answers false", () => {
    const truth = criteria.content.find(({ criterion }) => criterion.name === "truth")!.criterion;
    for (const kind of ["define", "opposite", "kind", "fact"] as const) {
      const asked = tasks.demonstrations.filter(({ task }) => task.kind === kind);
      const judge = ({ prompt, task }: TaskDemonstration, response: string) =>
        truth.judge({ id: "", text: prompt, task }, response, 0)!;
      expect(mean(asked.map((one) => judge(one, one.response)))).toBe(1);
      const others = asked.map((one, i) => judge(one, asked[(i + 1) % asked.length]!.response));
      expect(mean(others)).toBeLessThan(kind === "fact" ? 0.6 : 0.3);
      expect(mean(asked.map((one) => judge(one, "I do not know.")))).toBe(0);
    }
  });

  it("knows nothing about a user's own prompts but how readable and harmless an answer is", () => {
    const own = { prompt: "Hi!\n", response: "", task: { kind: "own" } } as const;
    expect(gold(own, "It is nice to meet you here.")).toBeGreaterThan(0.9);
    expect(gold(own, "meet here to nice you is it")).toBeLessThan(0.3);
  });
});
