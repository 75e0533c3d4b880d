import type { Tokens } from "@rlhf/core/records";
import { Count, CountOrZero, NonNegative, Positive, setting } from "@rlhf/core/setting";
import * as Clock from "effect/Clock";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as HttpClient from "effect/http/HttpClient";
import * as HttpClientRequest from "effect/http/HttpClientRequest";
import * as HttpClientResponse from "effect/http/HttpClientResponse";
import * as KeyValueStore from "effect/persistence/KeyValueStore";
import type * as Redacted from "effect/Redacted";
import * as Ref from "effect/Ref";
import * as Schedule from "effect/Schedule";
import * as Schema from "effect/Schema";
import * as Semaphore from "effect/Semaphore";
import { type Score, ScoreFailed } from "./score.ts";
import type { TextEpisode } from "./score_text.ts";

/** Settings of an {@link aiJudge}. */
export const AiJudgeConfig = Schema.Struct({
  /** Of an OpenAI-compatible server, up to and without `/chat/completions`. */
  baseUrl: Schema.String.annotate({
    description: "Where the judge answers, such as http://localhost:11434/v1",
  }),
  model: Schema.String.annotate({ description: "The judge's name on that server" }),
  criteria: setting(
    Schema.String,
    "The better response does what the prompt asks, is true, and does no harm.",
    "What makes a response better: a constitution",
  ),
  temperature: setting(NonNegative, 0, "Of the judge's sampling. 0: the same answer to the same question"),
  maxTokens: setting(Count, 512, "Longest answer of the judge, its reasoning included"),
  timeoutSeconds: setting(Positive, 60, "After which a request counts as failed"),
  retries: setting(
    CountOrZero,
    5,
    "Times to ask again, ever more slowly, after a failure that may pass or an unreadable answer",
  ),
  requestsPerMinute: setting(Positive, 600, "The server's limit, retries included"),
  concurrency: setting(Count, 8, "Requests at a time"),
});
export type AiJudgeConfig = typeof AiJudgeConfig.Type;

/** 1: the first response is better, 0: the second, 0.5: neither. */
export type Preference = 1 | 0.5 | 0;

/** A language model that judges responses. */
export interface AiJudge {
  /** Shows two responses in this order, and only in this one; `Judge` of `@rlhf/eval` is such a function. */
  readonly compare: (question: {
    readonly prompt: string;
    readonly first: string;
    readonly second: string;
  }) => Effect.Effect<Preference, ScoreFailed>;
  /** A grade from 1 to 10. */
  readonly rate: (question: TextEpisode) => Effect.Effect<number, ScoreFailed>;
}

/**
 * A judge behind any OpenAI-compatible endpoint, for reinforcement learning from AI feedback (RLAIF; Bai et al. 2022,
 * arXiv:2212.08073; Lee et al. 2023, arXiv:2309.00267). It reasons before its verdict.
 *
 * What may pass is asked again, with exponential back-off and as late as the server's `Retry-After` says: network errors, timeouts,
 * statuses 408, 429 and 5xx, answers without a verdict. Verdicts are kept in the `KeyValueStore` under a hash of the
 * request, so no question is paid for twice, in a store of files not even by the next run.
 *
 * @param apiKey sent as a bearer token
 * Its answers fail with `ScoreFailed` when retries are used up, or at once at a status such as 401.
 */
export const aiJudge = Effect.fn("bandit-env.aiJudge")(function* (
  config: AiJudgeConfig,
  apiKey?: Redacted.Redacted,
) {
  const client = yield* patientClient(config, apiKey);
  const cache = yield* KeyValueStore.KeyValueStore;
  const backOff = retrySchedule(config);

  /** The verdict in the model's answer, as a string; the same question is answered from the cache. */
  const ask = Effect.fnUntraced(
    function* (question: string, verdictIn: RegExp) {
      const body = {
        model: config.model,
        temperature: config.temperature,
        max_tokens: config.maxTokens,
        messages: [
          { role: "system", content: `${criteriaIntroduction}\n\n${config.criteria}` },
          { role: "user", content: question },
        ],
      };
      const name = yield* Effect.promise(() => sha256(JSON.stringify([config.baseUrl, body])));
      const known = yield* cache.get(name);
      if (known !== undefined) return known;
      const verdict = yield* HttpClientRequest.post("/chat/completions").pipe(
        HttpClientRequest.bodyJsonUnsafe(body),
        client.execute,
        Effect.flatMap(HttpClientResponse.schemaBodyJson(Completion)),
        Effect.flatMap(({ choices }) => {
          const answer = choices[0]!.message.content ?? "";
          const found = Array.from(answer.matchAll(verdictIn), (match) => match[1]!).at(-1);
          return found === undefined ? Effect.fail(new NoVerdict({ answer })) : Effect.succeed(found);
        }),
        Effect.retry({
          schedule: backOff,
          while: (error: { readonly _tag: string }) =>
            error._tag === "NoVerdict" || error._tag === "SchemaError",
        }),
      );
      yield* cache.set(name, verdict);
      return verdict;
    },
    Effect.mapError((cause) => new ScoreFailed({ cause })),
  );

  const judge: AiJudge = {
    compare: ({ prompt, first, second }) =>
      Effect.map(
        ask(comparison(prompt, first, second), /verdict:\W*(A|B|tie)\b/gi),
        (verdict) => ({ A: 1, B: 0, TIE: 0.5 })[verdict.toUpperCase()] as Preference,
      ),
    rate: ({ prompt, response }) =>
      Effect.map(ask(grading(prompt, response), /rating:\W*(10|[1-9])\b/gi), Number),
  };
  return judge;
});

