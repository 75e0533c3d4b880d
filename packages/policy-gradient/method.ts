import type { KlController } from "@rlhf/kl";
import type * as tf from "@tensorflow/tfjs-core";

/** What a {@link Method} computes its loss from: the responses of a micro-batch. */
export interface MethodBatch {
  /** Of the policy being optimized, `[batch, response]`. */
  readonly logProbs: tf.Tensor2D;
  /** Of the policy that sampled, `[batch, response]`. */
  readonly oldLogProbs: tf.Tensor2D;
  /** Of the reference, `[batch, response]`. */
  readonly refLogProbs: tf.Tensor2D;
  /** `[batch]` */
  readonly advantages: tf.Tensor1D;
  /** `[batch, response]` */
  readonly mask: tf.Tensor2D;
  /** β of this iteration. */
  readonly klCoefficient: number;
  /** Sequences and tokens of the minibatch that the micro-batch is part of, to divide by: the parts add up. */
  readonly whole: { readonly sequences: number; readonly tokens: number };
}

/** Settings of rollout and update that all methods have. */
export interface MethodConfig {
  readonly iterations: number;
  readonly batchSize: number;
  readonly microBatchSize: number;
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly missingEosPenalty: number;
  readonly learningRate: number;
  readonly warmupIterations: number;
  readonly maxGradNorm: number;
  readonly klBudget?: number;
  readonly sampleEvery: number;
  readonly samples: number;
}

/**
 * What tells one method without a critic from another; rollouts, verdicts and updates are the same for all. A method
 * of your own is a record of these.
 */
export interface Method {
  /** The stage's name in progress and metrics. */
  readonly name: string;
  readonly config: MethodConfig;
  /** Responses to each prompt. */
  readonly groupSize: number;
  readonly minibatchSize: number;
  readonly epochs: number;
  readonly klController: KlController;
  /** Where β times the KL to the reference is taken off: from the score of a sequence, or by the loss itself. */
  readonly klPenalty: "score" | "loss";
  /** Advantages from rewards, both `[batch]`, the responses to one prompt side by side. */
  readonly advantages: (rewards: tf.Tensor1D) => tf.Tensor1D;
  /** The loss and what it is worth reporting, all scalars. */
  readonly loss: (batch: MethodBatch) => {
    readonly loss: tf.Scalar;
    readonly metrics: Readonly<Record<string, tf.Scalar>>;
  };
}
