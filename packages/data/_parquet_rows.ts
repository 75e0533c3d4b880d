import { type AsyncBuffer, asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { Unreadable } from "./_bytes.ts";
import type { SourceRow } from "./_rows.ts";

const magic = "PAR1";
const batchRows = 1000;

export function isParquet(head: Buffer): boolean {
  return head.toString("latin1") === magic;
}

/** The rows of a Parquet file, a thousand at a time; a row's number stands for its line. */
export async function* readParquet(path: string): AsyncGenerator<ReadonlyArray<SourceRow>> {
  try {
    const file = await asyncBufferFromFile(path);
    await checkEnd(file);
    const metadata = await parquetMetadataAsync(file);
    const count = Number(metadata.num_rows);
    const bytes = count === 0 ? 0 : file.byteLength / count;
    for (let rowStart = 0; rowStart < count; rowStart += batchRows) {
      const rowEnd = Math.min(count, rowStart + batchRows);
      const rows = await parquetReadObjects({ file, metadata, compressors, rowStart, rowEnd });
      yield rows.map((value, i) => ({ at: rowStart + i + 1, value: plain(value), bytes }));
    }
  } catch (error) {
    if (error instanceof Unreadable) throw error;
    throw new Unreadable(
      `the Parquet file cannot be read: ${(error as Error).message}`,
      "copy it again from its source",
    );
  }
}

/** The index of a Parquet file is at its end, so a file that is cut short has lost it. */
async function checkEnd(file: AsyncBuffer): Promise<void> {
  const end = Buffer.from(await file.slice(Math.max(0, file.byteLength - magic.length), file.byteLength));
  if (!isParquet(end)) {
    throw new Unreadable(
      "the Parquet file is cut short: its end is missing",
      "copy it again from its source",
    );
  }
}

/** Values as JSON has them: whole numbers of 64 bits as numbers, and no field for a missing value. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null || value.constructor !== Object) return value;
  const fields = Object.entries(value).filter(([, field]) => field !== null && field !== undefined);
  return Object.fromEntries(fields.map(([name, field]) => [name, plain(field)]));
}
