import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import * as Effect from "effect/Effect";
import * as FetchHttpClient from "effect/http/FetchHttpClient";
import type * as HttpClient from "effect/http/HttpClient";
import * as KeyValueStore from "effect/persistence/KeyValueStore";
import * as Redacted from "effect/Redacted";
import { describe, expect, it } from "vitest";
import { AiJudgeConfig, aiJudge, scoreByComparison, scoreByRating } from "./ai_judge.ts";
import type { Episode } from "./episode.ts";

/** What the server answers to its n-th request: a status, or the text of the judge. */
type Answer = number | string | { readonly status: number; readonly retryAfter: number };
interface Served {
  readonly url: string;
  readonly requests: Array<{
    readonly body: { readonly messages: ReadonlyArray<{ readonly content: string }> };
    readonly authorization: string | undefined;
    readonly at: number;
  }>;
}

/** A judge of one's own on localhost, for the time of an effect. */
const served = <A, E>(
  answer: (question: string, request: number) => Answer,
  use: (server: Served) => Effect.Effect<A, E, HttpClient.HttpClient | KeyValueStore.KeyValueStore>,
) =>
  Effect.acquireUseRelease(
    Effect.promise(async () => {
      const requests: Served["requests"] = [];
      const handle = async (request: IncomingMessage, response: ServerResponse) => {
        let text = "";
        for await (const chunk of request) text += chunk;
        const body = JSON.parse(text);
        const { authorization } = request.headers;
        const given = answer(
          body.messages[1]!.content,
          requests.push({ body, authorization, at: Date.now() }) - 1,
        );
        if (given === -1) return void request.socket.destroy();
        if (typeof given === "number") return void response.writeHead(given).end("no");
        if (typeof given === "object") {
          return void response.writeHead(given.status, { "retry-after": String(given.retryAfter) }).end();
        }
        response.writeHead(200, { "content-type": "application/json" });
        response.end(
          given.startsWith("{") ? given : JSON.stringify({ choices: [{ message: { content: given } }] }),
        );
      };
      const server = createServer((request, response) => void handle(request, response));
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, requests };
    }),
    use,
    ({ server }) => Effect.sync(() => server.closeAllConnections()),
  ).pipe(Effect.provide(FetchHttpClient.layer), Effect.provide(KeyValueStore.layerMemory), Effect.runPromise);

const question = { prompt: "Say hi", first: "hi", second: "go away" };
const config = (url: string, options: Partial<AiJudgeConfig> = {}) =>
  AiJudgeConfig.make({ baseUrl: url, model: "judge", requestsPerMinute: 60_000, ...options });

