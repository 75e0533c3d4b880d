import { blocksOfPage, programs } from "../code_blocks.ts";
import { commandsOf } from "../shell_commands.ts";

/** The packages that a README tells people to install. */
export function installedTogether(readme: string): ReadonlyArray<string> {
  const shell = blocksOfPage("README.md", readme).find(({ language }) => language === "sh");
  const [npm, install, ...names] = shell === undefined ? [] : commandsOf(shell)[0]!;
  if (npm !== "npm" || !["i", "install"].includes(install!))
    throw new Error(`The README's first command must be npm i …, got: ${shell?.code}`);
  return names;
}

/** The README's first example, in TypeScript, without those that go on with it: they may need files. */
export function exampleOf(readme: string): string {
  const example = blocksOfPage("README.md", readme).find(({ language }) => language === "ts");
  if (example === undefined) throw new Error("The README has no example");
  return programs([example])[0]!.source;
}
