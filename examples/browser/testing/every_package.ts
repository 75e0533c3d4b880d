/** A little of every package that runs in a browser, by the whole package's index. The numbers are the same everywhere. */
import { Reference, Scorer } from "@rlhf/bandit-env";
import { key, Progress, RunFolder } from "@rlhf/core";
import * as dpo from "@rlhf/dpo";
import * as kl from "@rlhf/kl";
import * as policyGradient from "@rlhf/policy-gradient";
import * as ppo from "@rlhf/ppo";
import * as tensor from "@rlhf/tensor";
import * as tokenizer from "@rlhf/tokenizer";
import * as transformer from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";

const shape = {
  architecture: "gpt2",
  vocabSize: 16,
  contextLength: 16,
  layers: 1,
  width: 16,
  heads: 2,
} as const;
const services = Layer.merge(Progress.layerSilent, RunFolder.layerMemory);

export async function everyPackage(): Promise<Record<string, ReadonlyArray<number>>> {
  const x = tf.tensor2d([[1, 2, 3]]);
  const policy = transformer.initModel(shape, key(1));
  const numbersOf = async ({ params }: transformer.Model) => [
    ...(await params["transformer.ln_f.weight"]!.data()),
  ];

  const prompts = [3, 4].map((token) => ({ id: `${token}`, tokens: [token] }));
  const settings = { iterations: 1, batchSize: 8, minibatchSize: 4, maxNewTokens: 4 };
  const training = { prompts, specials: { eos: 1 }, key: key(2), decode: String };
  const lengths = (
    episodes: ReadonlyArray<{ readonly response: { readonly tokens: ReadonlyArray<number> } }>,
  ) => Effect.succeed(Float32Array.from(episodes, ({ response }) => response.tokens.length));
  const run = <A, E>(stage: Effect.Effect<A, E, Reference | Scorer | Progress | RunFolder>) =>
    Effect.runPromise(
      stage.pipe(
        Effect.provideService(Reference, policy),
        Effect.provideService(Scorer, lengths),
        Effect.provide(services),
      ),
    );

  const grpoConfig = policyGradient.GrpoConfig.make({ ...settings, learningRate: 1e-2 });
  const grpo = await run(
    policyGradient.trainGrpo({
      ...training,
      state: policyGradient.initState(policy, grpoConfig),
      config: grpoConfig,
    }),
  );
  const ppoConfig = ppo.PpoConfig.make({ ...settings, policyLearningRate: 1e-2, criticLearningRate: 1e-2 });
  const rewardModel = transformer.initScalarModel(transformer.cloneModel(policy), key(3));
  const proximal = await run(
    ppo
      .train({
        ...training,
        state: ppo.initState({ policy, rewardModel, config: ppoConfig }),
        config: ppoConfig,
      })
      .pipe(Effect.provideService(ppo.PretrainingBatches, ppo.PretrainingBatches.none)),
  );
  const rankings = [
    {
      prompt: [3],
      responses: [
        [4, 1],
        [5, 1],
      ],
      ranks: [1, 2],
    },
  ];
  const preferring = await run(
    dpo.trainDpo({
      policy,
      rankings,
      validation: rankings,
      config: dpo.DpoConfig.make({ learningRate: 1e-2 }),
      key: key(4),
    }),
  );
  const [generation] = await transformer.generate(policy, {
    prompts: [[3, 4]],
    maxNewTokens: 6,
    eos: 1,
    temperature: 1,
    key: key(5),
  });
  const bpe = tokenizer.tokenizerFromJson(tokenizer.trainBpe(["a cat sat on a mat"], { vocabSize: 270 }));
  return {
    kl: [...(await kl.k3({ logProbs: x, refLogProbs: tf.mul(x, 2) as tf.Tensor2D }).data())],
    ppo: await numbersOf(proximal.policy),
    "policy-gradient": await numbersOf(grpo.policy),
    dpo: await numbersOf(preferring.model),
    tensor: [...(await tensor.rmsNorm(x, tf.ones([3])).data())],
    transformer: [...generation!.tokens, ...generation!.logProbs],
    tokenizer: bpe.encode("a cat sat on a hat"),
  };
}
