/** What it costs to ask for an operation that computes almost nothing, one after the other. */
import * as tf from "@tensorflow/tfjs-core";
import { finished, takeTurns } from "./turns.ts";

const launches = 2000;
const x = tf.ones([16]);

/** Seconds of one. */
await takeTurns(async () => {
  const start = performance.now();
  let y = tf.neg(x);
  for (let i = 1; i < launches; i++) {
    const next = tf.neg(y);
    y.dispose();
    y = next;
  }
  await finished(y);
  return { launch: (performance.now() - start) / 1000 / launches };
});
