import type { Value } from "../_value.ts";
import { type Format, has } from "../format.ts";

const human = "\n\nHuman:";
const assistant = "\n\nAssistant:";

/**
 * Transcripts of Anthropic's HH-RLHF (Bai et al. 2022, arXiv:2204.05862). The prompt is what both share up to the
 * assistant's last turn in common, word for word; where they diverge before the last turn, the responses hold turns of
 * the person too.
 */
export const hh: Format = {
  name: "hh-rlhf",
  example: '{"chosen": "\\n\\nHuman: …\\n\\nAssistant: …", "rejected": …}',
  recognizes: has("chosen", "rejected"),
  reads: {
    rankings: (row) => {
      const [chosen, rejected] = [transcript(row.field("chosen")), transcript(row.field("rejected"))];
      const prompt = sharedPrompt(chosen, rejected);
      if (chosen !== "" && rejected !== "" && prompt === "") {
        row.field("rejected").refuse("the same first question as in chosen");
      }
      return [
        { prompt, responses: [chosen.slice(prompt.length), rejected.slice(prompt.length)], ranks: [1, 2] },
      ];
    },
    demonstrations: (row) => {
      const chosen = transcript(row.field("chosen"));
      const end = chosen.lastIndexOf(assistant) + assistant.length;
      return [{ prompt: chosen.slice(0, end), response: chosen.slice(end) }];
    },
  },
};

/** Whether a response goes on into further turns: its pair diverged before the last one. */
export function holdsTurns(response: string): boolean {
  return response.includes(human);
}

function transcript(value: Value): string {
  const text = value.textOrEmpty();
  if (typeof value.found !== "string") return "";
  if (text.startsWith(human) && text.includes(assistant)) return text;
  value.refuse(`a transcript with ${JSON.stringify(human)} and ${JSON.stringify(assistant)}`);
  return "";
}

/** What both transcripts begin with, up to the last turn of the assistant that they share. */
function sharedPrompt(chosen: string, rejected: string): string {
  let same = 0;
  while (same < chosen.length && chosen[same] === rejected[same]) same++;
  const turn = chosen.slice(0, same).lastIndexOf(assistant);
  return turn < 0 ? "" : chosen.slice(0, turn + assistant.length);
}
