import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A repository: what its branches, tags and commits hold. */
export interface LocalRepository {
  readonly files: Readonly<Record<string, Uint8Array | string>>;
  /** Branch or tag → commit; `main` unless given. */
  readonly revisions?: Readonly<Record<string, string>>;
  /** Readable with this token only. */
  readonly token?: string;
  /** Refuses everybody until they accept its terms. */
  readonly gated?: boolean;
}

/** What goes wrong with the bytes of a file: how many are sent before the connection breaks, or other bytes. */
export type Fault = { readonly breakAfter: number } | { readonly send: Uint8Array };

export interface LocalHub {
  readonly url: string;
  /** Method-less: paths with the range that was asked for. */
  readonly requests: Array<string>;
  /** Faults of the coming downloads of file bytes; when they are used up, all goes well. */
  readonly faults: Array<Fault>;
  readonly repositories: Record<string, LocalRepository>;
  readonly close: () => Promise<void>;
}

export const firstCommit = "1".repeat(40);
/** Larger files are kept outside git and known by their sha256, as those in git-lfs or xet are. */
const largeFrom = 1000;

/** A server that answers as huggingface.co does, as far as fetching a checkpoint goes. */
export async function startLocalHub(repositories: Record<string, LocalRepository>): Promise<LocalHub> {
  const requests: Array<string> = [];
  const faults: Array<Fault> = [];
  const server = createServer((request, response) => {
    const range = request.headers.range;
    requests.push(`${request.url!.split("?")[0]}${range === undefined ? "" : ` ${range}`}`);
    answer({ repositories, faults }, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    faults,
    repositories,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

type State = Pick<LocalHub, "repositories" | "faults">;

function answer({ repositories, faults }: State, request: IncomingMessage, response: ServerResponse) {
  const refuse = (status: number, code: string, message: string) => {
    response.writeHead(status, { "X-Error-Code": code, "X-Error-Message": message }).end();
  };
  const json = (value: unknown) => {
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(value));
  };
  const path = decodeURIComponent(request.url!.split("?")[0]!);
  const stored = /^\/stored\/([0-9a-f]{64})$/.exec(path);
  if (stored !== null) {
    const all = Object.values(repositories).flatMap(({ files }) => Object.values(files).map(bytesOf));
    return sendBytes(faults, request, response, all.find((bytes) => sha256(bytes) === stored[1])!);
  }
  const asked =
    /^\/api\/models\/(?<name>[^/]+\/[^/]+)\/(?<what>revision|tree)\/(?<revision>.+)$/.exec(path) ??
    /^\/(?<name>[^/]+\/[^/]+)\/(?<what>resolve)\/(?<revision>[^/]+)\/(?<file>.+)$/.exec(path);
  const { name = "", what, revision = "", file = "" } = asked?.groups ?? {};
  const repository = repositories[name];
  if (repository === undefined) return refuse(401, "RepoNotFound", "Invalid username or password.");
  const { files, token, gated = false, revisions = { main: firstCommit } } = repository;
  if (gated) return refuse(403, "GatedRepo", `Access to model ${name} is restricted`);
  if (token !== undefined && request.headers.authorization !== `Bearer ${token}`)
    return refuse(401, "RepoNotFound", "Invalid username or password.");
  const commit = Object.values(revisions).includes(revision) ? revision : revisions[revision];
  if (commit === undefined) return refuse(404, "RevisionNotFound", `Invalid rev id: ${revision}`);
  if (what === "revision") return json({ _id: "1", id: name, sha: commit, lastModified: "2026-01-01" });
  if (what === "tree")
    return json(Object.entries(files).map(([path, content]) => entry(path, bytesOf(content))));
  const bytes = files[file] === undefined ? undefined : bytesOf(files[file]);
  if (bytes === undefined) return refuse(404, "EntryNotFound", "Entry not found");
  if (bytes.length < largeFrom) return sendBytes(faults, request, response, bytes);
  const hash = sha256(bytes);
  response
    .writeHead(302, {
      Location: `/stored/${hash}`,
      "X-Linked-Size": bytes.length,
      "X-Linked-ETag": `"${hash}"`,
    })
    .end();
}

function sendBytes(
  faults: Array<Fault>,
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Uint8Array,
): void {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  const [begin, end] = [Number(first ?? 0), Math.min(Number(last ?? bytes.length) + 1, bytes.length)];
  const isProbe = last === "0";
  const fault = isProbe ? undefined : faults.shift();
  const sent = fault !== undefined && "send" in fault ? fault.send : bytes;
  if (first !== undefined)
    response.writeHead(206, {
      "Content-Range": `bytes ${begin}-${end - 1}/${bytes.length}`,
      "Content-Length": end - begin,
      ETag: `"${hashOf(bytes)}"`,
    });
  else response.writeHead(200, { "Content-Length": bytes.length, ETag: `"${hashOf(bytes)}"` });
  if (fault === undefined || !("breakAfter" in fault)) {
    response.end(sent.subarray(begin, end));
    return;
  }
  response.write(sent.subarray(begin, begin + fault.breakAfter), () =>
    // What has been written must have left before the line is cut.
    setTimeout(() => response.destroy(), 20),
  );
}

function entry(path: string, bytes: Uint8Array) {
  const large = bytes.length >= largeFrom;
  const oid = gitHash(bytes);
  const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 130 };
  return { type: "file", path, size: bytes.length, oid, ...(large && { lfs }) };
}

function bytesOf(content: Uint8Array | string): Uint8Array {
  return typeof content === "string" ? new TextEncoder().encode(content) : content;
}

function hashOf(bytes: Uint8Array): string {
  return bytes.length < largeFrom ? gitHash(bytes) : sha256(bytes);
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function gitHash(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}
