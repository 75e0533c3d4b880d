import { type Demonstration, fold, InvalidInput, type Key, type Ranking } from "@rlhf/core";
import { readCorpus, readDemonstrations, readRankings } from "@rlhf/data";
import { readLexicon } from "@rlhf/labeler";
import { Effect } from "effect";
import { allProblems } from "./all_problems.ts";
import type { Config } from "./config.ts";
import { type Corpus, makeCorpus } from "./corpus.ts";
import { readFacts } from "./facts.ts";
import { taskCriteria } from "./judging.ts";
import { ownRows, split } from "./own_data.ts";
import { makeTasks, type TaskPrompt, type Tasks } from "./tasks.ts";
import { readWordnet } from "./wordnet.ts";

/** Everything the run reads, before any tokenizer has seen it. Prompts end with the separator. */
export interface PipelineData {
  readonly corpus: Corpus;
  readonly demonstrations: ReadonlyArray<Demonstration>;
  readonly validation: ReadonlyArray<Demonstration>;
  /** For comparisons and PPO. */
  readonly prompts: ReadonlyArray<TaskPrompt>;
  readonly evaluation: ReadonlyArray<TaskPrompt>;
  /** People's rankings; empty where simulated labellers rank the model's own answers. */
  readonly rankings: ReadonlyArray<Ranking>;
  readonly criteria: ReturnType<typeof taskCriteria>;
  /** Which parts are the user's own: their prompts come without a check of what was asked for. */
  readonly own: { readonly corpus: boolean; readonly demonstrations: boolean; readonly comparisons: boolean };
}

/** Where the user's own files are, if anywhere. */
export type OwnFiles = Pick<Config, "corpus" | "demonstrations" | "comparisons">;

/** The user's own files; fails with the problems of all of them at once. */
export const readOwn = ({ corpus, demonstrations, comparisons }: OwnFiles) =>
  allProblems([
    corpus === null ? Effect.undefined : readCorpus(corpus),
    demonstrations === null ? Effect.undefined : readDemonstrations(demonstrations),
    comparisons === null ? Effect.undefined : readRankings(comparisons),
  ]);

/** WordNet's text and tasks, with the user's own files in place of each part that is given. */
export const loadData = Effect.fn("loadData")(function* (config: Config, from: Key) {
  const [corpus, demonstrations, rankings] = yield* readOwn(config);
  const wordnet = readWordnet();
  const known = { wordnet, facts: readFacts(wordnet), lexicon: readLexicon() };
  const text =
    corpus === undefined
      ? makeCorpus(wordnet, from)
      : split(passages(corpus), { share: 0.05 }, fold(from, "corpus"));
  const tasks = yield* demonstrations === undefined
    ? Effect.try({
        try: () => makeTasks({ ...known, sizes: config.tasks, key: from }),
        catch: (error) =>
          new InvalidInput({
            problems: [
              { where: "--tasks", problem: (error as RangeError).message, remedy: "Ask for fewer tasks" },
            ],
          }),
      })
    : Effect.succeed(noTasks);
  const own = ownRows({ demonstrations, rankings }, config.tasks.evaluation, fold(from, "prompts"));
  const ownPromptsGiven = own.prompts.length > 0;
  return {
    corpus: text,
    demonstrations: own.demonstrations ?? tasks.demonstrations,
    validation: own.validation ?? tasks.validation,
    prompts: ownPromptsGiven ? own.prompts : tasks.prompts,
    evaluation: ownPromptsGiven ? own.evaluation : tasks.evaluation,
    rankings: own.rankings ?? [],
    criteria: taskCriteria({
      ...known,
      sentences: text.train.flatMap((document) => document.split("\n")),
    }),
    own: {
      corpus: corpus !== undefined,
      demonstrations: demonstrations !== undefined,
      comparisons: rankings !== undefined,
    },
  } satisfies PipelineData;
});

/** Demonstrations bring prompts with them. */
const noTasks: Tasks = { demonstrations: [], validation: [], prompts: [], evaluation: [] };

/** A book in one file is cut into its paragraphs, or lines, so that a part of it can be held out. */
function passages(documents: ReadonlyArray<string>): ReadonlyArray<string> {
  const enough = 20;
  const cut = (at: RegExp) =>
    documents.flatMap((text) => text.split(at)).filter((passage) => passage.trim() !== "");
  const paragraphs = cut(/\n\s*\n/);
  return [documents, paragraphs].find(({ length }) => length >= enough) ?? cut(/\n/);
}