/**
 * The share of comparisons that a response wins against the other responses to its prompt, each shown in both orders
 * since judges favor a position (Zheng et al. 2023, arXiv:2306.05685): from 0 to 1, a tie counts half. Rollouts must have at least two
 * responses to each prompt, as RLOO's, GRPO's and online DPO's have.
 *
 * @param decode text of tokens; should leave special tokens out
 * @throws RangeError when a prompt has a single response
 */
export const scoreByComparison =
  (judge: Pick<AiJudge, "compare">, decode: (tokens: Tokens) => string): Score<ScoreFailed> =>
  (episodes) =>
    Effect.gen(function* () {
      const text = episodes.map(({ response }) => decode(response.tokens));
      const pairs = episodes.flatMap(({ prompt }, i) =>
        episodes.flatMap((other, j) =>
          i !== j && other.prompt.id === prompt.id ? [{ i, j, prompt: decode(prompt.tokens) }] : [],
        ),
      );
      const points = new Float32Array(episodes.length);
      const shown = new Float32Array(episodes.length);
      for (const { i, j } of pairs) for (const one of [i, j]) shown[one]! += 1;
      const alone = shown.indexOf(0);
      if (alone >= 0) {
        throw new RangeError(
          `Cannot score by comparison: at least two responses to each prompt are required, prompt ${episodes[alone]!.prompt.id} has one`,
        );
      }
      yield* Effect.forEach(
        pairs,
        ({ i, j, prompt }) =>
          Effect.map(judge.compare({ prompt, first: text[i]!, second: text[j]! }), (preference) => {
            points[i]! += preference;
            points[j]! += 1 - preference;
          }),
        { concurrency: "unbounded", discard: true },
      );
      return points.map((sum, i) => sum / shown[i]!);
    });

/** The judge's grade of each response, from 1 to 10, for rollouts of one response to each prompt. */
export const scoreByRating =
  (judge: Pick<AiJudge, "rate">, decode: (tokens: Tokens) => string): Score<ScoreFailed> =>
  (episodes) =>
    Effect.map(
      Effect.forEach(
        episodes,
        ({ prompt, response }) =>
          judge.rate({ prompt: decode(prompt.tokens), response: decode(response.tokens) }),
        { concurrency: "unbounded" },
      ),
      (grades) => Float32Array.from(grades),
    );

/** A client that keeps to the server's limits, retries what may pass, and fails at any status that is not 2xx. */
const patientClient = Effect.fnUntraced(function* (config: AiJudgeConfig, apiKey?: Redacted.Redacted) {
  const client = yield* HttpClient.HttpClient;
  const slots = yield* Semaphore.make(config.concurrency);
  const nextStart = yield* Ref.make(0);
  const interval = 60_000 / config.requestsPerMinute;
  /** Requests start `interval` apart, however many ask at once. */
  const turn = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis;
    const start = yield* Ref.modify(nextStart, (next) => [
      Math.max(now, next),
      Math.max(now, next) + interval,
    ]);
    if (start > now) yield* Effect.sleep(Duration.millis(start - now));
  });
  return client.pipe(
    HttpClient.mapRequest((request) =>
      request.pipe(
        HttpClientRequest.prependUrl(config.baseUrl),
        apiKey === undefined ? (same) => same : HttpClientRequest.bearerToken(apiKey),
      ),
    ),
    HttpClient.mapRequestEffect((request) => Effect.as(turn, request)),
    HttpClient.filterStatusOk,
    HttpClient.transformResponse((response) =>
      slots.withPermits(1)(Effect.timeout(response, Duration.seconds(config.timeoutSeconds))),
    ),
    HttpClient.retryTransient({ retryOn: "errors-only", schedule: retrySchedule(config) }),
  );
});

const retrySchedule = ({ retries }: AiJudgeConfig) =>
  Schedule.exponential("500 millis").pipe(Schedule.jittered, Schedule.upTo({ times: retries }));

const Completion = Schema.Struct({
  choices: Schema.NonEmptyArray(
    Schema.Struct({ message: Schema.Struct({ content: Schema.NullOr(Schema.String) }) }),
  ),
});

class NoVerdict extends Schema.TaggedError<NoVerdict>()("NoVerdict", { answer: Schema.String }) {
  override get message(): string {
    return `the judge's answer has no verdict: ${JSON.stringify(this.answer)}`;
  }
}

const criteriaIntroduction =
  "You judge responses to a prompt, by these criteria alone, and never by their length or the order in which they are shown.";

function comparison(prompt: string, first: string, second: string): string {
  return `Prompt:\n${prompt}\n\nResponse A:\n${first}\n\nResponse B:\n${second}\n\nCompare the responses in a sentence or two. Then end with one line, "Verdict: A", "Verdict: B" or "Verdict: tie".`;
}

function grading(prompt: string, response: string): string {
  return `Prompt:\n${prompt}\n\nResponse:\n${response}\n\nAssess the response in a sentence or two. Then end with one line, "Rating: " and a whole number from 1 (useless) to 10 (could not be better).`;
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
