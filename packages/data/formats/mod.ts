import type { Format } from "../format.ts";
import { chat, shareGpt } from "./conversations.ts";
import { hh } from "./hh.ts";
import { labeled } from "./labels.ts";
import { oasstMessages, oasstTrees } from "./oasst.ts";
import { alpaca, dolly, promptAndResponse, seedTasks } from "./pairs.ts";
import {
  alpacaEval,
  bestOfFour,
  chatPair,
  openAiPreference,
  pair,
  ranked,
  shareGptPair,
  tldr,
} from "./preferences.ts";
import { scoredAnswer, scoredAnswers, ultraFeedback } from "./scores.ts";
import { textRows } from "./text.ts";

/** All formats; where a row could be of several, the first of them that has what is asked for. */
export const formats: ReadonlyArray<Format> = [
  ranked,
  scoredAnswers,
  pair,
  shareGptPair,
  openAiPreference,
  alpacaEval,
  tldr,
  bestOfFour,
  ultraFeedback,
  oasstTrees,
  oasstMessages,
  chatPair,
  hh,
  labeled,
  scoredAnswer,
  promptAndResponse,
  alpaca,
  dolly,
  seedTasks,
  chat,
  shareGpt,
  textRows,
];
