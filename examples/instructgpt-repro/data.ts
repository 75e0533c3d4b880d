import { type Demonstration, fold, InvalidInput, type Key, type Problem, type Ranking } from "@rlhf/core";
import { readCorpus, readDemonstrations, readRankings } from "@rlhf/data";
import { readLexicon } from "@rlhf/labeler";
import { Effect } from "effect";
import type { Config } from "./config.ts";
import { type Corpus, makeCorpus } from "./corpus.ts";
import { taskCriteria } from "./judging.ts";
import { ownRows, split } from "./own_data.ts";
import { makeTasks, type TaskPrompt } from "./tasks.ts";
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

/** WordNet's text and tasks, with the user's own files in place of each part that is given. */
export const loadData = Effect.fn("loadData")(function* (config: Config, from: Key) {
  const [corpus, demonstrations, rankings] = yield* allProblems(
    config.corpus === null ? Effect.undefined : readCorpus(config.corpus),
    config.demonstrations === null ? Effect.undefined : readDemonstrations(config.demonstrations),
    config.comparisons === null ? Effect.undefined : readRankings(config.comparisons),
  );
  const wordnet = readWordnet();
  const lexicon = readLexicon();
  const text =
    corpus === undefined
      ? makeCorpus(wordnet, from)
      : split(passages(corpus), { share: 0.05 }, fold(from, "corpus"));
  const tasks = makeTasks({ wordnet, lexicon, sizes: config.tasks, key: from });
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
      wordnet,
      lexicon,
      sentences: text.train.flatMap((document) => document.split("\n")),
    }),
    own: {
      corpus: corpus !== undefined,
      demonstrations: demonstrations !== undefined,
      comparisons: rankings !== undefined,
    },
  } satisfies PipelineData;
});

/** Runs all readers, and fails with the problems of all of them at once. */
const allProblems = <A, B, C, R1, R2, R3>(
  a: Effect.Effect<A, InvalidInput, R1>,
  b: Effect.Effect<B, InvalidInput, R2>,
  c: Effect.Effect<C, InvalidInput, R3>,
) =>
  Effect.gen(function* () {
    const problems: Array<Problem> = [];
    const collect = <T, R>(reading: Effect.Effect<T, InvalidInput, R>) =>
      Effect.catch(reading, (error) => {
        problems.push(...error.problems);
        return Effect.undefined;
      });
    const read = [yield* collect(a), yield* collect(b), yield* collect(c)] as const;
    return problems.length > 0 ? yield* new InvalidInput({ problems }) : read;
  });

/** A book in one file is cut into its paragraphs, or lines, so that a part of it can be held out. */
function passages(documents: ReadonlyArray<string>): ReadonlyArray<string> {
  const enough = 20;
  const cut = (at: RegExp) =>
    documents.flatMap((text) => text.split(at)).filter((passage) => passage.trim() !== "");
  const paragraphs = cut(/\n\s*\n/);
  return [documents, paragraphs].find(({ length }) => length >= enough) ?? cut(/\n/);
}
