import type { Ranking } from "@rlhf/core/records";
import { isObject, type Value } from "../_value.ts";
import { type Format, has } from "../format.ts";

/** A score for each of the answers to a prompt: the higher is better, equal scores are a tie. */
export const scoredAnswers: Format = {
  name: "scores",
  example: '{"prompt": …, "responses": […], "scores": […]}',
  recognizes: has("prompt", "responses", "scores"),
  reads: {
    rankings: (row) => {
      const responses = row
        .field("responses")
        .items()
        .map((response) => response.textOrEmpty());
      const scores = row
        .field("scores")
        .items()
        .map((score) => score.number());
      if (scores.length !== responses.length) {
        row.field("scores").refuse(`one score for each of the ${responses.length} responses`);
      }
      return [byScore(row.field("prompt").text(), responses, scores)];
    },
  },
};

/** One answer a row; rows of the same prompt follow each other. */
export const scoredAnswer: Format = {
  name: "scored-answers",
  example: '{"prompt": …, "response": …, "score": 0.5}',
  recognizes: (row) => has("prompt", "response", "score")(row) && !("label" in row),
  groupBy: ({ prompt }) => prompt,
  reads: {
    rankings: (rows) => {
      const answers = rows.items();
      if (answers.length < 2) {
        rows.refuse("two rows or more of this prompt", "one");
        return [];
      }
      return [
        byScore(
          answers[0]!.field("prompt").text(),
          answers.map((answer) => answer.field("response").textOrEmpty()),
          answers.map((answer) => answer.field("score").number()),
        ),
      ];
    },
  },
};

/** UltraFeedback's form (Cui et al. 2023, arXiv:2310.01377): completions with an overall score. */
export const ultraFeedback: Format = {
  name: "ultrafeedback",
  example: '{"instruction": …, "completions": [{"response": …, "overall_score": 7}]}',
  recognizes: (row) =>
    "instruction" in row && Array.isArray(row.completions) && row.completions.every(isObject),
  reads: {
    rankings: (row) => {
      const completions = row.field("completions").items();
      if (completions.length < 2) row.field("completions").refuse("two completions or more");
      return [
        byScore(
          row.field("instruction").text(),
          completions.map((completion) => completion.field("response").textOrEmpty()),
          completions.map(overall),
        ),
      ];
    },
  },
};

function overall(completion: Value): number {
  const score = completion.field("overall_score");
  return (score.exists ? score : completion.field("score")).number();
}

/** The rank of a response is one more than the number of better ones. */
function byScore(prompt: string, responses: ReadonlyArray<string>, scores: ReadonlyArray<number>): Ranking {
  const ranks = scores.map((score) => 1 + scores.filter((other) => other > score).length);
  return { prompt, responses, ranks };
}
