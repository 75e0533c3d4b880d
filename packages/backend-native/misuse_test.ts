/** Wrong calls end in a TypeError or RangeError that names the operation; nothing ends the process. */
import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { fold, integers, type Key, key, normals, uniforms } from "../core/random.ts";
import { loadAddon } from "./addon.ts";
import type { NativeBackend } from "./backend.ts";
import { register } from "./mod.ts";

beforeAll(async () => {
  register();
  await tf.setBackend("native");
});

const run = (name: string, inputs: Record<string, tf.Tensor>, attrs: Record<string, unknown> = {}) =>
  tf.engine().runKernel(name, inputs, attrs as tf.NamedAttrMap);

describe("shapes, types and disposed tensors", () => {
  const linear = { activation: null, transposeWeight: false };
  const cases: Array<[string, ErrorConstructor, RegExp, () => unknown]> = [
    [
      "inner sizes that differ",
      RangeError,
      /RlhfLinear.*weight must be \[3, out\], got \[4, 5\]/,
      () => run("RlhfLinear", { x: tf.ones([2, 3]), weight: tf.ones([4, 5]) }, linear),
    ],
    [
      "a bias of the wrong size",
      RangeError,
      /RlhfLinear.*bias must be \[5\], got \[4\]/,
      () => run("RlhfLinear", { x: tf.ones([2, 3]), weight: tf.ones([3, 5]), bias: tf.ones([4]) }, linear),
    ],
    [
      "an unknown activation",
      RangeError,
      /RlhfLinear.*unknown activation softly/,
      () =>
        run(
          "RlhfLinear",
          { x: tf.ones([2, 3]), weight: tf.ones([3, 5]) },
          { ...linear, activation: "softly" },
        ),
    ],
    [
      "int32 where float32 belongs",
      TypeError,
      /RlhfLinear.*x must be float32, got int32/,
      () => run("RlhfLinear", { x: tf.ones([2, 3], "int32"), weight: tf.ones([3, 5]) }, linear),
    ],
    [
      "float32 where int32 belongs",
      TypeError,
      /RlhfEmbed.*ids must be int32, got float32/,
      () => run("RlhfEmbed", { weight: tf.ones([4, 2]), ids: tf.ones([3]) }),
    ],
    [
      "a token beyond the vocabulary",
      RangeError,
      /embed: id 4 at 1 is not in \[0, 4\)/,
      () => run("RlhfEmbed", { weight: tf.ones([4, 2]), ids: tf.tensor1d([0, 4], "int32") }),
    ],
    [
      "a negative token",
      RangeError,
      /tokenLogProbs: id -1/,
      () =>
        run(
          "RlhfTokenLogProbs",
          { logits: tf.ones([1, 4]), ids: tf.tensor1d([-1], "int32") },
          { temperature: 1 },
        ),
    ],
    [
      "heads that do not divide the width",
      RangeError,
      /RlhfAttention.*qkv must divide into heads/,
      () => run("RlhfAttention", { qkv: tf.ones([1, 2, 10]) }, { heads: 2, kvHeads: 2, causal: true }),
    ],
    [
      "a gradient without its forward pass",
      TypeError,
      /RlhfLayerNormGrad.*y must be the output of the forward kernel/,
      () =>
        run(
          "RlhfLayerNormGrad",
          { dy: tf.ones([2, 3]), x: tf.ones([2, 3]), gain: tf.ones([3]), y: tf.ones([2, 3]) },
          { epsilon: 1 },
        ),
    ],
    [
      "a temperature of 0",
      RangeError,
      /temperature must be above 0/,
      () =>
        run(
          "RlhfSample",
          { logits: tf.ones([1, 4]), uniforms: tf.ones([1]) },
          { temperature: 0, topK: 0, topP: 1 },
        ),
    ],
    [
      "products of sizes that differ",
      RangeError,
      /BatchMatMul.*inner dimensions must agree/,
      () =>
        run(
          "BatchMatMul",
          { a: tf.ones([2, 3]), b: tf.ones([4, 5]) },
          { transposeA: false, transposeB: false },
        ),
    ],
    [
      "a disposed tensor",
      TypeError,
      /Add: a is disposed/,
      () => {
        const x = tf.ones([2]);
        x.dispose();
        return run("Add", { a: x, b: tf.ones([2]) });
      },
    ],
    [
      "a disposed gradient",
      TypeError,
      /RlhfGlobalNorm: tensor 0 is disposed/,
      () => {
        const x = tf.ones([2]);
        x.dispose();
        return run("RlhfGlobalNorm", {}, { tensors: [x] });
      },
    ],
  ];
  for (const [name, kind, message, call] of cases) {
    it(name, () => {
      const error = (() => {
        try {
          tf.tidy(() => {
            call();
          });
        } catch (thrown) {
          return thrown;
        }
        return undefined;
      })();
      expect(error).toBeInstanceOf(kind);
      expect((error as Error).message).toMatch(message);
    });
  }
  it("a kernel that throws leaves no data behind", () => {
    const backend = tf.backend() as NativeBackend;
    const [weight, ids] = [tf.ones([4, 2]), tf.tensor1d([9], "int32")];
    const before = backend.numDataIds();
    expect(() => run("RlhfEmbed", { weight, ids })).toThrow(RangeError);
    expect(backend.numDataIds()).toBe(before);
    tf.dispose([weight, ids]);
  });
});

