import type { SchemaAST } from "effect";
import { Config } from "./config.ts";
import type { Fields } from "./flags.ts";
import { presets } from "./presets.ts";

/** All flags with their values in the chosen preset and what they mean. */
export function helpText(preset: string): string {
  const lines = flagLines(presets[preset]!, Config.ast, "");
  const width = Math.max(...lines.map(([flag]) => flag.length));
  return [
    "InstructGPT end to end: pretraining, SFT, reward model, PPO-ptx, evaluation.",
    "",
    "  npm start -- --preset smoke --seed 2",
    "",
    `  ${"--preset".padEnd(width)}  one of ${Object.keys(presets).join(", ")}; the values below are those of ${preset}`,
    `  ${"--resume".padEnd(width)}  goes on with the last run of this preset and seed, or with the one in --run`,
    ...lines.map(([flag, meaning]) => `  ${flag.padEnd(width)}  ${meaning}`),
  ].join("\n");
}

function flagLines(fields: Fields, ast: SchemaAST.AST, prefix: string): Array<[string, string]> {
  return Object.entries(fields).flatMap(([name, value]) => {
    const field = propertyOf(ast, name);
    if (typeof value === "object" && value !== null) {
      return flagLines(value, field ?? ast, `${prefix}${name}.`);
    }
    const meaning = field === undefined ? "" : descriptionOf(field);
    return [[`--${prefix}${name} ${value ?? "…"}`, meaning]];
  });
}

function propertyOf(ast: SchemaAST.AST, name: string): SchemaAST.AST | undefined {
  return ast._tag === "Objects"
    ? ast.propertySignatures.find((field) => field.name === name)?.type
    : undefined;
}

function descriptionOf(ast: SchemaAST.AST): string {
  // What annotates a schema with checks stands on the last of them.
  const description = (ast.checks?.at(-1) ?? ast).annotations?.description;
  return typeof description === "string" ? description : "";
}
