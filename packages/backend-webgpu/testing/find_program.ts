import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The first of these programs that this machine has, or the one that the environment's variable names; says so where there is none. */
export function findProgram(
  names: ReadonlyArray<string>,
  variable: string,
  remedy: string,
): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const places = folders.flatMap((folder) => names.map((name) => join(folder, name)));
  const found = [process.env[variable] ?? "", ...places].find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return path !== "";
    } catch {
      return false;
    }
  });
  if (found === undefined) {
    console.warn(`Skipped, no ${names[0]}: ${remedy}, or name one in the variable ${variable}.`);
  }
  return found;
}
