import type { Key } from "@rlhf/core/random";
import type { Tokens } from "@rlhf/core/records";
import { generate, type Model } from "@rlhf/transformer";
import type { Finding } from "./finding.ts";
import { tolerance } from "./invariance.ts";
import { largestGap, logProbsOf } from "./log_probs_of.ts";

/**
 * Whether the sampler, which decodes token by token with a cache, gives its tokens the log-probabilities that a forward
 * pass over the whole gives them: PPO's ratio is 1 at the start only if it does.
 */
export async function cacheAgreement(
  model: Model,
  prompts: ReadonlyArray<Tokens>,
  { eos, pad, key }: { readonly eos: number; readonly pad: number; readonly key: Key },
): Promise<Finding> {
  const generations = await generate(model, { prompts, maxNewTokens: 16, eos, temperature: 1, key });
  const whole = generations.map(({ tokens }, i) => [...prompts[i]!, ...tokens]);
  const judged = await logProbsOf(model, whole, { padId: pad, multipleOf: 1 });
  const gaps = generations.map(({ logProbs }, i) =>
    largestGap(logProbs, judged[i]!.subarray(prompts[i]!.length)),
  );
  const gap = Math.max(...gaps);
  const finished = generations.filter((generation) => generation.finished).length;
  return {
    check: "cache",
    passed: gap <= tolerance,
    found: `log-probabilities with and without cache differ by ${gap.toExponential(1)}; ${finished} of ${prompts.length} responses ended within 16 tokens`,
    remedy: "try --backend cpu: if that agrees, the kernels of the other backend are at fault",
  };
}
