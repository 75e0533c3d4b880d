import { fold, key } from "@rlhf/core/random";
import { padRight } from "@rlhf/data";
import { useBackend } from "@rlhf/tensor/backend";
import { initModel, initScalarModel, nextTokenLogProbs, tokenValues, toSequences } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { beforeAll, describe, expect, it } from "vitest";
import { type Episode, truncateAtEos } from "./episode.ts";
import { responseLogProbs } from "./response_log_probs.ts";
import { responseValues } from "./response_values.ts";
import { inParts, type Responses, responseMask, selectRows } from "./responses.ts";
import { rollout } from "./rollout.ts";
import { judge, penalizeMissingEos } from "./score.ts";

const eos = 1;
const pad = 0;
const config = {
  architecture: "gpt2",
  vocabSize: 12,
  contextLength: 24,
  layers: 2,
  width: 8,
  heads: 2,
} as const;
const root = key(5);

it("makes the mask of more episodes than a call has arguments", () => {
  const mask = responseMask(new Array<Episode>(200_000).fill(episodes[1]!));
  expect(mask.shape).toEqual([200_000, 8]);
  mask.dispose();
});

const prompts = [[4], [5, 6, 7], [8, 9, 10, 11, 2], [3, 3]].map((tokens, i) => ({ id: `${i}`, tokens }));
const episodes: ReadonlyArray<Episode> = [
  { prompt: prompts[0]!, response: { tokens: [7, 8, 9, 2, 3, 4, 5, 6, 7], finished: false } },
  { prompt: prompts[1]!, response: { tokens: [3, eos], finished: true } },
  { prompt: prompts[2]!, response: { tokens: [eos], finished: true } },
];

/** A model whose predictions are far from uniform. */
const spikyModel = () => {
  const model = initModel(config, root);
  for (const param of Object.values(model.params)) tf.tidy(() => param.assign(tf.mul(param, 8)));
  return model;
};

beforeAll(() => useBackend("cpu"));

describe("episodes", () => {
  it("end after the first end of sequence, which stays", () => {
    expect(truncateAtEos([4, 5, eos, 6, eos], eos)).toEqual({ tokens: [4, 5, eos], finished: true });
    expect(truncateAtEos([4, 5], eos)).toEqual({ tokens: [4, 5], finished: false });
  });

  it("share one mask, end of sequence included", () => {
    tf.tidy(() => {
      const mask = responseMask(episodes);
      expect(mask.shape).toEqual([3, 16]);
      expect(tf.sum(mask, 1).arraySync()).toEqual([9, 2, 1]);
      expect(tf.slice(mask, [1, 0], [1, 3]).arraySync()).toEqual([[1, 1, 0]]);
    });
  });
});

describe("scores", () => {
  const scores = new Float32Array([1, 2, 3]);

  it("lose the stated penalty where the end of sequence is missing", () => {
    expect([...penalizeMissingEos({ scores, episodes, penalty: 1.5 })]).toEqual([-0.5, 2, 3]);
  });

  it("are added to whatever has episodes", async () => {
    const judged = await Effect.runPromise(
      judge({ episodes, mine: "kept" }, { score: () => Effect.succeed(scores), missingEosPenalty: 0 }),
    );
    expect(judged.mine).toBe("kept");
    expect([...judged.scores]).toEqual([1, 2, 3]);
  });

  it("must be one per episode", () => {
    expect(() => penalizeMissingEos({ scores: new Float32Array(2), episodes, penalty: 0 })).toThrow(
      "got 2 scores for 3 episodes",
    );
  });
});

