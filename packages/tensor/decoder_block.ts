import * as tf from "@tensorflow/tfjs-core";
import type { DecoderBlockWeights, DecoderSpec } from "./decoder.ts";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";
import "./gradients.ts";

/**
 * A whole pre-norm block in one kernel with one gradient, which spares a small model most of tfjs's bookkeeping:
 *
 *     h = x + Attention(norm(x))      y = h + FeedForward(norm(h))
 *
 * @param x `[batch · time, d]`
 * @param options.segments int32 `[batch, time]`, as in `attention`
 * @param options.positions int32 `[batch, time]`, read where the spec has a `ropeTheta`
 * @returns `[batch · time, d]`; `undefined` where the backend has no such kernel, or none for this spec (normed heads,
 *   scaled rotation): then the block is to be composed of the other operations
 */
export const fusedDecoderBlock = (
  x: tf.Tensor2D,
  weights: DecoderBlockWeights,
  options: {
    readonly spec: DecoderSpec;
    readonly causal: boolean;
    readonly segments: tf.Tensor2D;
    readonly positions: tf.Tensor2D;
  },
): tf.Tensor2D | undefined => {
  const { spec, causal, segments, positions } = options;
  if (spec.headNorm || spec.ropeScaling || !hasFusedKernel("RlhfDecoderBlock")) return undefined;
  const inputs = floatInputs(x, weights);
  const places = { segments, ...(spec.ropeTheta !== undefined && { positions }) };
  const attrs = { ...spec, causal, recorded: isRecorded() };
  const all = { ...inputs, ...places };
  // Variables stay as they are until the gradient; to save one is an operation.
  const fleeting = Object.keys(all).filter((name) => !(all[name as keyof typeof all] instanceof tf.Variable));
  return tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const [y] = runFusedKernel("RlhfDecoderBlock", all, attrs);
    save([y, ...fleeting.map((name) => all[name as keyof typeof all]!)]);
    const gradFunc = (dy: tf.Tensor, [y, ...saved]: tf.Tensor[]) => {
      const kept = Object.fromEntries(fleeting.map((name, i) => [name, saved[i]!]));
      return runFusedKernel("RlhfDecoderBlockGrad", { ...all, ...kept, dy, y: y! }, attrs);
    };
    return { value: y, gradFunc };
  })(...Object.values(inputs)) as tf.Tensor2D;
};

/** The inputs that have a gradient, those that are there. */
const floatInputs = (x: tf.Tensor2D, weights: DecoderBlockWeights) => {
  const { attentionNorm, qkv, attentionOut, feedForwardNorm, up, down } = weights;
  const inputs = {
    x,
    attentionGain: attentionNorm.gain,
    attentionShift: attentionNorm.bias,
    qkv: qkv.weight,
    qkvBias: qkv.bias,
    attentionOut: attentionOut.weight,
    attentionOutBias: attentionOut.bias,
    feedForwardGain: feedForwardNorm.gain,
    feedForwardShift: feedForwardNorm.bias,
    up: up.weight,
    upBias: up.bias,
    down: down.weight,
    downBias: down.bias,
  };
  const given = Object.entries(inputs).filter(([, tensor]) => tensor !== undefined);
  return Object.fromEntries(given) as { [Name in keyof typeof inputs]: tf.Tensor };
};

/** Whether tfjs records operations for a gradient; otherwise nothing need be kept for one. */
const isRecorded = (): boolean =>
  (tf.engine() as unknown as { readonly state: { readonly gradientDepth: number } }).state.gradientDepth > 0;
