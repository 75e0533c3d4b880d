/** Writes a randomly initialised model as a checkpoint, for both sides to open. */
import * as NodeServices from "@effect/platform-node/NodeServices";
import { key } from "@rlhf/core/random";
import { useBackend } from "@rlhf/tensor/backend";
import { saveCheckpoint } from "@rlhf/transformer/checkpoint";
import type { TransformerConfig } from "@rlhf/transformer/config";
import { initModel } from "@rlhf/transformer/init";
import * as Effect from "effect/Effect";

const [folder, shape] = process.argv.slice(2) as [string, string];
const config = { architecture: "gpt2", ...JSON.parse(shape) } as TransformerConfig;
await useBackend("cpu");
await Effect.runPromise(
  Effect.provide(saveCheckpoint(folder, initModel(config, key(1))), NodeServices.layer),
);
