import { addInto } from "@rlhf/tensor/add_into";
import { clipScale, globalNorm } from "@rlhf/tensor/global_norm";
import { valueAndGrads } from "@rlhf/tensor/value_and_grads";
import * as tf from "@tensorflow/tfjs-core";
import { type AdamwOptions, type AdamwState, applyAdamw, type Variables } from "./adamw.ts";

/** A loss with numbers worth reporting that came out of the same forward pass. They carry no gradient. */
export interface LossWithMetrics {
  readonly loss: tf.Scalar;
  readonly metrics: Readonly<Record<string, tf.Scalar>>;
}

/** A summand of the objective: a micro-batch, or a term such as PPO's pretraining loss. */
export type Loss = () => tf.Scalar | LossWithMetrics;

/** What {@link accumulateGrads} found; all tensors belong to the caller. */
export interface AccumulatedGrads {
  readonly losses: ReadonlyArray<tf.Scalar>;
  readonly metrics: Readonly<Record<string, tf.Scalar>>;
  readonly grads: Readonly<Record<string, tf.Tensor>>;
}

export interface TrainStepResult {
  /** The sum of `losses`. */
  readonly loss: number;
  /** The value of every summand, in the order given. */
  readonly losses: ReadonlyArray<number>;
  /** Metrics of the summands, those of one name added up. */
  readonly metrics: Readonly<Record<string, number>>;
  /** ‖g‖₂ over all parameters, before clipping. */
  readonly gradNorm: number;
  /** False when the loss or the gradient norm is NaN or infinite: then nothing was updated. */
  readonly finite: boolean;
}

/**
 * The gradient of Σᵢ lossᵢ, one summand at a time: only one summand's intermediates are in memory. A mean over
 * micro-batches is had by scaling each loss (and its metrics) to its share.
 */
export function accumulateGrads(params: Variables, losses: ReadonlyArray<Loss>): AccumulatedGrads {
  if (losses.length === 0) throw new RangeError("Cannot accumulate gradients: at least one loss is required");
  const values: Array<tf.Scalar> = [];
  const metrics: Record<string, tf.Scalar> = {};
  const sum: Record<string, tf.Tensor> = {};
  for (const loss of losses) {
    const reported: Record<string, tf.Scalar> = {};
    const { value, grads } = valueAndGrads(() => {
      const result = loss();
      if (result instanceof tf.Tensor) return result;
      for (const [name, metric] of Object.entries(result.metrics)) reported[name] = tf.keep(metric.clone());
      return result.loss;
    }, params);
    values.push(value);
    addAll(metrics, reported);
    addAll(sum, grads);
  }
  return { losses: values, metrics, grads: sum };
}

/**
 * One optimizer step: accumulate the gradients of all losses, clip them to a global norm, update with AdamW.
 *
 *     g = Σᵢ ∇lossᵢ      g ← g · min(1, maxGradNorm / (‖g‖₂ + 1e-6))      θ ← AdamW(θ, g)
 *
 * All losses share this one update: under Adam, separate updates would make the losses' coefficients meaningless.
 * The loss and the norm are read before the update, so parameters and optimizer state never see NaN.
 *
 * @param maxGradNorm limit on ‖g‖₂; `Infinity` (the default) does not clip.
 */
export async function trainStep(
  options: AdamwOptions & {
    readonly params: Variables;
    readonly state: AdamwState;
    readonly losses: ReadonlyArray<Loss>;
    readonly learningRate: number;
    readonly maxGradNorm?: number;
  },
): Promise<TrainStepResult> {
  const { params, state, maxGradNorm = Number.POSITIVE_INFINITY } = options;
  const accumulated = accumulateGrads(params, options.losses);
  const norm = globalNorm(accumulated.grads);
  try {
    // All at once: on a GPU each read that waits for the one before costs a round trip.
    const names = Object.keys(accumulated.metrics);
    const [gradNorm, losses, values] = await Promise.all([
      read(norm),
      Promise.all(accumulated.losses.map(read)),
      Promise.all(Object.values(accumulated.metrics).map(read)),
    ]);
    const metrics = Object.fromEntries(names.map((name, i) => [name, values[i]!]));
    const loss = losses.reduce((sum, value) => sum + value, 0);
    const finite = Number.isFinite(loss) && Number.isFinite(gradNorm);
    if (finite) {
      tf.tidy(() => {
        const gradScale = clipScale(norm, maxGradNorm);
        applyAdamw(params, accumulated.grads, state, { ...options, gradScale });
      });
    }
    return { loss, losses, metrics, gradNorm, finite };
  } finally {
    tf.dispose([
      norm,
      accumulated.losses,
      accumulated.metrics,
      accumulated.grads,
    ] as Array<tf.TensorContainer>);
  }
}

async function read(scalar: tf.Scalar): Promise<number> {
  return (await scalar.data())[0]!;
}

function addAll<T extends tf.Tensor>(sums: Record<string, T>, terms: Readonly<Record<string, T>>): void {
  for (const [name, term] of Object.entries(terms)) {
    const sum = sums[name];
    sums[name] = sum === undefined ? term : addInto(sum, term);
  }
}
