import { type Episode, responseLogProbs, responseMask } from "@rlhf/bandit-env";
import { fold, key } from "@rlhf/core/random";
import { preferenceObjective } from "@rlhf/dpo";
import { disposeAdamw, initAdamw, trainStep } from "@rlhf/optim";
import { loadTokenizer, type Tokenizer } from "@rlhf/tokenizer";
import {
  cloneModel,
  copyParams,
  type Generation,
  generate,
  loadCheckpoint,
  type Model,
} from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { fetchedFolder } from "./fetched_folder.ts";

/** The end of a story, as it appears. */
export interface Story {
  readonly prompt: ReadonlyArray<number>;
  readonly response: Generation;
  readonly text: string;
}

/** log π of the preferred ending and of the other. */
export interface PairLogProbs {
  readonly preferred: number;
  readonly other: number;
}

export interface Lesson {
  readonly step: number;
  readonly loss: number;
  readonly before: PairLogProbs;
  readonly after: PairLogProbs;
}

/** How fast a lesson changes the mind: a click is to be seen, and ten are not to ruin the language. */
const learningRate = 1e-3;
const maxNewTokens = 44;

/** A language model that writes stories and learns from one preference at a time, by DPO (Rafailov et al. 2023). */
export class StoryTeller {
  readonly parameters: number;
  private readonly model: Model;
  /** The model as it was loaded: what DPO keeps the policy near to. */
  private readonly reference: Model;
  private readonly tokenizer: Tokenizer;
  private optimizer: ReturnType<typeof initAdamw>;
  private writings = 0;

  private constructor(model: Model, tokenizer: Tokenizer) {
    this.model = model;
    this.reference = cloneModel(model);
    this.tokenizer = tokenizer;
    this.optimizer = initAdamw(model.params);
    this.parameters = Object.values(model.params).reduce((sum, { size }) => sum + size, 0);
  }

  /** Fetches a checkpoint in Hugging Face's layout. */
  static async load(url: string): Promise<StoryTeller> {
    const names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    const folder = await fetchedFolder(url, names);
    const loading = Effect.gen(function* () {
      const tokenizer = yield* loadTokenizer(url);
      return new StoryTeller(yield* loadCheckpoint(url, tokenizer), tokenizer);
    });
    return await Effect.runPromise(Effect.provide(loading, folder));
  }

  /** Goes on with the prompt twice; `onText` gets both endings as they grow. */
  async write(
    prompt: string,
    onText: (endings: ReadonlyArray<string>) => void,
  ): Promise<ReadonlyArray<Story>> {
    const { eos } = this.tokenizer.specials;
    const room = this.model.config.contextLength - maxNewTokens;
    const tokens = [eos, ...this.tokenizer.encode(prompt).slice(1 - room)];
    const grown: Array<Array<number>> = [[], []];
    const text = (ids: ReadonlyArray<number>) => this.tokenizer.decode(ids, { skipSpecial: true });
    const responses = await generate(this.model, {
      prompts: [tokens, tokens],
      maxNewTokens,
      eos,
      temperature: 0.9,
      key: fold(key(1), this.writings++),
      onTokens: (news) => {
        for (const { prompt, token } of news) grown[prompt]!.push(token);
        onText(grown.map(text));
      },
    });
    return responses.map((response) => ({ prompt: tokens, response, text: text(response.tokens) }));
  }

  /** One step of DPO on one pair, and what it did to the log-probabilities. */
  async prefer(preferred: Story, other: Story): Promise<Lesson> {
    const episodes = [preferred, other].map(
      ({ prompt, response }): Episode => ({ prompt: { id: "", tokens: prompt }, response }),
    );
    const mask = responseMask(episodes);
    const refLogProbs = sumsOf(this.reference, episodes, mask);
    const before = await read(sumsOf(this.model, episodes, mask));
    const { loss } = await trainStep({
      params: this.model.params,
      state: this.optimizer,
      losses: [
        () =>
          preferenceObjective(
            this.model,
            { episodes, mask, refLogProbs, rankings: [[[1, 2]]] },
            { loss: { _tag: "Dpo", beta: 0.1, labelSmoothing: 0 }, temperature: 1, share: 1, kl: 0 },
          ),
      ],
      learningRate,
      maxGradNorm: 1,
    });
    const after = await read(sumsOf(this.model, episodes, mask));
    tf.dispose([mask, refLogProbs]);
    return { step: this.optimizer.step, loss, before, after };
  }

  /** Forgets every lesson. */
  startOver(): void {
    copyParams(this.reference, this.model);
    disposeAdamw(this.optimizer);
    this.optimizer = initAdamw(this.model.params);
  }
}

function sumsOf(model: Model, episodes: ReadonlyArray<Episode>, mask: tf.Tensor2D): tf.Tensor1D {
  return tf.tidy(() => tf.sum(responseLogProbs(model, { episodes, mask }, { temperature: 1 }).logProbs, 1));
}

async function read(sums: tf.Tensor1D): Promise<PairLogProbs> {
  const [preferred, other] = await sums.data();
  sums.dispose();
  return { preferred: preferred!, other: other! };
}
