import { fold, key } from "@rlhf/core/random";
import { useBackend } from "@rlhf/tensor/backend";
import { initModel, initScalarModel, nextTokenLogProbs, tokenValues } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { beforeAll, describe, expect, it } from "vitest";
import { type Episode, truncateAtEos } from "./episode.ts";
import { episodeTensors } from "./episode_tensors.ts";
import { responseLogProbs } from "./response_log_probs.ts";
import { responseValues } from "./response_values.ts";
import { rollout } from "./rollout.ts";
import { inParts, selectRows } from "./rows.ts";
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
const layout = { pad, contextLength: config.contextLength };
const root = key(5);

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

  it("are laid out with one mask, end of sequence included", () => {
    tf.tidy(() => {
      const { ids, segments, responseIds, contexts, mask } = episodeTensors(episodes, layout);
      expect([ids.shape, mask.shape]).toEqual([
        [3, 16],
        [3, 16],
      ]);
      expect(tf.slice(ids, [1, 0], [1, 7]).arraySync()).toEqual([[5, 6, 7, 3, eos, pad, pad]]);
      expect(tf.slice(segments, [1, 0], [1, 7]).arraySync()).toEqual([[1, 1, 1, 1, 1, 0, 0]]);
      expect(tf.slice(responseIds, [1, 0], [1, 4]).arraySync()).toEqual([[3, eos, pad, pad]]);
      expect(tf.slice(contexts, [1, 0], [1, 4]).arraySync()).toEqual([[2, 3, 0, 0]]);
      expect(tf.sum(mask, 1).arraySync()).toEqual([9, 2, 1]);
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
  it("are those of the whole sequence at the response's tokens, gradient included", () => {
    const model = spikyModel();
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const tensors = episodeTensors(episodes, layout);
      const { logProbs, entropy } = responseLogProbs(model, tensors, { temperature: 0.7 });
      const whole = nextTokenLogProbs(model, tensors, { temperature: 0.7 });
      episodes.forEach(({ prompt, response }, row) => {
        const [from, size] = [
          [row, prompt.tokens.length],
          [1, response.tokens.length],
        ];
        for (const [mine, theirs] of [
          [logProbs, whole.logProbs],
          [entropy, whole.entropy],
        ] as const) {
          const gap = tf.sub(tf.slice(mine, [row, 0], size), tf.slice(theirs, from, size));
          expect(tf.max(tf.abs(gap)).dataSync()[0]).toBeLessThan(1e-5);
        }
      });
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
      const mine = gradient(() => tf.sum(responseLogProbs(model, tensors, { temperature: 0.7 }).logProbs));
      const theirs = gradient(() =>
        tf.sum(tf.mul(nextTokenLogProbs(model, tensors, { temperature: 0.7 }).logProbs, inResponse)),
      );
      for (const [name, grad] of Object.entries(mine)) {
        expect(tf.max(tf.abs(tf.sub(grad, theirs[name]!))).dataSync()[0]).toBeLessThan(1e-4);
      }
    });
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose(Object.values(model.params));
  });

  it("do not change with the rest of the batch and its padding", () => {
    const model = spikyModel();
    const critic = initScalarModel(model, fold(root, "critic"));
    tf.tidy(() => {
      const together = episodeTensors(episodes, layout);
      const alone = episodeTensors([episodes[1]!], layout);
      const compare = (all: tf.Tensor, one: tf.Tensor) => {
        const gap = tf.sub(tf.slice(all, [1, 0], [1, 8]), one);
        expect(tf.max(tf.abs(gap)).dataSync()[0]).toBeLessThan(1e-5);
      };
      compare(
        responseLogProbs(model, together, { temperature: 1 }).logProbs,
        responseLogProbs(model, alone, { temperature: 1 }).logProbs,
      );
      compare(responseValues(critic, together), responseValues(critic, alone));
      // V before the first response token is the value at the prompt's last token.
      const values = tokenValues(critic, alone).arraySync()[0]!;
      expect(responseValues(critic, alone).arraySync()[0]!.slice(0, 2)).toEqual([values[2], values[3]]);
    });
    tf.dispose(Object.values(critic.params));
  });

  it("are the same in parts, and of selected rows", () => {
    const model = spikyModel();
    tf.tidy(() => {
      const tensors = episodeTensors(episodes, layout);
      const f = (part: typeof tensors) => ({ x: responseLogProbs(model, part, { temperature: 1 }).logProbs });
      const whole = f(tensors).x.arraySync();
      const close = (actual: Array<Array<number>>, expected: Array<Array<number>>) =>
        actual.forEach((row, i) => {
          row.forEach((value, j) => {
            expect(value).toBeCloseTo(expected[i]![j]!, 5);
          });
        });
      close(inParts(tensors, 2, f).x.arraySync(), whole);
      close(f(selectRows(tensors, [2, 0])).x.arraySync(), [whole[2]!, whole[0]!]);
    });
    tf.dispose(Object.values(model.params));
  });
});

describe("rollout", () => {
  const options = { prompts, maxNewTokens: 10, eos, pad, temperature: 0.8, key: root };

  it("samples episodes whose log-probabilities are the model's own, and frees every tensor", async () => {
    const policy = spikyModel();
    const before = tf.memory().numTensors;
    const episodes = await Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const { episodes, tensors, oldLogProbs } = yield* rollout({ policy, ...options });
          tf.tidy(() => {
            const { logProbs } = responseLogProbs(policy, tensors, { temperature: 0.8 });
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

  it("refuses a padding token that ends sequences", async () => {
    const policy = spikyModel();
    await expect(Effect.runPromise(Effect.scoped(rollout({ policy, ...options, pad: eos })))).rejects.toThrow(
      "pad must be a token of its own",
    );
    tf.dispose(Object.values(policy.params));
  });
});