describe("responseLogProbs and responseValues", () => {
  /** One episode to a row, padded on the right. */
  const unpacked = () =>
    toSequences(
      padRight(
        episodes.map(({ prompt, response }) => ({ tokens: [...prompt.tokens, ...response.tokens] })),
        { padId: pad },
      ),
    );
  /** The response's part of each row of `[batch, time]`. */
  const atResponses = (x: tf.Tensor2D): Array<Array<number>> =>
    x.arraySync().map((row, i) => {
      const { prompt, response } = episodes[i]!;
      return row.slice(prompt.tokens.length, prompt.tokens.length + response.tokens.length);
    });
  const expectRows = (actual: tf.Tensor2D, expected: ReadonlyArray<ReadonlyArray<number>>) =>
    actual.arraySync().forEach((row, i) => {
      row.forEach((value, t) => {
        expect(value).toBeCloseTo(expected[i]![t] ?? 0, 5);
      });
    });

  it("are those of each sequence on its own, gradient included", () => {
    const model = spikyModel();
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const responses = { episodes, mask: responseMask(episodes) };
      const { logProbs, entropy } = responseLogProbs(model, responses, { temperature: 0.7 });
      const whole = nextTokenLogProbs(model, unpacked(), { temperature: 0.7 });
      expectRows(logProbs, atResponses(whole.logProbs));
      expectRows(entropy, atResponses(whole.entropy));

      const inResponse = tf.tensor2d(
        episodes.flatMap(({ prompt, response }) => {
          const start = prompt.tokens.length;
          return Array.from({ length: 16 }, (_, t) =>
            t >= start && t < start + response.tokens.length ? 1 : 0,
          );
        }),
        [3, 16],
      );
      const gradient = (loss: () => tf.Scalar) => tf.variableGrads(loss).grads;
      const mine = gradient(() => tf.sum(responseLogProbs(model, responses, { temperature: 0.7 }).logProbs));
      const theirs = gradient(() =>
        tf.sum(tf.mul(nextTokenLogProbs(model, unpacked(), { temperature: 0.7 }).logProbs, inResponse)),
      );
      for (const [name, grad] of Object.entries(mine)) {
        expect(tf.max(tf.abs(tf.sub(grad, theirs[name]!))).dataSync()[0]).toBeLessThan(1e-4);
      }
    });
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose(Object.values(model.params));
  });

  it("take the value before each response token", () => {
    const critic = initScalarModel(spikyModel(), fold(root, "critic"));
    tf.tidy(() => {
      const values = tokenValues(critic, unpacked()).arraySync();
      expectRows(
        responseValues(critic, { episodes, mask: responseMask(episodes) }),
        episodes.map(({ prompt, response }, i) => {
          const start = prompt.tokens.length - 1;
          return values[i]!.slice(start, start + response.tokens.length);
        }),
      );
    });
    tf.dispose(Object.values(critic.params));
  });

  it("are the same in parts, and of selected rows", () => {
    const model = spikyModel();
    tf.tidy(() => {
      const mask = responseMask(episodes);
      const f = (part: Responses) => ({ x: responseLogProbs(model, part, { temperature: 1 }).logProbs });
      const whole = f({ episodes, mask }).x.arraySync();
      expectRows(inParts({ episodes, mask }, 2, f).x, whole);
      const selected = selectRows({ mask }, Int32Array.of(2, 0));
      expectRows(f({ episodes: [episodes[2]!, episodes[0]!], ...selected }).x, [whole[2]!, whole[0]!]);
    });
    tf.dispose(Object.values(model.params));
  });

  it("fill a context that is no multiple of eight", () => {
    const model = initModel({ ...config, contextLength: 10 }, root);
    tf.tidy(() => {
      const { logProbs } = responseLogProbs(
        model,
        { episodes: episodes.slice(0, 1), mask: responseMask(episodes.slice(0, 1)) },
        { temperature: 1 },
      );
      expect(logProbs.shape).toEqual([1, 16]);
    });
    tf.dispose(Object.values(model.params));
  });
});

describe("rollout", () => {
  const options = { prompts, maxNewTokens: 10, eos, temperature: 0.8, key: root };

  it("samples episodes whose log-probabilities are the model's own, and frees every tensor", async () => {
    const policy = spikyModel();
    const before = tf.memory().numTensors;
    const episodes = await Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const { episodes, mask, oldLogProbs } = yield* rollout({ policy, ...options });
          tf.tidy(() => {
            const { logProbs } = responseLogProbs(policy, { episodes, mask }, { temperature: 0.8 });
            const gap = tf.max(tf.abs(tf.sub(logProbs, oldLogProbs)));
            expect(gap.dataSync()[0]).toBeLessThan(1e-4);
          });
          return episodes;
        }),
      ),
    );
    expect(tf.memory().numTensors).toBe(before);
    expect(episodes.map(({ prompt }) => prompt)).toEqual(prompts);
    for (const { response } of episodes) {
      expect(response.finished).toBe(response.tokens.at(-1) === eos);
      expect(response.tokens.length).toBeLessThanOrEqual(10);
    }
    const again = await Effect.runPromise(Effect.scoped(rollout({ policy, ...options, slots: 2 })));
    expect(again.episodes).toEqual(episodes);
    tf.dispose(Object.values(policy.params));
  });
});
