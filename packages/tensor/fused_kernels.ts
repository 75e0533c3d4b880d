/**
 * The contract between the operations of this package and the backends that speed them up.
 *
 * An operation `foo` runs the kernel `RlhfFoo` of the active backend when that backend registered it with tfjs,
 * and composes plain tfjs operations otherwise. Gradients belong to the operations, which call `RlhfFooGrad`:
 * a backend registers kernels only. All tensors are row-major float32 unless a comment says int32; every matrix
 * input is contiguous. What a gradient kernel needs beyond its inputs (pre-activations, means, log-sum-exps) the
 * forward kernel keeps with the data of its first output `y`, which is handed back to the gradient kernel; it must
 * not be a further output.
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Activation, DecoderSpec, DecoderWeights, KvCache } from "./decoder.ts";

export interface LinearAttributes {
  readonly activation: Activation | null;
  /** true: the weight is `[out, in]`; false: `[in, out]`. */
  readonly transposeWeight: boolean;
}
export interface AttentionAttributes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly causal: boolean;
}
export interface DecoderBlockInputs {
  /** [batch · time, d] */ readonly x: tf.TensorInfo;
  /** int32 [batch, time] */ readonly segments: tf.TensorInfo;
  /** int32 [batch, time], with `ropeTheta` */ readonly positions?: tf.TensorInfo;
  readonly attentionGain: tf.TensorInfo;
  /** The bias of a layer norm. */
  readonly attentionShift?: tf.TensorInfo;
  /** [d, (heads + 2 kvHeads) headDim] */ readonly qkv: tf.TensorInfo;
  readonly qkvBias?: tf.TensorInfo;
  /** [heads · headDim, d] */ readonly attentionOut: tf.TensorInfo;
  readonly attentionOutBias?: tf.TensorInfo;
  readonly feedForwardGain: tf.TensorInfo;
  readonly feedForwardShift?: tf.TensorInfo;
  /** [d, f], or [d, 2f] with swiglu */ readonly up: tf.TensorInfo;
  readonly upBias?: tf.TensorInfo;
  /** [f, d] */ readonly down: tf.TensorInfo;
  readonly downBias?: tf.TensorInfo;
}
export interface DecoderBlockAttributes extends Omit<DecoderSpec, "ropeScaling" | "headNorm"> {
  readonly causal: boolean;
  /** Whether a gradient may follow: false, and the kernel keeps nothing. */
  readonly recorded: boolean;
}
type Empty = Readonly<Record<string, never>>;

