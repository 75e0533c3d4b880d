import { fold, key, RunFolder } from "@rlhf/core";
import { simulatedLabelers } from "@rlhf/labeler";
import { pretrain } from "@rlhf/pretrain";
import { trainReward } from "@rlhf/reward";
import { finetune } from "@rlhf/sft";
import { cloneModel } from "@rlhf/transformer";
import { Effect } from "effect";
import { chooseByReward } from "../instructgpt-repro/choose_checkpoint.ts";
import { collectComparisons } from "../instructgpt-repro/comparisons.ts";
import { loadEpochs, save, saveComparisons } from "../instructgpt-repro/save.ts";
import type { Setting } from "../instructgpt-repro/setting.ts";

/**
 * Pretraining, SFT, comparisons and a reward model: the pipeline of `examples/instructgpt-repro` up to its last stage, with
 * its keys, left in the run folder as it leaves them.
 */
export const trainSharedStages = Effect.fn("shared stages")(function* (setting: Setting) {
  const { config, data, encoded, tokenizer, base } = setting;
  const folder = yield* RunFolder;
  yield* folder.writeJson("config.json", config);
  const root = key(config.seed);

  yield* pretrain({
    model: base,
    tokens: encoded.corpus.train,
    validation: encoded.corpus.validation,
    config: config.pretrain,
    key: fold(root, "pretrain"),
  });
  yield* save("base", base, tokenizer);

  const { model: supervised } = yield* finetune({
    model: cloneModel(base),
    demonstrations: encoded.demonstrations,
    validation: encoded.validation,
    config: config.sft,
    key: fold(root, "sft"),
    afterEpoch: (model, { epoch }) => save(`sft-${epoch}`, model, tokenizer),
  });
  const candidates = loadEpochs(config.sft.epochs, base, tokenizer);

  const round = fold(root, "round 1");
  const comparisons = yield* collectComparisons({
    policy: supervised,
    prompts: encoded.prompts,
    labelers: simulatedLabelers({
      criteria: data.criteria,
      key: fold(root, "labelers"),
      temperature: config.comparing.noise,
    }),
    tokenizer,
    config,
    key: round,
  });
  yield* saveComparisons(1, comparisons);
  const { model: rewardModel } = yield* trainReward({
    policy: supervised,
    rankings: comparisons.training,
    validation: comparisons.validation,
    demonstrations: encoded.validation,
    config: config.reward,
    key: fold(round, "reward"),
  });
  yield* save("reward-1", rewardModel, tokenizer);
  const policy = yield* chooseByReward({ candidates, rewardModel, encoded, tokenizer, config, key: round });
  yield* save("policy-1", policy, tokenizer);
});
