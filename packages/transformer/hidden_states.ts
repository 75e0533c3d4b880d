import { fold } from "@rlhf/core/random";
import { attention } from "@rlhf/tensor/attention";
import type { NormWeights } from "@rlhf/tensor/decoder";
import { fusedDecoderBlock } from "@rlhf/tensor/decoder_block";
import { embed } from "@rlhf/tensor/embed";
import { normHeads } from "@rlhf/tensor/head_norm";
import { layerNorm } from "@rlhf/tensor/layer_norm";
import { rmsNorm } from "@rlhf/tensor/rms_norm";
import { rope } from "@rlhf/tensor/rope";
import { swiglu } from "@rlhf/tensor/swiglu";
import * as tf from "@tensorflow/tfjs-core";
import { bertHiddenStates } from "./_bert.ts";
import { assertSequences, type Sequences } from "./batch.ts";
import { type Dropout, dropout } from "./dropout.ts";
import { isCausal } from "./is_causal.ts";
import { type AdaptedLinear, adapted } from "./lora.ts";
import type { Model } from "./model.ts";
import { type AdaptedBlock, decoderSpec, decoderWeights } from "./parameters.ts";

/** How a forward pass is made: without dropout, unless a rate and a key are given. */
export interface ForwardOptions {
  /**
   * Acts on the embeddings and on what every block adds to the residual stream, as GPT-2's residual dropout does. An
   * adapter also drops out, at its own rate.
   */
  readonly dropout?: Dropout;
}

/**
 * What the last block hands to the unembedding, after the final norm: `[batch, time, width]`. Pre-norm blocks
 * (GPT-2, Llama, Qwen):
 *
 *     x ← x + Attention(norm(x))
 *     x ← x + FeedForward(norm(x))
 *
 * BERT's blocks norm behind each sum instead. Attention reaches the whole segment in a `masked-lm` or `bert` and is
 * causal elsewhere. A row's numbers do not depend on its padding; the numbers at padding mean nothing.
 *
 * @throws RangeError when the shapes disagree or a row is longer than the context.
 */
export function hiddenStates(model: Model, batch: Sequences, options: ForwardOptions = {}): tf.Tensor3D {
  assertSequences("compute hidden states", batch, model.config.contextLength);
  if (model.config.architecture === "bert") return bertHiddenStates(model, batch, sublayers(options));
  return tf.tidy(() => {
    const rows = decoderHiddenStates(model, batch, sublayers(options));
    return tf.reshape(rows, [...batch.ids.shape, model.config.width]);
  });
}

/**
 * The vectors of {@link hiddenStates} at some places of the flattened batch: `[places, width]`. Where few tokens count,
 * such as a response's or a sequence's last, this spares a decoder's last block most of its work: all but its attention
 * is done for those places alone.
 *
 * @param places int32 `[places]`, each in `[0, batch · time)` (not checked: that would need a read)
 * @throws RangeError when the shapes disagree or a row is longer than the context.
 */
export function hiddenStatesAt(
  model: Model,
  batch: Sequences,
  places: tf.Tensor1D,
  options: ForwardOptions = {},
): tf.Tensor2D {
  assertSequences("compute hidden states", batch, model.config.contextLength);
  const layers = sublayers(options);
  if (model.config.architecture !== "bert") return decoderHiddenStates(model, batch, layers, places);
  return tf.tidy(() => {
    const states = bertHiddenStates(model, batch, layers);
    return embed(tf.reshape(states, [-1, model.config.width]), places) as tf.Tensor2D;
  });
}

/** Maps of a forward pass with its dropout; `where` names the place, which has a key of its own. */
export type Sublayers = ReturnType<typeof sublayers>;

