import type { Tokenizer } from "@rlhf/tokenizer";
import type { Model } from "@rlhf/transformer";
import type { Config } from "./config.ts";
import type { PipelineData } from "./data.ts";
import type { EncodedData } from "./encode.ts";

/** What a run starts from, complete and checked. */
export interface Setting {
  readonly config: Config;
  readonly data: PipelineData;
  readonly tokenizer: Tokenizer;
  readonly encoded: EncodedData;
  /** The language model to start from: freshly initialised, or `--base`. */
  readonly base: Model;
}
