import type { Mood } from "@rlhf/labeler/mood";

/** What a prompt asks for; of a user's own prompt that is not known. */
export type Task = WordnetTask | { readonly kind: "own" };

export type WordnetTask =
  | { readonly kind: "write"; readonly mood?: Mood; readonly topic: string }
  | { readonly kind: "define"; readonly word: string }
  | { readonly kind: "opposite"; readonly word: string }
  | { readonly kind: "kind"; readonly word: string }
  | { readonly kind: "fact"; readonly word: string; readonly category: string };

/** A task with a right response. */
export interface Solved {
  readonly task: WordnetTask;
  readonly response: string;
  readonly heldOut: boolean;
}

/** A topic with the mood where one is asked for: what training may leave out. */
export function combination({ mood, topic }: { readonly mood?: Mood; readonly topic: string }): string {
  return mood === undefined ? topic : `${mood} ${topic}`;
}
