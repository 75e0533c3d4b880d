import { fold } from "@rlhf/core/random";
import { attention } from "@rlhf/tensor/attention";
import type { LinearWeights, NormWeights } from "@rlhf/tensor/decoder";
import { embed } from "@rlhf/tensor/embed";
import { layerNorm } from "@rlhf/tensor/layer_norm";
import { linear } from "@rlhf/tensor/linear";
import * as tf from "@tensorflow/tfjs-core";
import { assertSequences, type Sequences } from "./batch.ts";
import { type Dropout, dropout } from "./dropout.ts";
import type { Model } from "./model.ts";
import { decoderSpec, decoderWeights } from "./parameters.ts";

/** How a forward pass is made: without dropout, unless a rate and a key are given. */
export interface ForwardOptions {
  /** Acts on the embeddings and on what every block adds to the residual stream, as GPT-2's residual dropout does. */
  readonly dropout?: Dropout;
}

/**
 * What the last block hands to the unembedding, after the final norm: `[batch, time, width]`. GPT-2's pre-norm blocks
 * (Radford et al. 2019):
 *
 *     x ← x + Attention(LayerNorm(x))
 *     x ← x + W₂ gelu(W₁ LayerNorm(x))
 *
 * Attention is causal in a `gpt2` and reaches the whole segment in a `masked-lm`. A row's numbers do not depend on
 * its padding; the numbers at padding mean nothing.
 *
 * @throws RangeError when the shapes disagree or a row is longer than the context.
 */
export function hiddenStates(model: Model, batch: Sequences, options: ForwardOptions = {}): tf.Tensor3D {
  assertSequences("compute hidden states", batch, model.config.contextLength);
  const { heads, kvHeads, epsilon } = decoderSpec(model.config);
  const weights = decoderWeights(model);
  const causal = model.config.architecture === "gpt2";
  const { segments } = batch;

  const drop = (where: string, x: tf.Tensor3D): tf.Tensor3D =>
    options.dropout === undefined
      ? x
      : dropout(x, { rate: options.dropout.rate, key: fold(options.dropout.key, where) });
  const norm = (x: tf.Tensor3D, { gain, bias }: NormWeights) => layerNorm(x, gain, bias!, epsilon);
  const addProjected = (
    residual: tf.Tensor3D,
    y: tf.Tensor3D,
    { weight, bias }: LinearWeights,
    where: string,
  ) =>
    options.dropout === undefined
      ? linear(y, weight, { bias, residual })
      : tf.add<tf.Tensor3D>(residual, drop(where, linear(y, weight, { bias })));

  return tf.tidy(() => {
    const embedded: tf.Tensor3D = tf.add(
      embed(weights.tokenEmbedding, batch.ids),
      embed(weights.positionEmbedding!, batch.positions),
    );
    let x = drop("embedding", embedded);
    for (const [layer, block] of weights.blocks.entries()) {
      const qkv = linear(norm(x, block.attentionNorm), block.qkv.weight, { bias: block.qkv.bias });
      const mixed = attention(qkv, { heads, kvHeads, causal, segments });
      x = addProjected(x, mixed, block.attentionOut, `attention ${layer}`);
      const wide = linear(norm(x, block.feedForwardNorm), block.up.weight, {
        bias: block.up.bias,
        activation: "geluTanh",
      });
      x = addProjected(x, wide, block.down, `feed-forward ${layer}`);
    }
    return norm(x, weights.finalNorm);
  });
}
