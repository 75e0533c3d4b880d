import { decodeRows, type Format } from "./_format.ts";
import { type Reading, type Readings, readFiles, type TextFile } from "./_read_text.ts";
import { readRows } from "./_rows.ts";

/** Reads the records of a file or folder of JSON rows, in whichever of the formats they are. */
export function readRecords<Record>(path: string, formats: ReadonlyArray<Format<Record>>): Reading<Record> {
  return readFiles(path, (file) => decodeFile(file, formats));
}

/** The records of one file of JSON rows. Broken rows do not hide what is wrong with the others. */
export function decodeFile<Record>(file: TextFile, formats: ReadonlyArray<Format<Record>>): Readings<Record> {
  const remedy = `write JSON rows that look like ${formats.map(({ example }) => example).join(" or ")}`;
  if (!/^\s*[[{]/m.test(file.text)) {
    const found = file.text.trim().split("\n", 1)[0]!.slice(0, 60);
    return {
      values: [],
      problems: [{ where: file.file, problem: `expected JSON rows, found ${JSON.stringify(found)}`, remedy }],
    };
  }
  const rows = readRows(file);
  if (rows.values.length === 0) {
    const none = { where: file.file, problem: "the file has no rows", remedy };
    return { values: [], problems: rows.problems.length > 0 ? rows.problems : [none] };
  }
  const records = decodeRows(rows.values, formats);
  return { values: records.values, problems: [...rows.problems, ...records.problems] };
}
