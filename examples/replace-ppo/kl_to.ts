import { compareToReference, trainingRollout } from "@rlhf/bandit-env";
import type { EncodedPrompt, Key } from "@rlhf/core";
import type { Tokenizer } from "@rlhf/tokenizer";
import type { Model } from "@rlhf/transformer";
import { Effect } from "effect";
import type { Config } from "../instructgpt-repro/config.ts";

/** KL of a policy to a reference, in nats a response, from one response to each prompt: as online training measures it. */
export const klTo = Effect.fn("klTo")(function* (input: {
  readonly policy: Model;
  readonly reference: Model;
  readonly prompts: ReadonlyArray<EncodedPrompt>;
  readonly tokenizer: Tokenizer;
  readonly config: Config;
  readonly key: Key;
}) {
  const { policy, reference, prompts, tokenizer, key } = input;
  const { maxNewTokens, temperature, microBatchSize } = input.config.ppo;
  const sampling = { maxNewTokens, temperature, microBatchSize, eos: tokenizer.specials.eos };
  const rollout = yield* trainingRollout({ ...sampling, policy, prompts, key });
  const { meanKl } = yield* compareToReference(rollout, { reference, temperature, microBatchSize });
  return meanKl;
}, Effect.scoped);
