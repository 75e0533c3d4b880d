import { CountOrZero, InvalidInput, type Key, Positive, Share, setting } from "@rlhf/core";
import { addLora, type LoraConfig, type Model } from "@rlhf/transformer";
import { Effect, Schema } from "effect";

/** Settings of an adapter (Hu et al. 2021, arXiv:2106.09685) with the figures of its experiments on GPT-2, appendix D.3. */
export const LoraSettings = Schema.Struct({
  rank: setting(
    CountOrZero,
    0,
    "Rank of the adapters that are trained in place of the weights; 0 trains the weights",
  ),
  alpha: setting(Positive, 32, "What an adapter adds is scaled by alpha / rank. Hu et al. 2021: 32"),
  dropout: setting(
    Share.check(Schema.isLessThan(1)),
    0.1,
    "Dropout before the adapters in SFT. Hu et al. 2021: 0.1",
  ),
});
export type LoraSettings = typeof LoraSettings.Type;

/** The adapter that the settings ask for, on queries and values as in the paper; GPT-2 has them in one map with the keys. */
export function loraOf(
  { rank, ...rest }: LoraSettings,
  { architecture }: { readonly architecture: string },
): LoraConfig | undefined {
  if (rank === 0) return undefined;
  return { rank, ...rest, targetModules: architecture === "gpt2" ? ["c_attn"] : ["q_proj", "v_proj"] };
}

/** The model with the adapter, where one is asked for. */
export function adapted(model: Model, settings: LoraSettings, key: Key): Model {
  const lora = loraOf(settings, model.config);
  return lora === undefined ? model : addLora(model, lora, key);
}

/** A model that has not been trained yet has nothing to adapt. */
export const refuseAdapterOfNothing = Effect.fnUntraced(function* ({
  base,
  lora,
}: {
  readonly base: string | null;
  readonly lora: LoraSettings;
}) {
  if (lora.rank === 0 || base !== null) return;
  const problem = "an adapter needs a model that was trained already";
  return yield* new InvalidInput({
    problems: [{ where: "--lora.rank", problem, remedy: "Name one with --base, or leave --lora.rank at 0" }],
  });
});
