import { type Key, shuffled } from "@rlhf/core/random";

export interface SplitOptions<Record> {
  /** What may not be on two sides, such as the author or the prompt. */
  readonly group: (record: Record) => string;
  /** Shares of the records, from 0 to 1; the rest is for training. */
  readonly validation: number;
  readonly test?: number;
  readonly key: Key;
}

export interface Split<Record> {
  readonly train: Array<Record>;
  readonly validation: Array<Record>;
  readonly test: Array<Record>;
}

/**
 * Splits records so that all of a group are on one side, as InstructGPT split its prompts by author (Ouyang et al.
 * 2022, section 3.2). Groups in random order fill the test and then the validation set until each has its share; the
 * order of the records does not matter to which group goes where.
 *
 * @throws RangeError when the shares leave nothing to train on.
 */
export function splitByGroup<Record>(
  records: ReadonlyArray<Record>,
  options: SplitOptions<Record>,
): Split<Record> {
  const { group, validation, test = 0, key } = options;
  if (!(validation >= 0 && test >= 0 && validation + test < 1))
    throw new RangeError(
      `Cannot split: validation and test must be shares that add up to less than 1, got ${validation} and ${test}`,
    );
  const sizes = new Map<string, number>();
  for (const record of records) sizes.set(group(record), (sizes.get(group(record)) ?? 0) + 1);

  const sideOf = new Map<string, keyof Split<Record>>();
  const room = { test: test * records.length, validation: validation * records.length };
  for (const name of shuffled(key, [...sizes.keys()].sort())) {
    const side = room.test > 0 ? "test" : room.validation > 0 ? "validation" : "train";
    if (side !== "train") room[side] -= sizes.get(name)!;
    sideOf.set(name, side);
  }
  const split: Split<Record> = { train: [], validation: [], test: [] };
  for (const record of records) split[sideOf.get(group(record))!].push(record);
  if (split.train.length === 0)
    throw new RangeError(
      `Cannot split: more groups are required, got ${sizes.size}, none of which is left to train on`,
    );
  return split;
}
