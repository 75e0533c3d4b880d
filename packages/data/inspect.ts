import { createHash } from "node:crypto";
import { fold, integers, key } from "@rlhf/core/random";
import type { Demonstration, LabeledResponse, Ranking } from "@rlhf/core/records";
import { NearDuplicates } from "./_near_duplicates.ts";
import type { Conversation } from "./messages.ts";

/** Any record that a reader gives. */
export type AnyRecord = string | Demonstration | Ranking | LabeledResponse | Conversation;

/** Lengths of one part of the records. */
export interface Lengths {
  readonly part: string;
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
}

/** A record of the evaluation, and how much of its nearest training record it shares. */
export interface NearDuplicate {
  readonly evaluation: string;
  readonly training: string;
  readonly similarity: number;
}

export interface Inspection {
  readonly records: number;
  readonly lengths: ReadonlyArray<Lengths>;
  /** Records that say the same as an earlier one, to the letter. */
  readonly duplicates: number;
  readonly nearDuplicates: ReadonlyArray<NearDuplicate>;
  /** How often each label occurs: good and bad, which response is best, how many responses there are. */
  readonly balance: Readonly<Record<string, number>>;
  /** Three records, drawn at random. */
  readonly samples: ReadonlyArray<AnyRecord>;
}

export interface InspectorOptions {
  /** The length of a text, in tokens. */
  readonly count: (text: string) => number;
  /** Records that will be measured with; none should be near to one that is trained on. */
  readonly evaluation?: ReadonlyArray<AnyRecord>;
}

const sampleCount = 3;

/**
 * Gathers what there is to know about records before training on them, batch by batch. A prompt (or text) of the
 * evaluation is a near duplicate when its set of word triples and that of a training record have 0.7 or more in common
 * (Jaccard), found by MinHash (Broder 1997).
 */
export class Inspector {
  private readonly count: (text: string) => number;
  private readonly evaluation: NearDuplicates;
  private readonly nearest = new Map<string, NearDuplicate>();
  private readonly lengths = new Map<string, Array<number>>();
  private readonly seen = new Set<string>();
  private readonly balance: Record<string, number> = {};
  private readonly samples: Array<AnyRecord> = [];
  private records = 0;

  constructor({ count, evaluation = [] }: InspectorOptions) {
    this.count = count;
    this.evaluation = new NearDuplicates(0.7);
    for (const record of evaluation) this.evaluation.add(promptOf(record));
  }

  add(batch: ReadonlyArray<AnyRecord>): void {
    for (const record of batch) {
      for (const [part, text] of partsOf(record)) {
        const lengths = this.lengths.get(part) ?? [];
        this.lengths.set(part, lengths);
        lengths.push(this.count(text));
      }
      this.seen.add(createHash("sha1").update(JSON.stringify(record)).digest("base64"));
      for (const label of labelsOf(record)) this.balance[label] = (this.balance[label] ?? 0) + 1;
      this.compare(promptOf(record));
      this.sample(record);
    }
  }

  result(): Inspection {
    return {
      records: this.records,
      lengths: Array.from(this.lengths, ([part, values]) => quantiles(part, values)),
      duplicates: this.records - this.seen.size,
      nearDuplicates: [...this.nearest.values()],
      balance: this.balance,
      samples: this.samples,
    };
  }

  private compare(training: string): void {
    for (const { text, similarity } of this.evaluation.near(training)) {
      if (similarity > (this.nearest.get(text)?.similarity ?? 0)) {
        this.nearest.set(text, { evaluation: text, training, similarity });
      }
    }
  }

  /** Reservoir sampling: every record is as likely to stay as any other. */
  private sample(record: AnyRecord): void {
    const [place] = integers(fold(key(0), this.records), 1, ++this.records);
    if (this.samples.length < sampleCount) this.samples.push(record);
    else if (place! < sampleCount) this.samples[place!] = record;
  }
}

function quantiles(part: string, values: ReadonlyArray<number>): Lengths {
  const sorted = Int32Array.from(values).sort();
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!;
  return { part, count: sorted.length, p50: at(0.5), p95: at(0.95), max: sorted.at(-1)! };
}

/** The texts of a record, each with the name of its part. */
function partsOf(record: AnyRecord): ReadonlyArray<readonly [part: string, text: string]> {
  if (typeof record === "string") return [["text", record]];
  if ("messages" in record) return record.messages.map(({ role, content }) => [role, content] as const);
  const responses = "responses" in record ? record.responses : [record.response];
  return [["prompt", record.prompt], ...responses.map((response) => ["response", response] as const)];
}

function promptOf(record: AnyRecord): string {
  return partsOf(record)
    .filter(([part]) => part === "text" || part === "prompt" || part === "user")
    .map(([, text]) => text)
    .join("\n");
}

function labelsOf(record: AnyRecord): ReadonlyArray<string> {
  if (typeof record === "string" || "messages" in record) return [];
  if ("desirable" in record) return [record.desirable ? "good" : "bad"];
  if (!("ranks" in record)) return [];
  const { ranks } = record;
  const best = Math.min(...ranks);
  const winners = ranks.filter((rank) => rank === best).length;
  return [
    `${ranks.length} responses`,
    winners > 1 ? "tie for the best" : `response ${ranks.indexOf(best) + 1} is best`,
  ];
}
