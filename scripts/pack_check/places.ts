import { tmpdir } from "node:os";
import { join } from "node:path";

export const root = join(import.meta.dirname, "../..");

/** What is downloaded or packed here is kept between runs. */
export const cache = join(root, "node_modules/.cache/pack_check");

/** Where a package is installed for a runtime: below no other node_modules. */
export const installedAt = (runtime: string, name: string): string =>
  join(tmpdir(), "rlhf-pack-check", runtime.replace(" ", "").toLowerCase(), name);
