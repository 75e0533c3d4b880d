import { integers, key } from "@rlhf/core/random";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { attention } from "./attention.ts";
import { useBackend } from "./backend.ts";
import { createKvCache, decodeStep } from "./decode_step.ts";
import type { DecoderSpec, DecoderWeights } from "./decoder.ts";
import { embed } from "./embed.ts";
import { normHeads } from "./head_norm.ts";
import { layerNorm } from "./layer_norm.ts";
import { linear } from "./linear.ts";
import { rmsNorm } from "./rms_norm.ts";
import { rope } from "./rope.ts";
import { swiglu } from "./swiglu.ts";
import { decoderWeights, gpt, layers, llama, vocab } from "./testing/decoders.ts";
import { availableBackends, difference } from "./testing/numbers.ts";

/** What the fused kernel does not know. */
const qwen3: DecoderSpec = {
  ...llama,
  headDim: 4,
  headNorm: true,
  ropeScaling: {
    type: "llama3",
    factor: 4,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalContext: 32,
  },
};

/** Logits `[time, vocab]` of one whole sequence at once, without a cache. */
const forward = (spec: DecoderSpec, weights: DecoderWeights, tokens: number[]): tf.Tensor => {
  const { heads, kvHeads } = spec;
  const norm = (x: tf.Tensor, { gain, bias }: { gain: tf.Tensor; bias?: tf.Tensor | undefined }) =>
    bias ? layerNorm(x, gain, bias, spec.epsilon) : rmsNorm(x, gain, spec.epsilon);
  const positions = tf.range(0, tokens.length, 1, "int32");
  let x = embed(weights.tokenEmbedding, tf.tensor1d(tokens, "int32"));
  if (weights.positionEmbedding) x = tf.add(x, embed(weights.positionEmbedding, positions));
  for (const block of weights.blocks) {
    let qkv = tf.expandDims(
      linear(norm(x, block.attentionNorm), block.qkv.weight, { bias: block.qkv.bias }),
      0,
    );
    if (spec.headNorm) {
      const [queryGain, keyGain] = [block.queryNorm!, block.keyNorm!];
      qkv = normHeads(qkv, { heads, kvHeads, queryGain, keyGain, epsilon: spec.epsilon });
    }
    if (spec.ropeTheta !== undefined) {
      qkv = rope(qkv as tf.Tensor3D, {
        heads,
        kvHeads,
        theta: spec.ropeTheta,
        scaling: spec.ropeScaling,
        positions: tf.expandDims(positions, 0) as tf.Tensor2D,
      });
    }
    const y = tf.squeeze(attention(qkv as tf.Tensor3D, { heads, kvHeads, causal: true }), [0]);
    x = tf.add(x, linear(y, block.attentionOut.weight, { bias: block.attentionOut.bias }));
    const h = norm(x, block.feedForwardNorm);
    const f =
      spec.activation === "swiglu"
        ? swiglu(linear(h, block.up.weight, { bias: block.up.bias }))
        : linear(h, block.up.weight, { bias: block.up.bias, activation: spec.activation });
    x = tf.add(x, linear(f, block.down.weight, { bias: block.down.bias }));
  }
  return linear(norm(x, weights.finalNorm), weights.unembedding, { transposeWeight: true });
};

const tokens = (seed: number, count: number) => [...integers(key(seed), count, vocab)];
const backends = await availableBackends();

describe.each(backends)("decodeStep on %s", (backend) => {
  beforeAll(() => useBackend(backend));

  describe.each([
    ["GPT-2", gpt],
    ["Llama", llama],
    ["Qwen 3 with scaled rotation", qwen3],
  ])("for %s", (_, spec) => {
    it("gives the logits of the whole sequence, however the steps are cut and mixed", async () => {
      const weights = decoderWeights(spec, 16);
      const before = tf.memory().numTensors;
      const cache = createKvCache(spec, { layers, slots: 3, length: 12 });
      const sequences = [tokens(1, 9), tokens(2, 7), tokens(3, 4), tokens(4, 6)];
      /** What each step adds: which sequence, in which slot, which of its positions. */
      const steps = [
        [{ sequence: 0, slot: 2, from: 0, to: 5 }],
        [
          { sequence: 1, slot: 0, from: 0, to: 3 },
          { sequence: 0, slot: 2, from: 5, to: 6 },
        ],
        [
          { sequence: 0, slot: 2, from: 6, to: 7 },
          { sequence: 2, slot: 1, from: 0, to: 4 },
          { sequence: 1, slot: 0, from: 3, to: 7 },
        ],
        // Slot 1 is taken over by another sequence.
        [
          { sequence: 3, slot: 1, from: 0, to: 6 },
          { sequence: 0, slot: 2, from: 7, to: 9 },
        ],
      ];
      for (const step of steps) {
        const rows = step.flatMap(({ sequence, slot, from, to }) =>
          Array.from({ length: to - from }, (_, i) => ({ sequence, slot, position: from + i })),
        );
        const column = (value: (row: (typeof rows)[number]) => number) => Int32Array.from(rows, value);
        const logits = decodeStep({
          spec,
          weights,
          cache,
          ids: column(({ sequence, position }) => sequences[sequence]![position]!),
          slots: column(({ slot }) => slot),
          positions: column(({ position }) => position),
          outputRows: Int32Array.from(rows.keys()).reverse(),
        });
        const expected = tf.tidy(() =>
          tf.stack(
            rows
              .toReversed()
              .map(({ sequence, position }) =>
                tf.squeeze(
                  tf.slice(forward(spec, weights, sequences[sequence]!), [position, 0], [1, vocab]),
                  [0],
                ),
              ),
          ),
        );
        expect(logits.shape).toEqual(expected.shape);
        expect(difference(await logits.data(), await expected.data())).toBeLessThan(5e-6);
        tf.dispose([logits, expected]);
      }
      cache.dispose();
      expect(tf.memory().numTensors).toBe(before);
      tf.dispose(weights as unknown as tf.TensorContainer);
    });
  });

  it("refuses rows that do not exist", () => {
    const weights = decoderWeights(gpt, 16);
    const cache = createKvCache(gpt, { layers, slots: 1, length: 4 });
    const one = Int32Array.of(0);
    const step = (change: object) => () =>
      decodeStep({
        spec: gpt,
        weights,
        cache,
        ids: one,
        slots: one,
        positions: one,
        outputRows: one,
        ...change,
      });
    expect(step({ positions: Int32Array.of(4) })).toThrow(
      "Cannot decode: positions must lie in [0, 4), got 4",
    );
    expect(step({ slots: Int32Array.of(1) })).toThrow(RangeError);
    expect(step({ ids: Int32Array.of(vocab) })).toThrow(RangeError);
    expect(step({ outputRows: Int32Array.of(1) })).toThrow(RangeError);
    expect(step({ slots: Int32Array.of(0, 0) })).toThrow(RangeError);
    const two = Int32Array.of(0, 0);
    expect(step({ ids: two, slots: two, positions: two })).toThrow("no two rows may stand");
    cache.dispose();
  });
});