function sublayers({ dropout: given }: ForwardOptions) {
  const keyAt = (where: string) => given && fold(given.key, where);
  const drop = <R extends tf.Rank>(where: string, x: tf.Tensor<R>): tf.Tensor<R> =>
    given === undefined ? x : dropout(x, { rate: given.rate, key: fold(given.key, where) });
  return {
    /** No dropout anywhere. */
    plain: given === undefined,
    drop,
    map: <R extends tf.Rank>(
      where: string,
      x: tf.Tensor<R>,
      weights: AdaptedLinear,
      options: { readonly activation?: "gelu" | "geluTanh" } = {},
    ) => adapted(x, weights, { ...options, dropoutKey: keyAt(`${where} adapter`) }),
    addMap: <R extends tf.Rank>(
      where: string,
      residual: tf.Tensor<R>,
      y: tf.Tensor<R>,
      weights: AdaptedLinear,
    ): tf.Tensor<R> => {
      const dropoutKey = keyAt(`${where} adapter`);
      return given === undefined || given.rate === 0
        ? adapted(y, weights, { residual, dropoutKey })
        : tf.add<tf.Tensor<R>>(residual, drop(where, adapted(y, weights, { dropoutKey })));
    },
  };
}

/** One row a token, or a place where `places` are given. */
function decoderHiddenStates(
  model: Model,
  batch: Sequences,
  { plain, drop, map, addMap }: Sublayers,
  places?: tf.Tensor1D,
): tf.Tensor2D {
  const spec = decoderSpec(model.config);
  const { heads, kvHeads, epsilon, activation } = spec;
  const weights = decoderWeights(model);
  const causal = isCausal(model.config);
  const { segments, positions } = batch;
  const norm = (x: tf.Tensor2D, { gain, bias }: NormWeights) =>
    bias === undefined ? rmsNorm(x, gain, epsilon) : layerNorm(x, gain, bias, epsilon);

  const [rows, time] = segments.shape;
  const bySequence = (x: tf.Tensor2D): tf.Tensor3D => tf.reshape(x, [rows, time, x.shape[1]]);
  const byToken = (x: tf.Tensor3D): tf.Tensor2D => tf.reshape(x, [rows * time, x.shape[2]]);
  /** What goes on behind the attention of a layer: behind the last, nothing looks at other tokens any more. */
  const narrows = (layer: number) => places !== undefined && layer === weights.blocks.length - 1;
  const wanted = (layer: number, x: tf.Tensor2D): tf.Tensor2D =>
    places !== undefined && narrows(layer) ? (embed(x, places) as tf.Tensor2D) : x;

  return tf.tidy(() => {
    let embedded = embed(weights.tokenEmbedding, batch.ids) as tf.Tensor3D;
    if (weights.positionEmbedding !== undefined) {
      embedded = tf.add(embedded, embed(weights.positionEmbedding, positions));
    }
    // Only attention knows of sequences: everything else treats every token alike, and a reshape is an operation too.
    let x = byToken(drop("embedding", embedded));
    const through = (x: tf.Tensor2D, block: AdaptedBlock, layer: number): tf.Tensor2D => {
      const whole = plain && model.adapter === undefined && !narrows(layer);
      const fused = whole && fusedDecoderBlock(x, block, { spec, causal, segments, positions });
      if (fused) return fused;
      let qkv = bySequence(map(`qkv ${layer}`, norm(x, block.attentionNorm), block.qkv));
      if (block.queryNorm !== undefined && block.keyNorm !== undefined) {
        const [queryGain, keyGain] = [block.queryNorm, block.keyNorm];
        qkv = normHeads(qkv, { heads, kvHeads, queryGain, keyGain, epsilon });
      }
      if (spec.ropeTheta !== undefined) {
        qkv = rope(qkv, { heads, kvHeads, positions, theta: spec.ropeTheta, scaling: spec.ropeScaling });
      }
      const mixed = attention(qkv, { heads, kvHeads, causal, segments });
      const residual = wanted(layer, x);
      const attended = addMap(
        `attention ${layer}`,
        residual,
        wanted(layer, byToken(mixed)),
        block.attentionOut,
      );
      const normed = norm(attended, block.feedForwardNorm);
      const wide =
        activation === "swiglu"
          ? swiglu(map(`up ${layer}`, normed, block.up))
          : map(`up ${layer}`, normed, block.up, { activation: "geluTanh" });
      return addMap(`feed-forward ${layer}`, attended, wide, block.down);
    };
    // Without gradients a block's tensors are free as soon as it ends; with them the tape keeps what it needs.
    for (const [layer, block] of weights.blocks.entries()) {
      const before = x;
      x = tf.tidy(() => through(before, block, layer));
      before.dispose();
    }
    return norm(x, weights.finalNorm);
  });
}
