import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type LocalHub, startLocalHub } from "../packages/hub/testing/local_hub.ts";
import { blocksOfComments, blocksOfPage, codeBlocks, type Program, programs } from "./code_blocks.ts";
import { commandsOf, foreignPrograms, problemOf } from "./shell_commands.ts";

const root = process.cwd();
const blocks = codeBlocks(root);
const shown = programs(blocks);
const folder = mkdtempSync(join(tmpdir(), "rlhf-code-"));
const placeOf = ({ file, line, language }: Program) => join(folder, "code", `${file}_${line}.${language}`);

/** Programs that do not run everywhere: what they need, and whether it is here. */
const needs: Readonly<Record<string, { readonly what: string; readonly here: () => boolean }>> = {
  "packages/backend-cuda/README.md": { what: "an NVIDIA GPU", here: () => existsSync("/dev/nvidiactl") },
  "packages/backend-native/README.md": {
    what: "the addon, which a C++17 compiler builds",
    here: () =>
      ["build/Release", "prebuilds"].some((name) => existsSync(join(root, "packages/backend-native", name))),
  },
};

/** What the programs read; they find it where they run. */
const files: Readonly<Record<string, string>> = {
  "TruthfulQA.csv": "Question,Best Answer\nWhat is red?,A colour.\n",
  "pairs.jsonl": '{"prompt": "What is red?", "chosen": " A colour.", "rejected": " A day."}\n'.repeat(100),
};

/** The checkpoints that they find on the Hugging Face Hub, which is not asked. */
const repositories = { "openai-community/gpt2": { files: { "config.json": "{}" } } };
let hub: LocalHub;

/** A folder in which every package of ours is installed with all that it needs. */
beforeAll(async () => {
  hub = await startLocalHub(repositories);
  vi.stubEnv("HF_ENDPOINT", hub.url);
  vi.stubEnv("HF_HUB_CACHE", join(folder, "hub"));
  const parents = ["packages", "examples"].flatMap((group) =>
    readdirSync(join(root, group)).map((name) => join(root, group, name)),
  );
  for (const parent of parents) {
    link(parent, join("@rlhf", parent.split("/").at(-1)!));
    const installed = join(parent, "node_modules");
    if (!existsSync(installed)) continue;
    for (const name of readdirSync(installed)) {
      if (name.startsWith(".")) continue;
      const inScope = name.startsWith("@") ? readdirSync(join(installed, name)) : undefined;
      for (const path of inScope?.map((inner) => join(name, inner)) ?? [name])
        link(join(installed, path), path);
    }
  }
  link(join(root, "node_modules/@types/node"), "@types/node");
  for (const program of shown) {
    mkdirSync(dirname(placeOf(program)), { recursive: true });
    writeFileSync(placeOf(program), `${program.source}\nexport {};\n`);
  }
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  const compilerOptions = { noEmit: true, allowJs: true, checkJs: true };
  const settings = { extends: join(root, "tsconfig.base.json"), compilerOptions, include: ["code"] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(settings));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  process.chdir(folder);
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await hub.close();
  process.chdir(root);
  rmSync(folder, { recursive: true, force: true });
});

function link(target: string, name: string): void {
  const path = join(folder, "node_modules", name);
  mkdirSync(dirname(path), { recursive: true });
  if (!existsSync(path)) symlinkSync(target, path);
}

it("knows the language of every block", () => {
  const unknown = blocks.filter(({ language }) => !["ts", "js", "sh", ""].includes(language));
  expect(unknown.map(({ file, line, language }) => `${file}:${line}: ${language}`)).toEqual([]);
});

