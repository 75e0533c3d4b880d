import * as tf from "@tensorflow/tfjs-core";
import type { DecoderBlockWeights, DecoderSpec } from "./decoder.ts";
import { type DecoderBlockInputs, hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";
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
  const names = [...Object.keys(inputs), ...Object.keys(places), "y"];
  return tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const [y] = runFusedKernel("RlhfDecoderBlock", { ...inputs, ...places }, attrs);
    save([...Object.values(inputs), ...Object.values(places), y]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const again = Object.fromEntries(names.map((name, i) => [name, saved[i]!]));
      return runFusedKernel(
        "RlhfDecoderBlockGrad",
        { ...(again as unknown as DecoderBlockInputs & { y: tf.Tensor }), dy },
        attrs,
      );
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
