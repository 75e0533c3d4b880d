import * as Effect from "effect/Effect";
import { HubError } from "./hub_error.ts";
import type { HubName } from "./hub_name.ts";
import type { HubSettings } from "./settings.ts";

/** A file in a repository. */
export interface HubFile {
  readonly path: string;
  readonly size: number;
  /** The sha256 of a large file; of a small one the hash that git gives it. */
  readonly hash: string;
}

const repositoryOf = ({ repository }: HubName) => ({ type: "model", name: repository }) as const;

/** The commit that a revision is at. */
export const askCommit = Effect.fnUntraced(function* (settings: HubSettings, name: HubName) {
  const { repository, revision } = name;
  const ask = { name: repository, revision, additionalFields: ["sha" as const] };
  const { sha } = yield* request(settings, whereOf(name), (hub, through) =>
    hub.modelInfo({ ...ask, ...through }),
  );
  if (!/^[0-9a-f]{40}$/.test(sha)) return yield* oddAnswer(settings, whereOf(name), `the commit ${sha}`);
  return sha;
});

/** The files at the top of a repository. */
export const askFiles = Effect.fnUntraced(function* (settings: HubSettings, name: HubName, commit: string) {
  const entries = yield* request(settings, whereOf(name), async (hub, through) => {
    const found = [];
    for await (const entry of hub.listFiles({ repo: repositoryOf(name), revision: commit, ...through }))
      found.push(entry);
    return found;
  });
  const files = new Map<string, HubFile>();
  for (const { type, path, size, oid = "", lfs } of entries) {
    if (type !== "file") continue;
    const hash = lfs?.oid ?? oid;
    // The hash becomes the name of a file.
    if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(hash) || !Number.isSafeInteger(size) || size < 0)
      return yield* oddAnswer(settings, whereOf(name, path), `the hash ${hash} and the size ${size}`);
    files.set(path, { path, size, hash });
  }
  return files as ReadonlyMap<string, HubFile>;
});

/** The bytes of a file from `start` on. */
export const askBytes = (
  settings: HubSettings,
  name: HubName,
  commit: string,
  { path }: HubFile,
  start: number,
) =>
  request(settings, whereOf(name, path), async (hub, through) => {
    // Without xet, which cannot go on at a byte of the file: the Hub serves every file over plain HTTP too.
    const ask = { repo: repositoryOf(name), path, revision: commit, xet: false };
    const blob = await hub.downloadFile({ ...ask, ...through });
    if (blob === null) throw new Error(`${path} is listed, but not there`);
    return (start === 0 ? blob : blob.slice(start)).stream() as ReadableStream<Uint8Array>;
  });

export function whereOf({ repository, revision }: HubName, path?: string): string {
  return `${repository}@${revision}${path === undefined ? "" : `: ${path}`}`;
}

export function unreachable({ endpoint }: HubSettings, where: string, error: unknown): HubError {
  const cause = error instanceof Error ? error.cause : undefined;
  const message = error instanceof Error ? error.message : String(error);
  const why = cause instanceof Error && cause.message !== "" ? `${message} (${cause.message})` : message;
  return new HubError({
    where,
    reason: "Unreachable",
    problem: `${endpoint} gave no whole answer: ${why}`,
    remedy: "Check the connection and try again: what has been fetched is kept",
  });
}

type Client = typeof import("@huggingface/hub");

function request<A>(
  settings: HubSettings,
  where: string,
  ask: (hub: Client, through: { readonly hubUrl: string; readonly fetch: typeof fetch }) => PromiseLike<A>,
): Effect.Effect<A, HubError> {
  return Effect.tryPromise({
    try: async () =>
      ask(await import("@huggingface/hub"), {
        hubUrl: settings.endpoint,
        fetch: fetchFor(settings, where),
      }),
    catch: (error) => (error instanceof HubError ? error : unreachable(settings, where, error)),
  });
}

/** `fetch` that shows the token to the Hub alone and throws when it refuses. */
function fetchFor(settings: HubSettings, where: string): typeof fetch {
  return async (input, init) => {
    const headers = new Headers(init?.headers);
    const ours = String(input).startsWith(`${settings.endpoint}/`);
    if (settings.token !== undefined && ours) headers.set("Authorization", `Bearer ${settings.token}`);
    const response = await fetch(input, { ...init, headers });
    if (response.ok) return response;
    const said = `${response.status} ${response.headers.get("X-Error-Message") ?? response.statusText}`;
    await response.body?.cancel();
    throw refusal(settings, where, response, said);
  };
}

function refusal({ endpoint, token }: HubSettings, where: string, response: Response, said: string) {
  const { status, headers } = response;
  const code = headers.get("X-Error-Code");
  const repository = where.split("@")[0]!;
  const page = `${endpoint}/${repository}`;
  const logIn = token === undefined ? "Set HF_TOKEN" : "Check what HF_TOKEN may read";
  const error = (reason: HubError["reason"], problem: string, remedy: string) =>
    new HubError({ where, reason, problem: `${problem} (${said})`, remedy });
  if (code === "GatedRepo")
    return error(
      "Refused",
      "its owners let in only who accepts their terms",
      `Accept them at ${page}. ${logIn}`,
    );
  if (status === 401 || status === 403)
    return error(
      "Refused",
      "there is no such repository, or it is private",
      `Check the name at ${page}. ${logIn}`,
    );
  if (code === "RevisionNotFound")
    return error("NotFound", "the repository has no such branch, tag or commit", `See ${page}/commits`);
  if (status === 404)
    return error(
      "NotFound",
      "there is no such repository, and no such folder here",
      `Check the name at ${page}`,
    );
  if (status >= 500 || status === 408 || status === 429)
    return error(
      "Unreachable",
      `${endpoint} cannot answer now`,
      "Try again later: what has been fetched is kept",
    );
  return error("Corrupt", `${endpoint} does not understand the question`, "Check HF_ENDPOINT");
}

function oddAnswer({ endpoint }: HubSettings, where: string, found: string): HubError {
  const problem = `${endpoint} says ${found}`;
  return new HubError({
    where,
    reason: "Corrupt",
    problem,
    remedy: "Check HF_ENDPOINT: this is not the Hub",
  });
}