it("type-checks what is shown", async () => {
  const tsc = join(root, "node_modules/.bin/tsc");
  const problems = await promisify(execFile)(tsc, ["-p", folder]).then(
    () => "",
    ({ stdout }: { stdout: string }) => stdout,
  );
  // The line of the copy is the line of the page.
  expect(problems.replaceAll(/(\S+)_\d+\.[tj]s\(/g, "$1(")).toBe("");
});

describe("runs what is shown", () => {
  for (const program of shown) {
    const need = needs[program.file];
    const name = `${program.file}:${program.line}${need === undefined ? "" : ` (needs ${need.what})`}`;
    it.skipIf(need?.here() === false)(name, async () => {
      vi.spyOn(console, "log").mockReturnValue(undefined);
      vi.spyOn(process.stdout, "write").mockReturnValue(true);
      await import(placeOf(program)).finally(() => vi.restoreAllMocks());
    });
  }
});

describe.concurrent("names commands, scripts, packages and flags that are there", () => {
  for (const block of blocks.filter(({ language }) => language === "sh")) {
    it(`${block.file}:${block.line}`, async () => {
      for (const words of commandsOf(block)) {
        expect(await problemOf(words, block.file, root), words.join(" ")).toBeUndefined();
      }
    });
  }
});

describe("leaves out commands of others", () => {
  for (const [program, reason] of Object.entries(foreignPrograms)) it.skip(`${program}: ${reason}`);
});

describe("finding blocks", () => {
  it("takes fences of pages, with the number of their first line", () => {
    const page = "Text\n\n```ts\nimport a;\n\nb;\n```\n\n- item\n  ```sh\n  npm test\n  ```\n";
    expect(blocksOfPage("x.md", page)).toEqual([
      { file: "x.md", line: 4, language: "ts", code: "import a;\n\nb;" },
      { file: "x.md", line: 11, language: "sh", code: "npm test" },
    ]);
    expect(blocksOfPage("x.md", "<!-- ts\na;\n-->\n<!-- b -->\n")).toEqual([
      { file: "x.md", line: 2, language: "ts", code: "a;" },
    ]);
    expect(() => blocksOfPage("x.md", "```ts\nb;")).toThrow("x.md:1: the fence is not closed");
  });

  it("takes fences and commands of doc comments", () => {
    const source =
      "const a = 1;\n/**\n * Adds.\n *\n *     npx tsx x.ts\n *\n * @example\n * ```ts\n * import a;\n *   b;\n * ```\n */\n";
    expect(blocksOfComments("x.ts", source)).toEqual([
      { file: "x.ts", line: 9, language: "ts", code: "import a;\n  b;" },
      { file: "x.ts", line: 5, language: "sh", code: "npx tsx x.ts" },
    ]);
    expect(() => blocksOfComments("x.ts", "/**\n * @example\n * add(1)\n */")).toThrow("x.ts:2: write the");
  });

  it("makes one program of a block with imports and those that follow without", () => {
    const page = "```ts\nimport a;\n```\n\n```ts\nb;\n```\n\n```ts\nimport c;\n```\n";
    expect(programs(blocksOfPage("x.md", page)).map(({ line, source }) => ({ line, source }))).toEqual([
      { line: 2, source: "\nimport a;\n\n\n\nb;" },
      { line: 10, source: `${"\n".repeat(9)}import c;` },
    ]);
  });
});

it("tells what is wrong with a command", async () => {
  const problem = (command: string) => problemOf(command.split(" "), "README.md", root);
  expect(await problem("npm run nothing")).toContain("no script nothing");
  expect(await problem("npm i @rlhf/nothing")).toContain("no package @rlhf/nothing");
  expect(await problem("npm i @rlhf/kl @rlhf/tensor")).toContain("needs effect");
  expect(await problem("npx tsx nothing.ts")).toContain("no file nothing.ts");
  expect(await problem("npx rlhf-nothing")).toContain("no package has the command");
  expect(await problem("npx rlhf-data show x --nothing")).toContain("does not know --nothing");
  expect(await problem("npm start -- --nothing")).toContain("does not know --nothing");
  expect(await problem("curl x")).toContain("not known");
});
