/**
 * Reads, shuffles and batches a JSONL file of 2 GB (or of `--gigabytes N`) and prints throughput and peak memory.
 *
 *     npx tsx bench/data_stream.ts
 */
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { parseArgs } from "node:util";
import { fold, integers, key } from "@rlhf/core";
import { rebatch, shuffleData, streamData } from "@rlhf/data";
import { Effect, Stream } from "effect";

const { values } = parseArgs({ options: { gigabytes: { type: "string", default: "2" } } });
const folder = await mkdtemp(join(tmpdir(), "rlhf-bench-"));
let peak = 0;
const watch = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss());
}, 50);
try {
  const file = join(folder, "pairs.jsonl");
  await write(file, Number(values.gigabytes) * 1e9);
  const bytes = (await stat(file)).size;
  console.log(
    `${(bytes / 1e9).toFixed(2)} GB of pairs, ${(process.memoryUsage.rss() / 1e6).toFixed(0)} MB of memory before`,
  );
  await measure("read and validated", bytes, streamData(file, "rankings"));
  const shuffled = shuffleData(file, "rankings", { key: key(1), folder });
  await measure("read, validated, shuffled, in batches of 64", bytes, rebatch(shuffled, 64));
} finally {
  clearInterval(watch);
  await rm(folder, { recursive: true });
}

async function measure<A, E>(what: string, bytes: number, batches: Stream.Stream<ReadonlyArray<A>, E>) {
  peak = 0;
  const [started, processor] = [performance.now(), process.cpuUsage()];
  const count = await Effect.runPromise(
    Stream.runFold(
      batches,
      () => 0,
      (sum, batch) => sum + batch.length,
    ),
  );
  const seconds = (performance.now() - started) / 1000;
  const used = process.cpuUsage(processor);
  const core = (used.user + used.system) / 1e6;
  console.log(
    `${what}: ${count.toLocaleString("en")} records in ${seconds.toFixed(1)} s, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s ` +
      `(${(bytes / 1e6 / core).toFixed(0)} MB per second of processor time), peak memory ${(peak / 1e6).toFixed(0)} MB`,
  );
}

/** Pairs of about a kilobyte, as HH-RLHF's are, none like another. */
async function write(file: string, size: number) {
  const out = createWriteStream(file);
  const words = "the of a garden how why “quoted” river stone \\n\\n light makes seven often never".split(
    " ",
  );
  for (let written = 0, i = 0; written < size; i++) {
    const text = Array.from(integers(fold(key(2), i), 170, words.length), (word) => words[word]!).join(" ");
    const row = {
      prompt: `${i}: ${text.slice(0, 300)}`,
      chosen: text.slice(300, 700),
      rejected: text.slice(700),
    };
    const line = `${JSON.stringify(row)}\n`;
    written += Buffer.byteLength(line);
    if (!out.write(line)) await once(out, "drain");
  }
  out.end();
  await finished(out);
}
