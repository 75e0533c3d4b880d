import { readdir, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { Unreadable, unreadable } from "./_bytes.ts";

/**
 * A file, or all files of a folder and its subfolders in order of their names; those that start with a dot are skipped.
 *
 * @throws Unreadable when there is none
 */
export async function listFiles(path: string): Promise<ReadonlyArray<string>> {
  try {
    if (!(await stat(path)).isDirectory()) return [path];
    const entries = await readdir(path, { recursive: true });
    const names = entries.filter((name) => !name.split(sep).some((part) => part.startsWith("."))).sort();
    const files: Array<string> = [];
    for (const name of names) {
      const file = join(path, name);
      if ((await stat(file)).isFile()) files.push(file);
    }
    if (files.length > 0) return files;
  } catch (error) {
    throw unreadable(error);
  }
  throw new Unreadable("the folder has no files", "put the data into it or name another folder");
}
