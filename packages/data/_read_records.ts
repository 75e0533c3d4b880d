import { decodeRows, type Format, rowRemedy } from "./_format.ts";
import { type Reading, type Readings, readFiles, type TextFile } from "./_read_text.ts";
import { readRows } from "./_rows.ts";

/** Reads the records of a file or folder of JSON rows, in whichever of the formats they are. */
export function readRecords<Record>(path: string, formats: ReadonlyArray<Format<Record>>): Reading<Record> {
  return readFiles(path, (file) => decodeFile(file, formats));
}

/** The records of one file of JSON rows. Broken rows do not hide what is wrong with the others. */
export function decodeFile<Record>(file: TextFile, formats: ReadonlyArray<Format<Record>>): Readings<Record> {
  const refuse = (problem: string): Readings<Record> => ({
    values: [],
    problems: [{ where: file.file, problem, remedy: rowRemedy(formats) }],
  });
  if (!/^\s*[[{]/m.test(file.text)) {
    const found = file.text.trim().split("\n", 1)[0]!.slice(0, 60);
    return refuse(`expected rows of JSON, found ${JSON.stringify(found)}`);
  }
  const rows = readRows(file);
  return rows.length === 0 ? refuse("the file has no rows") : decodeRows(rows, formats);
}