/** A stream of random numbers. */
class RandomSource {
  readonly #key: Key;
  #draws = 0;

  constructor(seed: number) {
    this.#key = key(seed);
  }

  #next(): Key {
    return fold(this.#key, this.#draws++);
  }

  uniform(): number {
    return uniforms(this.#next(), 1)[0]!;
  }

  integer(below: number): number {
    return this.integers(1, below)[0]!;
  }

  pick<T>(choices: ReadonlyArray<T>): T {
    return choices[this.integer(choices.length)]!;
  }

  floats(size: number): Float32Array {
    return normals(this.#next(), size);
  }

  integers(size: number, below: number): Int32Array {
    return integers(this.#next(), size, below);
  }
}

/** Arguments that a caller might get wrong in every way. */
const arbitrary = (source: RandomSource): unknown => {
  const length = source.pick([0, 1, 2, 3, 16, 17, 64, 200]);
  switch (source.integer(12)) {
    case 0:
    case 1:
    case 2:
      return source.floats(length);
    case 3:
      return source.integers(length, source.pick([1, 3, 1000]));
    case 4:
      return Uint8Array.from(source.integers(length, 2));
    case 5:
    case 6:
    case 7:
      return source.integer(source.pick([1, 3, 8, 20]));
    case 8:
      return source.pick([-1, 0.5, Number.NaN, Infinity, 2 ** 31 - 1, 2 ** 31, 2 ** 53, 1e300, 65536]);
    case 9:
      return source.uniform() < 0.5;
    case 10:
      return source.pick([
        Array.from({ length: source.integer(4) }, () => source.integer(5)),
        Array.from({ length: source.integer(10) }, () =>
          source.pick([0, 1, -1, 3, 2 ** 31, 2 ** 53, -(2 ** 40)]),
        ),
        Array.from({ length: source.integer(3) }, () => source.floats(length)),
        [source.floats(3), null],
        new Array(2 ** 32 - 1),
      ]);
    default:
      return source.pick<unknown>([
        null,
        undefined,
        "text",
        {},
        [],
        new Float64Array(4),
        7n,
        Symbol.iterator,
      ]);
  }
};

it("10,000 random calls at the border of C++ return or throw TypeError or RangeError", () => {
  const { addon } = loadAddon();
  const source = new RandomSource(2026);
  const functions = Object.entries(addon as unknown as Record<string, unknown>).filter(
    (entry): entry is [string, (...args: unknown[]) => unknown] =>
      typeof entry[1] === "function" && entry[0] !== "configure",
  );
  let returned = 0;
  for (let i = 0; i < 10_000; i++) {
    const [name, call] = functions[i % functions.length]!;
    const args = Array.from({ length: source.integer(14) }, () => arbitrary(source));
    try {
      call(...args);
      returned++;
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
      expect(error.message).toContain(name);
    }
  }
  expect(returned).toBeGreaterThan(100);
});

/** Shapes and attributes near what the fused kernels want, so that a good part of the calls is valid. */
it("10,000 random calls of fused kernels return or throw TypeError or RangeError", () => {
  const source = new RandomSource(7);
  const dim = () => source.pick([0, 1, 2, 3, 4, 5, 16, 33]);
  const float = (...shape: number[]) => tf.tensor(source.floats(shape.reduce((a, b) => a * b, 1)), shape);
  const int = (below: number, ...shape: number[]) =>
    tf.tensor(
      source.integers(
        shape.reduce((a, b) => a * b, 1),
        below,
      ),
      shape,
      "int32",
    );
  const sometimes = (wrong: number, right: number) => (source.uniform() < 0.1 ? wrong : right);
  const calls: Array<() => unknown> = [
    () => {
      const [n, inner, out] = [dim(), dim(), dim()];
      const transposeWeight = source.uniform() < 0.5;
      const shape = transposeWeight ? [out, inner] : [inner, out];
      const activation = source.pick([null, "gelu", "geluTanh", "silu", "relu", "none"]);
      const x = float(n, sometimes(dim(), inner));
      const weight = float(...shape);
      const bias = source.uniform() < 0.5 ? { bias: float(sometimes(dim(), out)) } : {};
      const attrs = { activation, transposeWeight };
      const y = run("RlhfLinear", { x, weight, ...bias }, attrs) as tf.Tensor;
      const dy = float(n, sometimes(dim(), out));
      return run("RlhfLinearGrad", { dy, x, weight, y }, { ...attrs, hasBias: "bias" in bias });
    },
    () => {
      const [n, d] = [dim(), dim()];
      const [x, gain] = [float(n, d), float(sometimes(dim(), d))];
      const y = run("RlhfLayerNorm", { x, gain, bias: float(d) }, { epsilon: 1e-5 }) as tf.Tensor;
      return run("RlhfLayerNormGrad", { dy: float(n, d), x, gain, y }, { epsilon: 1e-5 });
    },
    () => {
      const [n, d] = [dim(), dim()];
      const [x, gain] = [float(n, d), float(sometimes(dim(), d))];
      const y = run("RlhfRmsNorm", { x, gain }, { epsilon: 1e-5 }) as tf.Tensor;
      return run("RlhfRmsNormGrad", { dy: float(n, d), x, gain, y }, { epsilon: 1e-5 });
    },
    () => {
      const [batch, time, headDim] = [dim(), dim(), dim()];
      const kvHeads = source.pick([1, 2]);
      const heads = sometimes(source.integer(5), kvHeads * source.pick([1, 2]));
      const qkv = float(batch, time, (heads + 2 * kvHeads) * headDim);
      const segments = source.uniform() < 0.5 ? { segments: int(3, batch, sometimes(dim(), time)) } : {};
      const attrs = { heads, kvHeads, causal: source.uniform() < 0.5 };
      const y = run("RlhfAttention", { qkv, ...segments }, attrs) as tf.Tensor;
      const dy = float(batch, time, heads * headDim);
      run("RlhfRope", { qkv, positions: int(100, batch, time) }, { ...attrs, theta: 10000, inverse: false });
      return run("RlhfAttentionGrad", { dy, qkv, y, ...segments }, attrs);
    },
    () => {
      const [batch, time, d, f, headDim] = [dim(), dim(), dim(), dim(), 2 * source.integer(3)];
      const kvHeads = source.pick([1, 2]);
      const heads = sometimes(source.integer(5), kvHeads * source.pick([1, 2]));
      const spec = source.pick([
        { norm: "layer", activation: source.pick(["gelu", "relu", "none"]) },
        { norm: "rms", activation: "swiglu", ropeTheta: 10000 },
      ]);
      const up = spec.activation === "swiglu" ? 2 * f : f;
      const inputs = {
        x: float(sometimes(dim(), batch * time), d),
        segments: int(3, batch, time),
        positions: int(9, batch, sometimes(dim(), time)),
        attentionGain: float(d),
        ...(spec.norm === "layer" && {
          attentionShift: float(sometimes(dim(), d)),
          feedForwardShift: float(d),
        }),
        qkv: float(d, (heads + 2 * kvHeads) * headDim),
        attentionOut: float(heads * headDim, d),
        feedForwardGain: float(d),
        up: float(d, up),
        upBias: float(sometimes(dim(), up)),
        down: float(sometimes(dim(), f), d),
      };
      const attrs = { ...spec, heads, kvHeads, headDim, epsilon: 1e-5, causal: true };
      const recorded = source.uniform() < 0.9;
      const y = run("RlhfDecoderBlock", inputs, { ...attrs, recorded }) as tf.Tensor;
      return run("RlhfDecoderBlockGrad", { ...inputs, y, dy: float(batch * time, d) }, attrs);
    },
    () => {
      const [n, f] = [dim(), dim()];
      const x = float(n, sometimes(dim(), 2 * f));
      run("RlhfSwiglu", { x });
      return run("RlhfSwigluGrad", { dy: float(n, f), x });
    },
    () => {
      const [n, d, vocab] = [dim(), dim(), dim()];
      const ids = int(sometimes(100, Math.max(1, vocab)), n);
      run("RlhfEmbed", { weight: float(vocab, d), ids });
      return run("RlhfEmbedGrad", { dy: float(n, d), ids }, { vocab: sometimes(dim(), vocab) });
    },
    () => {
      const [n, d, vocab] = [dim(), dim(), dim()];
      const ids = int(sometimes(100, Math.max(1, vocab)), sometimes(dim(), n));
      const attrs = { temperature: source.pick([1, 0.5, 0, Number.NaN]) };
      const logits = float(n, vocab);
      const y = run("RlhfTokenLogProbs", { logits, ids }, attrs) as tf.Tensor;
      run("RlhfTokenLogProbsGrad", { dy: float(n), logits, ids, y }, attrs);
      const [hidden, unembedding] = [float(n, d), float(vocab, d)];
      const [logProbs] = run("RlhfLinearTokenLogProbs", { hidden, unembedding, ids }, attrs) as unknown as [
        tf.Tensor,
      ];
      const inputs = { dy: float(n), hidden, unembedding, ids, logProbs };
      return run("RlhfLinearTokenLogProbsGrad", inputs, attrs);
    },
    () => {
      const [n, vocab] = [dim(), dim()];
      const attrs = { temperature: 1, topK: sometimes(-1, dim()), topP: source.pick([1, 0.5, 0, 2]) };
      return run("RlhfSample", { logits: float(n, vocab), uniforms: tf.randomUniform([n]) }, attrs);
    },
  ];
  let returned = 0;
  for (let i = 0; i < 10_000; i++) {
    try {
      tf.tidy(() => {
        calls[i % calls.length]!();
      });
      returned++;
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    }
  }
  expect(returned).toBeGreaterThan(2000);
});
