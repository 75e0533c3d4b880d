/**
 * Only the math, on tensors of your own: no pipeline, no Effect. Here is one PPO loss by hand, from log-probabilities
 * that could come from any model.
 */
import { k3, penalizedRewards } from "@rlhf/kl";
import { clippedSurrogate } from "@rlhf/policy-gradient";
import { clippedValueLoss, gae } from "@rlhf/ppo";
import { maskedMean, maskedWhiten } from "@rlhf/tensor";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";

await useBackend("cpu");

// Two responses of at most three tokens; the second has two.
const mask = tf.tensor2d([
  [1, 1, 1],
  [1, 1, 0],
]);
const oldLogProbs = tf.tensor2d([
  [-1.2, -0.7, -2],
  [-0.3, -1.5, 0],
]);
const refLogProbs = tf.tensor2d([
  [-1, -0.9, -2.4],
  [-0.5, -1.3, 0],
]);
const values = tf.tensor2d([
  [0.1, 0.2, 0.4],
  [0, -0.1, 0],
]);
const scores = tf.tensor1d([1, -0.5]);

const rewards = penalizedRewards({ logProbs: oldLogProbs, refLogProbs, scores, mask, klCoefficient: 0.02 });
const { advantages, returns } = gae({ rewards, values, mask, gamma: 1, lambda: 0.95 });
const whitened = maskedWhiten(advantages, mask, { center: true });
const policyLoss = (logProbs: tf.Tensor) =>
  clippedSurrogate({
    logProbs: logProbs as tf.Tensor2D,
    oldLogProbs,
    advantages: whitened,
    mask,
    clipRange: 0.2,
  }).loss;
const valueLoss = clippedValueLoss({ values, oldValues: values, returns, mask, clipRange: 0.2 }).loss;

// What the policy says of the same tokens after some updates.
const logProbs = tf.tensor2d([
  [-1, -0.6, -1.9],
  [-0.6, -1.6, 0],
]);
const show = async (name: string, tensor: tf.Tensor) => console.log(name, await tensor.array());
await show("rewards", rewards);
await show("advantages", advantages);
await show("policy loss", policyLoss(logProbs));
await show("its gradient", tf.grad(policyLoss)(logProbs));
await show("value loss", valueLoss);
await show("KL to the reference (k3)", maskedMean(k3({ logProbs, refLogProbs }), mask));
