/**
 * InstructGPT (Ouyang et al. 2022) end to end on one machine: read from `pipeline` down, it is the paper's figure 2.
 *
 *     npm start                                   the default preset: about ten minutes on two cores
 *     npm start -- --preset smoke --seed 2        every stage in a minute
 *     npm start -- --preset gpt2 --model ./gpt2   GPT-2 on a GPU, with preference data of your own
 */
import { fold, key } from "@rlhf/core";
import { chunkStream } from "@rlhf/data";
import type { SimulatedLabelers } from "@rlhf/labeler";
import { pretrain } from "@rlhf/pretrain";
import { trainReward } from "@rlhf/reward";
import { finetune } from "@rlhf/sft";
import { cloneModel, type Model, withoutAdapter } from "@rlhf/transformer";
import { Effect } from "effect";
import { chooseByReward } from "./choose_checkpoint.ts";
import { collectComparisons, labelersOf } from "./comparisons.ts";
import { evaluate, measureRewardModel } from "./evaluate.ts";
import { splitRankings } from "./own_comparisons.ts";
import { reinforce } from "./reinforce.ts";
import { describeLabelers } from "./report.ts";
import { inRound } from "./round.ts";
import { loadEpochs, save, saveComparisons } from "./save.ts";
import type { Setting } from "./setting.ts";
import { isProgram, start } from "./start.ts";
import type { TaskPrompt } from "./tasks.ts";

/** The paper's steps, in its order. */
const pipeline = Effect.fn("instructgpt")(function* (setting: Setting) {
  const { config, data, base } = setting;
  const root = key(config.seed);
  const labelers = labelersOf(setting);

  // Step 1: demonstrations, and a supervised policy.
  const { supervised, epochs } = yield* supervise(setting);

  // Steps 2 and 3, and again with comparisons of the new policy for every further round.
  const first = yield* align({
    ...setting,
    labelers,
    writer: supervised,
    judge: supervised,
    candidates: epochs,
    round: 1,
  });
  let last = first;
  const rounds = data.own.comparisons ? 1 : config.rounds; // of people's rankings there are no new ones
  for (let round = 2; round <= rounds; round++) {
    const { ppoPtx, reward } = last;
    const judge = reward.model.backbone;
    last = yield* align({
      ...setting,
      labelers,
      writer: ppoPtx.model,
      judge,
      candidates: [Effect.succeed(ppoPtx.model)],
      round,
    });
  }
  const { comparisons, reward, ppoPtx } = last;
  const ppo = yield* last.withoutPtx;

  // Evaluation, by judges that training never saw.
  const evaluation = yield* evaluate({
    ...setting,
    contestants: [
      { name: "base", model: base },
      { name: "sft", model: first.policy },
      { name: "ppo", model: ppo.model },
      { name: "ppo-ptx", model: ppoPtx.model },
    ],
    rewardModel: reward.model,
    labelers,
    key: fold(root, "evaluation"),
  });
  const measured = yield* measureRewardModel(reward.model, comparisons, fold(root, "reward model"), config);
  return {
    ...evaluation,
    frontier: [ppo.frontier, ppoPtx.frontier],
    rewardModel: { ...measured, calibration: reward.calibration.bins },
    ...(data.own.comparisons ? {} : { labelers: describeLabelers(labelers, comparisons) }),
  };
});

/** Pretraining, a language model that knows text, and nothing of instructions; step 1, a supervised policy. */
export const supervise = Effect.fn("supervise")(function* (setting: Setting) {
  const { config, encoded, tokenizer, base } = setting;
  const root = key(config.seed);
  if (config.base === null) {
    yield* pretrain({
      model: base,
      tokens: encoded.corpus.train,
      validation: encoded.corpus.validation,
      config: config.pretrain,
      key: fold(root, "pretrain"),
    });
  }
  yield* save("base", withoutAdapter(base), tokenizer);
  const { model: supervised } = yield* finetune({
    model: cloneModel(base),
    demonstrations: encoded.demonstrations,
    validation: encoded.validation,
    config: config.sft,
    key: fold(root, "sft"),
    afterEpoch: (model, { epoch }) => save(`sft-${epoch}`, model, tokenizer),
  });
  // Every epoch is kept until a reward model can choose.
  return { supervised, epochs: loadEpochs(config.sft.epochs, base, tokenizer) };
});

/** What steps 2 and 3 go on from. */
interface Round extends Setting {
  readonly labelers: SimulatedLabelers<TaskPrompt>;
  /** Writes the answers that are compared. */
  readonly writer: Model;
  /** The reward model starts from it: the supervised model, and in later rounds the reward model before. */
  readonly judge: Model;
  /** Of these the reward model chooses the policy to start from. */
  readonly candidates: ReturnType<typeof loadEpochs> | [Effect.Effect<Model>];
  readonly round: number;
}

/** Step 2: comparisons, and a reward model, which chooses the policy for step 3. */
export const learnReward = Effect.fn("learnReward")(function* (input: Round) {
  const { config, data, encoded, tokenizer, writer, judge, candidates, round } = input;
  const root = fold(key(config.seed), `round ${round}`);
  const comparisons = data.own.comparisons
    ? splitRankings(encoded.rankings, config, root)
    : yield* collectComparisons({ ...input, policy: writer, prompts: encoded.prompts, key: root });
  yield* saveComparisons(round, comparisons);
  const reward = yield* trainReward({
    policy: judge,
    rankings: comparisons.training,
    validation: comparisons.validation,
    demonstrations: encoded.validation,
    config: config.reward,
    key: fold(root, "reward"),
  });
  yield* save(`reward-${round}`, reward.model, tokenizer);
  const policy = yield* chooseByReward({ ...input, candidates, rewardModel: reward.model, key: root });
  yield* save(`policy-${round}`, policy, tokenizer);
  return { comparisons, reward, policy };
});

/** Step 2, and step 3: PPO with pretraining gradients; on demand without, to compare. */
const align = Effect.fn("align")(
  function* (input: Round) {
    const { config, data, encoded, tokenizer, labelers, round } = input;
    const { comparisons, reward, policy } = yield* learnReward(input);
    const length = config.model.contextLength;
    const pretrainingRows = chunkStream(encoded.corpus.train, { length }).map((tokens) => ({ tokens }));
    const optimise = Effect.fnUntraced(function* (name: string, ptxCoefficient: number) {
      const result = yield* reinforce({
        policy,
        rewardModel: reward.model,
        prompts: encoded.prompts,
        pretraining: pretrainingRows,
        gold: data.own.comparisons ? [] : labelers.heldOut,
        tokenizer,
        config: { ...config.ppo, ptxCoefficient },
        key: fold(key(config.seed), `round ${round}`),
      });
      yield* save(`${name}-${round}`, result.model, tokenizer);
      return result;
    });
    const ppoPtx = yield* optimise("ppo-ptx", config.ppo.ptxCoefficient);
    const withoutPtx = inRound(round)(optimise("ppo", 0));
    return { comparisons, reward, policy, ppoPtx, withoutPtx };
  },
  (effect, { round }) => inRound(round)(effect),
);

// Not where another program imports its steps.
if (isProgram(import.meta.filename)) start(pipeline);
