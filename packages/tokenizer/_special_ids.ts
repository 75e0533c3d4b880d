import { InvalidInput, type Problem } from "@rlhf/core/errors";
import type { SpecialTokens } from "./special_tokens.ts";
import type { SpecialIds } from "./tokenizer.ts";

export const specialRoles = ["eos", "pad", "bos", "mask"] as const satisfies ReadonlyArray<
  keyof SpecialTokens
>;

/** What published tokenizers call the tokens with a role, the commonest name first. */
const customaryNames = {
  eos: ["<|endoftext|>", "</s>", "<|eot_id|>", "<|im_end|>", "<|end_of_text|>", "<eos>"],
  pad: ["<|pad|>", "<pad>", "[PAD]", "<|padding|>", "<|finetune_right_pad_id|>"],
  bos: ["<|startoftext|>", "<s>", "<|begin_of_text|>", "<bos>"],
  mask: ["<|mask|>", "<mask>", "[MASK]"],
};

/** The token that plays a role: the one that is named, else the first customary name that the vocabulary has. */
export function roleToken(
  role: keyof typeof customaryNames,
  given: Partial<SpecialTokens>,
  isToken: (token: string) => boolean,
): string | undefined {
  return given[role] ?? customaryNames[role].find(isToken);
}

/**
 * The ids of the tokens that `given` names, for the roles it leaves out those of the customary names.
 *
 * @throws InvalidInput when eos or pad is missing, a named token is unknown, or pad is eos.
 */
export function specialIds(
  given: Partial<SpecialTokens>,
  idOf: (token: string) => number | undefined,
  where: string,
): SpecialIds {
  const problems: Array<Problem> = [];
  const ids: { -readonly [Role in keyof SpecialIds]?: number } = {};
  for (const role of specialRoles) {
    const names = customaryNames[role];
    const token = roleToken(role, given, (name) => idOf(name) !== undefined);
    const id = token === undefined ? undefined : idOf(token);
    if (id !== undefined) ids[role] = id;
    else if (token !== undefined) {
      problems.push({
        where,
        problem: `the ${role} token ${JSON.stringify(token)} is not in the vocabulary`,
        remedy: `name one that is, or add it with addSpecialTokens(json, [${JSON.stringify(token)}])`,
      });
    } else if (role === "eos" || role === "pad") {
      problems.push({
        where,
        problem: `no ${role} token: the vocabulary has none of ${names.join(" ")}`,
        remedy: `name it with specialTokens: { ${role}: "…" }, or add one with addSpecialTokens(json, ["${names[0]}"])`,
      });
    }
  }
  if (ids.eos !== undefined && ids.eos === ids.pad) {
    problems.push({ where, problem: "the pad token is the eos token", remedy: padRemedy });
  }
  if (problems.length > 0) throw new InvalidInput({ problems });
  return ids as SpecialIds;
}

/** PAD = EOS is refused: masking the padding would mask the end of every response too. */
export const padRemedy =
  'give padding a token of its own: addPad: true when loading, or addSpecialTokens(json, ["<|pad|>"]) and specialTokens: { pad: "<|pad|>" }';
