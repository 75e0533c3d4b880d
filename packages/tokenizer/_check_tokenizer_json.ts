import { InvalidInput, type Problem } from "@rlhf/core/errors";
import type { TokenizerJson } from "./tokenizer_json.ts";

/**
 * The value as a `tokenizer.json`. Parts and settings that are unknown here pass: they are the business of the library
 * that runs them.
 *
 * @throws InvalidInput with everything that is missing, of the wrong type or in contradiction.
 */
export function checkTokenizerJson(json: unknown, where: string): TokenizerJson {
  const problems: Array<Problem> = [];
  const expect = (holds: boolean, field: string, expected: string, found: unknown) => {
    if (!holds) {
      const problem = `${field}: expected ${expected}, found ${describe(found)}`;
      problems.push({ where, problem, remedy: "write the file again with the tool that made it" });
    }
    return holds;
  };
  const tokens = new Map<unknown, string>();
  const expectOwnId = (field: string, token: string, id: unknown) => {
    const name = `${field}[${JSON.stringify(token)}]`;
    if (!expect(Number.isInteger(id) && (id as number) >= 0, name, "an id of 0 or more", id)) return;
    const other = tokens.get(id) ?? token;
    expect(other === token, name, `an id other than that of ${JSON.stringify(other)}`, id);
    tokens.set(id, token);
  };
  const expectPart = (field: string, part: unknown): part is Record<string, unknown> =>
    expect(isObject(part) && typeof part.type === "string", field, "an object with a type", part);

  if (expect(isObject(json), "the file", "a JSON object", json) && isObject(json)) {
    for (const field of ["normalizer", "pre_tokenizer", "post_processor", "decoder"]) {
      if (json[field] !== null) expectPart(field, json[field]);
    }
    if (expectPart("model", json.model)) {
      const { type, vocab, merges } = json.model;
      expect(type === "BPE" || type === "WordPiece", "model.type", "BPE or WordPiece", type);
      if (expect(isObject(vocab), "model.vocab", "an object of token → id", vocab) && isObject(vocab)) {
        for (const [token, id] of Object.entries(vocab)) expectOwnId("model.vocab", token, id);
        if (type === "BPE" && expect(Array.isArray(merges), "model.merges", "a list of pairs", merges)) {
          for (const [rank, merge] of (merges as Array<unknown>).entries()) {
            expect(isMerge(merge, vocab), `model.merges[${rank}]`, "two tokens that join to one", merge);
          }
        }
      }
    }
    const added = json.added_tokens;
    if (expect(Array.isArray(added), "added_tokens", "a list", added)) {
      for (const [i, token] of (added as Array<unknown>).entries()) {
        if (isObject(token) && typeof token.content === "string" && token.content !== "")
          expectOwnId("added_tokens", token.content, token.id);
        else expect(false, `added_tokens[${i}]`, "an object with content and id", token);
      }
    }
  }
  if (problems.length > 0) throw new InvalidInput({ problems });
  return json as TokenizerJson;
}

function isMerge(merge: unknown, vocab: Readonly<Record<string, unknown>>): boolean {
  const pair = typeof merge === "string" ? merge.split(" ") : merge;
  return (
    Array.isArray(pair) &&
    pair.length === 2 &&
    [...pair, pair.join("")].every((token) => typeof token === "string" && Object.hasOwn(vocab, token))
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
