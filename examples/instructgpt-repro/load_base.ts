import { InvalidInput } from "@rlhf/core";
import { loadTokenizer } from "@rlhf/tokenizer";
import { loadCheckpoint, resizeEmbeddings } from "@rlhf/transformer";
import { Effect } from "effect";

/**
 * A checkpoint to start from, with its tokenizer. Where that has no token for padding alone, as GPT-2's, it gets one, and the
 * model a row for it: what pads must never be what ends an answer.
 */
export const loadBase = Effect.fn("loadBase")(
  function* (place: string) {
    const tokenizer = yield* loadTokenizer(place, { addPad: true });
    const { vocabSize, specials } = tokenizer;
    const published = specials.pad === vocabSize - 1 ? vocabSize - 1 : vocabSize; // an added token is the last
    const model = yield* loadCheckpoint(place, { vocabSize: published });
    return { tokenizer, model: resizeEmbeddings(model, Math.max(vocabSize, model.config.vocabSize)) };
  },
  Effect.catchTags({
    CheckpointNotFound: ({ message }) => refuseBase(message, "Check the path or the name"),
    VocabularyMismatch: ({ message }) =>
      refuseBase(message, "Put the tokenizer.json that the model was trained with beside it"),
  }),
);

const refuseBase = (problem: string, remedy: string) =>
  Effect.fail(new InvalidInput({ problems: [{ where: "--base", problem, remedy }] }));
