/**
 * How rotary embeddings reach beyond the context that a model was pretrained on, with the names of Hugging Face's
 * `rope_parameters` in brackets.
 *
 * - `linear`: every position counts 1/factor (Chen et al. 2023, arXiv:2306.15595).
 * - `llama3`: long wavelengths turn slower by `factor`, short ones stay, those between are blended (Llama 3.1).
 * - `yarn`: the same by dimension, and cosine and sine grow by `attentionFactor` (Peng et al. 2023, arXiv:2309.00071).
 */
export type RopeScaling =
  | { readonly type: "linear"; readonly factor: number }
  | {
      readonly type: "llama3";
      readonly factor: number;
      /** [low_freq_factor] Wavelengths above originalContext / this are slowed down. */
      readonly lowFrequencyFactor: number;
      /** [high_freq_factor] Wavelengths below originalContext / this stay. */
      readonly highFrequencyFactor: number;
      /** [original_max_position_embeddings] Tokens of context at pretraining. */
      readonly originalContext: number;
    }
  | {
      readonly type: "yarn";
      readonly factor: number;
      readonly originalContext: number;
      /** [beta_fast] Dimensions that turn more often than this over the original context stay. */
      readonly betaFast: number;
      /** [beta_slow] Dimensions that turn less often than this are slowed down by the whole factor. */
      readonly betaSlow: number;
      readonly attentionFactor: number;
    };

/**
 * The angle that each pair of dimensions turns from one position to the next, `[headDim / 2]`: theta^(−2i / headDim)
 * unless scaled; and what cosine and sine are multiplied with.
 */
export const ropeFrequencies = (
  headDim: number,
  theta: number,
  scaling?: RopeScaling,
): { readonly frequencies: Float32Array; readonly amplitude: number } => {
  const half = headDim / 2;
  const slowed = slowdown(headDim, theta, scaling);
  const frequencies = Float32Array.from({ length: half }, (_, i) => {
    const frequency = theta ** (-i / half);
    return frequency * slowed(frequency, i);
  });
  return { frequencies, amplitude: scaling?.type === "yarn" ? scaling.attentionFactor : 1 };
};

/** What a frequency is multiplied with, by its value and its place. */
const slowdown = (
  headDim: number,
  theta: number,
  scaling: RopeScaling | undefined,
): ((frequency: number, place: number) => number) => {
  switch (scaling?.type) {
    case undefined:
      return () => 1;
    case "linear":
      return () => 1 / scaling.factor;
    case "llama3": {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContext } = scaling;
      return (frequency) => {
        const turns = (originalContext * frequency) / (2 * Math.PI);
        const kept = clamp((turns - low) / (high - low));
        return kept + (1 - kept) / factor;
      };
    }
    case "yarn": {
      const { factor, originalContext, betaFast, betaSlow } = scaling;
      /** The dimension that turns this often over the original context. */
      const placeOf = (turns: number) =>
        (headDim * Math.log(originalContext / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
      const first = Math.max(Math.floor(placeOf(betaFast)), 0);
      const last = Math.min(Math.ceil(placeOf(betaSlow)), headDim - 1);
      return (_, place) => {
        const kept = 1 - clamp((place - first) / (first === last ? 0.001 : last - first));
        return kept + (1 - kept) / factor;
      };
    }
  }
};

const clamp = (x: number): number => Math.min(1, Math.max(0, x));
