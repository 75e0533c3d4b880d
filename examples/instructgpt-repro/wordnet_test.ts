import { key } from "@rlhf/core/random";
import { describe, expect, it } from "vitest";
import { isClause } from "./clauses.ts";
import { makeCorpus } from "./corpus.ts";
import { readFacts } from "./facts.ts";
import { nounMeaning } from "./nouns.ts";
import { definitionSentence, exampleSentences, withArticle } from "./sentences.ts";
import { topicFinder, topics } from "./topics.ts";
import { readWordnet } from "./wordnet.ts";

const wordnet = readWordnet();
const meaning = (word: string) => nounMeaning(wordnet, word)!;

describe("readWordnet", () => {
  it("reads all of WordNet 3.1", () => {
    expect(wordnet.synsets.size).toBe(117_791);
    const examples = [...wordnet.synsets.values()].reduce((sum, { examples }) => sum + examples.length, 0);
    expect(examples).toBe(48_571);
  });

  it("knows words, meanings, what is above them and what is opposite", () => {
    const violin = wordnet.senses("violin", "n")[0]!.synset;
    expect(violin.words).toEqual(["violin", "fiddle"]);
    const above = [...wordnet.ancestors(violin)].flatMap((id) => wordnet.synsets.get(id)!.words);
    expect(above).toContain("musical instrument");
    const hot = wordnet.senses("hot", "a")[0]!.synset;
    expect(hot.opposites).toEqual([["hot", "cold"]]);
    expect(wordnet.senses("galore", "a")[0]!.synset.words).toEqual(["galore"]);
    expect(wordnet.senses("paris", "n")[0]!.synset.isName).toBe(true);
    expect(wordnet.senses("no such word", "n")).toEqual([]);
  });
});

describe("sentences", () => {
  it("brings definitions and examples into one form", () => {
    expect(definitionSentence(meaning("bathtub"), "bathtub")).toBe(
      "A bathtub is a relatively large open container that you fill with water and use to wash the body.",
    );
    const unravel = wordnet.senses("unravel", "v").map(({ synset }) => synset);
    expect(unravel.flatMap(({ examples }) => examples)).toContain("unravel the thread");
    expect(unravel.flatMap(exampleSentences)).toContain("Can you unravel the mystery?");
  });

  it("finds the article by sound", () => {
    expect(["owl", "hour", "violin", "unit", "umbrella"].map(withArticle)).toEqual([
      "an owl",
      "an hour",
      "a violin",
      "a unit",
      "an umbrella",
    ]);
  });

  it("tells sentences from fragments", () => {
    expect(isClause(wordnet, "The students were made to copy the alphabet.")).toBe(true);
    expect(isClause(wordnet, "The children teased the boy.")).toBe(true);
    expect(isClause(wordnet, "A hot week on the stock market.")).toBe(false);
    expect(isClause(wordnet, "The timely filing of his income tax return.")).toBe(false);
  });
});

describe("nounMeaning", () => {
  it("finds base forms and passes over words that are mostly no nouns", () => {
    expect(meaning("wolves")).toBe(meaning("wolf"));
    expect(meaning("berries")).toBe(meaning("berry"));
    expect(meaning("churches")).toBe(meaning("church"));
    for (const word of ["us", "saw", "go", "well", "the"]) expect(nounMeaning(wordnet, word)).toBeUndefined();
  });
});

describe("topicFinder", () => {
  const topicsOf = topicFinder(wordnet);
  it("goes by what the nouns of a text are kinds of", () => {
    expect([...topicsOf("The weather was bad for the bread.")].sort()).toEqual(["food", "nature"]);
    expect(topicsOf("They played the violin at the wedding.")).toContain("family");
    expect(topicsOf("It was not so.").size).toBe(0);
  });

  it("takes every topic's own name for a mention", () => {
    expect(topics).toHaveLength(8);
    for (const topic of topics) expect(topicsOf(topic)).toContain(topic);
  });
});

describe("readFacts", () => {
  const facts = readFacts(wordnet);
  it("collects definitions, opposites and kinds of words in use", () => {
    expect(facts.definitions.size).toBeGreaterThan(1500);
    expect(facts.opposites.get("hot")).toEqual(new Set(["cold"]));
    expect(facts.categoriesOf.get("salmon")).toEqual(["fish", "animal"]);
    expect(facts.isKindOf("salmon", "food fish")).toBe(true);
    expect(facts.isKindOf("salmon", "bird")).toBe(false);
    expect(facts.isKindOf("salmon", "object")).toBe(false);
  });
});

describe("makeCorpus", () => {
  const corpus = makeCorpus(wordnet, key(1));
  it("splits by meaning, shares no sentence, and repeats itself", () => {
    expect(corpus.train.length + corpus.validation.length).toBeGreaterThan(1500);
    expect(corpus.validation.length / corpus.train.length).toBeCloseTo(0.05, 2);
    const training = new Set(corpus.train.flatMap((document) => document.split("\n")));
    for (const document of corpus.validation) {
      for (const line of document.split("\n")) expect(training.has(line)).toBe(false);
    }
    expect(makeCorpus(wordnet, key(1)).train.slice(0, 100)).toEqual(corpus.train.slice(0, 100));
    expect(makeCorpus(wordnet, key(2)).train.slice(0, 100)).not.toEqual(corpus.train.slice(0, 100));
  });

  it("is made of well-formed lines", () => {
    for (const document of corpus.train) {
      for (const line of document.split("\n"))
        if (!/^[A-Z].*[.!?]'?$/.test(line)) expect(line).toBe("well-formed");
    }
  });
});
