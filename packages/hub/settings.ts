import * as Config from "effect/Config";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Path from "effect/Path";

/** How the Hub is reached and where its files are kept. */
export interface HubSettings {
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly cache: string;
  readonly offline: boolean;
}

/**
 * The settings of the environment, as Python's `huggingface_hub` reads them: `HF_ENDPOINT`; `HF_TOKEN`, or the file that
 * `hf auth login` writes; `HF_HUB_CACHE`, or `hub` in `HF_HOME`, which is `huggingface` in `XDG_CACHE_HOME` or
 * `~/.cache`; `HF_HUB_OFFLINE`.
 */
export const hubSettings = Effect.gen(function* () {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  // Asked for here, not imported: browsers import this file too.
  const { homedir } = process.getBuiltinModule("node:os");
  const inHome = (place: string) => (place.startsWith("~/") ? path.join(homedir(), place.slice(2)) : place);
  const caches = (yield* variable("XDG_CACHE_HOME")) ?? "~/.cache";
  const home = inHome((yield* variable("HF_HOME")) ?? path.join(caches, "huggingface"));
  const cache = (yield* variable("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")) ?? path.join(home, "hub");
  const tokenFile = inHome((yield* variable("HF_TOKEN_PATH")) ?? path.join(home, "token"));
  const loggedIn = Effect.orElseSucceed(files.readFileString(tokenFile), () => "");
  const token = (yield* variable("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")) ?? (yield* loggedIn);
  const offline = (yield* variable("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")) ?? "";
  const endpoint = (yield* variable("HF_ENDPOINT")) ?? "https://huggingface.co";
  return {
    endpoint: endpoint.replace(/\/+$/, ""),
    token: token.trim() || undefined,
    cache: inHome(cache),
    offline: ["1", "ON", "YES", "TRUE"].includes(offline.toUpperCase()),
  } satisfies HubSettings;
});

/** The first of the environment's variables that says something. */
const variable = Effect.fnUntraced(function* (...names: ReadonlyArray<string>) {
  for (const name of names) {
    const value = yield* Effect.orDie(Config.String(name).pipe(Config.withDefault("")));
    if (value !== "") return value;
  }
  return undefined;
});