/** Inputs, attributes and outputs of every fused kernel, by name. */
export interface FusedKernels {
  /** y = activation(x W + bias) + residual. */
  RlhfLinear: {
    inputs: {
      /** [n, in] */ x: tf.TensorInfo;
      weight: tf.TensorInfo;
      /** [out] */ bias?: tf.TensorInfo;
      /** [n, out] */ residual?: tf.TensorInfo;
    };
    attrs: LinearAttributes;
    outputs: [y: tf.Tensor2D];
  };
  /** The gradient by the residual is dy itself and is not computed here. */
  RlhfLinearGrad: {
    inputs: { dy: tf.TensorInfo; x: tf.TensorInfo; weight: tf.TensorInfo; y: tf.TensorInfo };
    attrs: LinearAttributes & { readonly hasBias: boolean };
    /** `dbias` only with `hasBias`. */
    outputs: [dx: tf.Tensor2D, dweight: tf.Tensor2D, dbias?: tf.Tensor1D];
  };
  RlhfLayerNorm: {
    inputs: {
      /** [n, d] */ x: tf.TensorInfo /** [d] */;
      gain: tf.TensorInfo /** [d] */;
      bias: tf.TensorInfo;
    };
    attrs: { readonly epsilon: number };
    outputs: [y: tf.Tensor2D];
  };
  RlhfLayerNormGrad: {
    inputs: { dy: tf.TensorInfo; x: tf.TensorInfo; gain: tf.TensorInfo; y: tf.TensorInfo };
    attrs: { readonly epsilon: number };
    outputs: [dx: tf.Tensor2D, dgain: tf.Tensor1D, dbias: tf.Tensor1D];
  };
  RlhfRmsNorm: {
    inputs: { /** [n, d] */ x: tf.TensorInfo /** [d] */; gain: tf.TensorInfo };
    attrs: { readonly epsilon: number };
    outputs: [y: tf.Tensor2D];
  };
  RlhfRmsNormGrad: {
    inputs: { dy: tf.TensorInfo; x: tf.TensorInfo; gain: tf.TensorInfo; y: tf.TensorInfo };
    attrs: { readonly epsilon: number };
    outputs: [dx: tf.Tensor2D, dgain: tf.Tensor1D];
  };
  /** Without segments every token counts and belongs to one segment. Rows of padding (segment 0) are exactly 0. */
  RlhfAttention: {
    inputs: {
      /** [batch, time, (heads + 2 kvHeads) headDim] */ qkv: tf.TensorInfo;
      /** int32 [batch, time] */ segments?: tf.TensorInfo;
    };
    attrs: AttentionAttributes;
    outputs: [y: tf.Tensor3D];
  };
  RlhfAttentionGrad: {
    inputs: { dy: tf.TensorInfo; qkv: tf.TensorInfo; y: tf.TensorInfo; segments?: tf.TensorInfo };
    attrs: AttentionAttributes;
    outputs: [dqkv: tf.Tensor3D];
  };
  /** Also its own gradient: the inverse rotation of dy. */
  RlhfRope: {
    inputs: {
      /** [batch, time, (heads + 2 kvHeads) headDim] */ qkv: tf.TensorInfo;
      /** int32 [batch, time] */ positions: tf.TensorInfo;
    };
    attrs: {
      readonly heads: number;
      readonly kvHeads: number;
      readonly theta: number;
      readonly inverse: boolean;
    };
    outputs: [rotated: tf.Tensor3D];
  };
  RlhfSwiglu: { inputs: { /** [n, 2f] */ x: tf.TensorInfo }; attrs: Empty; outputs: [y: tf.Tensor2D] };
  RlhfSwigluGrad: {
    inputs: { dy: tf.TensorInfo; x: tf.TensorInfo };
    attrs: Empty;
    outputs: [dx: tf.Tensor2D];
  };
  /** A whole pre-norm block, h = x + Attention(norm(x)), y = h + FeedForward(norm(h)). */
  RlhfDecoderBlock: {
    inputs: DecoderBlockInputs;
    attrs: DecoderBlockAttributes;
    outputs: [y: tf.Tensor2D];
  };
  /** Gradients of the float32 inputs of the forward kernel that were given, in the order of `DecoderBlockInputs`. */
  RlhfDecoderBlockGrad: {
    inputs: DecoderBlockInputs & { dy: tf.TensorInfo; y: tf.TensorInfo };
    attrs: DecoderBlockAttributes;
    outputs: tf.Tensor[];
  };
  RlhfEmbed: {
    inputs: { /** [vocab, d] */ weight: tf.TensorInfo /** int32 [n] */; ids: tf.TensorInfo };
    attrs: Empty;
    outputs: [y: tf.Tensor2D];
  };
  RlhfEmbedGrad: {
    inputs: { /** [n, d] */ dy: tf.TensorInfo /** int32 [n] */; ids: tf.TensorInfo };
    attrs: { readonly vocab: number };
    outputs: [dweight: tf.Tensor2D];
  };
  RlhfTokenLogProbs: {
    inputs: { /** [n, vocab] */ logits: tf.TensorInfo /** int32 [n] */; ids: tf.TensorInfo };
    attrs: { readonly temperature: number };
    outputs: [logProbs: tf.Tensor1D];
  };
  RlhfTokenLogProbsGrad: {
    inputs: { dy: tf.TensorInfo; logits: tf.TensorInfo; ids: tf.TensorInfo; y: tf.TensorInfo };
    attrs: { readonly temperature: number };
    outputs: [dlogits: tf.Tensor2D];
  };
  RlhfLinearTokenLogProbs: {
    inputs: {
      /** [n, d] */ hidden: tf.TensorInfo;
      /** [vocab, d] */ unembedding: tf.TensorInfo;
      /** int32 [n] */ ids: tf.TensorInfo;
    };
    attrs: { readonly temperature: number };
    outputs: [logProbs: tf.Tensor1D, entropy: tf.Tensor1D];
  };
  RlhfLinearTokenLogProbsGrad: {
    inputs: {
      /** [n] */ dy: tf.TensorInfo;
      hidden: tf.TensorInfo;
      unembedding: tf.TensorInfo;
      ids: tf.TensorInfo;
      logProbs: tf.TensorInfo;
    };
    attrs: { readonly temperature: number };
    outputs: [dhidden: tf.Tensor2D, dunembedding: tf.Tensor2D];
  };
  /** Updates params and moments in place; where a buffer has another owner, that owner keeps the old values. */
  RlhfAdamw: {
    inputs: Empty;
    attrs: {
      readonly params: ReadonlyArray<tf.TensorInfo>;
      readonly grads: ReadonlyArray<tf.TensorInfo>;
      readonly firstMoments: ReadonlyArray<tf.TensorInfo>;
      readonly secondMoments: ReadonlyArray<tf.TensorInfo>;
      /** 1 for the first update. */
      readonly step: number;
      readonly learningRate: number;
      readonly beta1: number;
      readonly beta2: number;
      readonly epsilon: number;
      readonly weightDecays: ReadonlyArray<number>;
      /** Scalar tensor that multiplies every gradient (it clips without a copy of the gradients); null: 1. */
      readonly gradScale: tf.TensorInfo | null;
    };
    outputs: [];
  };
  /** √(Σ g²) over all the tensors. */
  RlhfGlobalNorm: {
    inputs: Empty;
    attrs: { readonly tensors: ReadonlyArray<tf.TensorInfo> };
    outputs: [norm: tf.Scalar];
  };
  /** The output may be the memory of `sum`, which nobody reads afterwards. */
  RlhfAddInto: {
    inputs: { sum: tf.TensorInfo; term: tf.TensorInfo };
    attrs: Empty;
    outputs: [total: tf.Tensor];
  };
  RlhfSample: {
    inputs: { /** [n, vocab] */ logits: tf.TensorInfo /** [n] */; uniforms: tf.TensorInfo };
    /** `topK` 0: no limit; `topP` 1: no limit. */
    attrs: { readonly temperature: number; readonly topK: number; readonly topP: number };
    outputs: [ids: tf.Tensor1D, logProbs: tf.Tensor1D];
  };
  RlhfDecodeStep: {
    inputs: Empty;
    attrs: {
      readonly spec: DecoderSpec;
      readonly weights: DecoderWeights;
      /** What `RlhfCreateKvCache` returned. */
      readonly cache: KvCache;
      readonly ids: Int32Array;
      readonly slots: Int32Array;
      readonly positions: Int32Array;
      readonly outputRows: Int32Array;
    };
    outputs: [logits: tf.Tensor2D];
  };
}

/** Attributes of `RlhfCreateKvCache`, the one kernel that returns no tensor but a `KvCache`. */
export interface CreateKvCacheAttributes {
  readonly spec: DecoderSpec;
  readonly layers: number;
  readonly slots: number;
  readonly length: number;
}

export type FusedKernelName = keyof FusedKernels | "RlhfCreateKvCache";

/** Whether the active backend brings this fused kernel. */
export const hasFusedKernel = (name: FusedKernelName): boolean => tf.getKernel(name, tf.getBackend()) != null;

/** Runs a fused kernel of the active backend; always answers with a list of outputs. */
export const runFusedKernel = <Name extends keyof FusedKernels>(
  name: Name,
  inputs: FusedKernels[Name]["inputs"],
  attrs: FusedKernels[Name]["attrs"],
): FusedKernels[Name]["outputs"] => {
  const outputs = tf
    .engine()
    .runKernel<tf.Tensor | tf.Tensor[]>(
      name,
      inputs as unknown as tf.NamedTensorMap,
      attrs as unknown as tf.NamedAttrMap,
    );
  return (Array.isArray(outputs) ? outputs : [outputs]) as unknown as FusedKernels[Name]["outputs"];
};
