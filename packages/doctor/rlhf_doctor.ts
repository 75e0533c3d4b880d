#!/usr/bin/env node
/**
 * The command `rlhf-doctor`: self-tests of your own model and data in a minute.
 */
import { parseArgs } from "node:util";
import * as NodeRuntime from "@effect/platform-node/NodeRuntime";
import * as NodeServices from "@effect/platform-node/NodeServices";
import { key } from "@rlhf/core/random";
import { readDemonstrations, readRankings } from "@rlhf/data";
import { Backend, type BackendName } from "@rlhf/tensor";
import { loadTokenizer } from "@rlhf/tokenizer";
import { loadCheckpoint } from "@rlhf/transformer";
import * as Console from "effect/Console";
import * as Effect from "effect/Effect";
import { examine, pairsOf } from "./examine.ts";

const help = `rlhf-doctor --model FOLDER --data FILE [--backend auto|cuda|webgpu|native|wasm|cpu]

Tests a model with your data before a long run: special tokens, padding and batch, cache, speed and memory of
each phase, and whether 20 pairs can be learned by heart. Exit code 1 when a test fails.

  --model FOLDER   a checkpoint with its tokenizer.json: a folder, or a name on the Hugging Face Hub
  --data FILE      rankings or demonstrations, in any format that rlhf-data shows`;

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    data: { type: "string" },
    backend: { type: "string", default: "auto" },
    help: { type: "boolean" },
  },
});
const { model: folder, data, backend } = values;

if (values.help || folder === undefined || data === undefined) {
  console.log(help);
  process.exitCode = values.help ? 0 : 2;
} else {
  Effect.gen(function* () {
    const { name, reason } = yield* Backend;
    yield* Console.log(`backend ${name}: ${reason}\n`);
    const tokenizer = yield* loadTokenizer(folder);
    const model = yield* loadCheckpoint(folder, tokenizer);
    const rankings = yield* readRankings(data, { badShare: 1 }).pipe(
      Effect.catch(() => Effect.map(readDemonstrations(data, { badShare: 1 }), pairsOf)),
    );
    for (const { check, passed, found, remedy } of yield* examine({
      model,
      tokenizer,
      rankings,
      key: key(1),
    })) {
      yield* Console.log(`${passed ? "ok  " : "FAIL"}  ${check.padEnd(18)}  ${found}`);
      if (passed) continue;
      yield* Console.log(`${" ".repeat(26)}${remedy}`);
      process.exitCode = 1;
    }
  }).pipe(
    Effect.catch((error) => {
      process.exitCode = 1;
      return Console.error(error.message);
    }),
    Effect.provide(Backend.layer(backend as BackendName | "auto")),
    Effect.provide(NodeServices.layer),
    NodeRuntime.runMain,
  );
}
