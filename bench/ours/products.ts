/** Matrix products, each several times in a row. */
import * as tf from "@tensorflow/tfjs-core";
import type { ProductWork } from "../speed/measures.ts";
import { finished, takeTurns, task } from "./turns.ts";

const { shapes, forms, flops } = task as unknown as ProductWork;
const operands = shapes.flatMap(([m, n, k]) =>
  forms.map((form) => {
    const [transposeA, transposeB] = [form[0] === "T", form[1] === "T"];
    return {
      name: `${m}×${n}×${k} ${form}`,
      a: tf.randomUniform<tf.Rank.R2>(transposeA ? [k, m] : [m, k]),
      b: tf.randomUniform<tf.Rank.R2>(transposeB ? [n, k] : [k, n]),
      transposeA,
      transposeB,
      repeats: Math.max(1, Math.round(flops / (2 * m * n * k))),
    };
  }),
);

/** Seconds of one product of each kind. */
await takeTurns(async () => {
  const seconds: Record<string, number> = {};
  for (const { name, a, b, transposeA, transposeB, repeats } of operands) {
    const start = performance.now();
    for (let i = 1; i < repeats; i++) tf.matMul(a, b, transposeA, transposeB).dispose();
    await finished(tf.matMul(a, b, transposeA, transposeB));
    seconds[name] = (performance.now() - start) / 1000 / repeats;
  }
  return seconds;
});