describe("an AI judge", () => {
  it("asks an OpenAI-compatible endpoint, and the same question once", () =>
    served(
      () => "A greets, verdict: B would be wrong.\n**Verdict: A**",
      Effect.fnUntraced(function* ({ url, requests }) {
        const judge = yield* aiJudge(config(url), Redacted.make("secret"));
        expect(yield* judge.compare(question)).toBe(1);
        expect(yield* judge.compare(question)).toBe(1);
        expect(requests).toHaveLength(1);
        expect(requests[0]!.authorization).toBe("Bearer secret");
        expect(requests[0]!.body).toMatchObject({ model: "judge", temperature: 0 });
        for (const text of Object.values(question)) {
          expect(requests[0]!.body.messages[1]!.content).toContain(text);
        }
        yield* judge.compare({ ...question, first: "hello" });
        expect(requests).toHaveLength(2);
      }),
    ));

  it("asks again after what may pass: statuses, broken connections, unreadable answers", () => {
    const answers: ReadonlyArray<Answer> = [503, -1, 429, "I cannot decide", '{"oops": 1}', "Rating: 7/10"];
    return served(
      (_, request) => answers[request]!,
      Effect.fnUntraced(function* ({ url, requests }) {
        const judge = yield* aiJudge(config(url));
        expect(yield* judge.rate({ prompt: "p", response: "r" })).toBe(7);
        expect(requests).toHaveLength(answers.length);
      }),
    );
  }, 30_000);

  it("waits as long as the server says", () =>
    served(
      (_, request) => (request === 0 ? { status: 429, retryAfter: 2 } : "Verdict: tie"),
      Effect.fnUntraced(function* ({ url, requests }) {
        const judge = yield* aiJudge(config(url));
        expect(yield* judge.compare(question)).toBe(0.5);
        expect(requests[1]!.at - requests[0]!.at).toBeGreaterThan(1900);
      }),
    ));

  it("fails at once where asking again cannot help, and says why", () =>
    served(
      () => 401,
      Effect.fnUntraced(function* ({ url, requests }) {
        const judge = yield* aiJudge(config(url));
        const error = yield* Effect.flip(judge.compare(question));
        expect(error._tag).toBe("ScoreFailed");
        expect(error.message).toContain("401");
        expect(requests).toHaveLength(1);
      }),
    ));

  it("gives up after the retries", () =>
    served(
      () => "no idea",
      Effect.fnUntraced(function* ({ url, requests }) {
        const judge = yield* aiJudge(config(url, { retries: 1 }));
        const error = yield* Effect.flip(judge.compare(question));
        expect(error.message).toContain('no verdict: "no idea"');
        expect(requests).toHaveLength(2);
      }),
    ));

  it("keeps to the rate limit", () =>
    served(
      () => "Rating: 3",
      Effect.fnUntraced(function* ({ url, requests }) {
        const judge = yield* aiJudge(config(url, { requestsPerMinute: 600 }));
        yield* Effect.forEach([1, 2, 3, 4, 5], (i) => judge.rate({ prompt: "p", response: `${i}` }), {
          concurrency: "unbounded",
        });
        expect(requests.at(-1)!.at - requests[0]!.at).toBeGreaterThan(350);
      }),
    ));
});

describe("its scores", () => {
  const episodes: ReadonlyArray<Episode> = [
    ["a", 3],
    ["a", 9],
    ["a", 5],
    ["b", 2],
    ["b", 2],
  ].map(([id, token]) => ({
    prompt: { id: String(id), tokens: [1] },
    response: { tokens: [Number(token)], finished: true },
  }));
  const decode = (tokens: ReadonlyArray<number>) => tokens.join(" ");

  it("are shares of comparisons won, in both orders", async () => {
    const asked: Array<string> = [];
    const larger = (bias: number) => ({
      compare: ({ first, second }: { first: string; second: string }) => {
        asked.push(`${first} ${second}`);
        const lead = Number(first) + bias - Number(second);
        return Effect.succeed(lead > 0 ? (1 as const) : lead < 0 ? (0 as const) : (0.5 as const));
      },
    });
    const scores = await Effect.runPromise(scoreByComparison(larger(0), decode)(episodes));
    expect([...scores]).toEqual([0, 1, 0.5, 0.5, 0.5]);
    expect(asked).toHaveLength(8);
    expect(asked).toEqual(expect.arrayContaining(["3 9", "9 3"]));
    const biased = await Effect.runPromise(scoreByComparison(larger(100), decode)(episodes));
    expect([...biased]).toEqual([0.5, 0.5, 0.5, 0.5, 0.5]);
  });

  it("are refused where there is nothing to compare with", async () => {
    const compare = () => Effect.succeed(1 as const);
    const alone = scoreByComparison({ compare }, decode)(episodes.slice(2, 3));
    await expect(Effect.runPromise(alone)).rejects.toThrow("prompt a has one");
  });

  it("or grades", async () => {
    const rate = ({ response }: { response: string }) => Effect.succeed(Number(response));
    const scores = await Effect.runPromise(scoreByRating({ rate }, decode)(episodes));
    expect([...scores]).toEqual([3, 9, 5, 2, 2]);
  });
});
