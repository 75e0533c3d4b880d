import { fold, integers, type Key } from "@rlhf/core";

const animals = ["fox", "cat", "dog", "bear", "mouse", "frog", "bird", "rabbit", "duck", "lion"];
const manners = ["little", "big", "old", "young", "brave", "shy", "clever", "sleepy"];
const things = [
  "ball",
  "boat",
  "book",
  "cake",
  "coat",
  "drum",
  "flower",
  "hat",
  "kite",
  "lamp",
  "star",
  "stone",
];
const colors = ["red", "blue", "green", "golden", "white", "tiny", "strange", "shiny"];
const places = [
  "in the wood",
  "by the river",
  "on the hill",
  "under a tree",
  "near the sea",
  "in the snow",
  "behind the house",
  "in the garden",
];
const findings = ["found", "saw", "made", "lost", "wanted"];
const deeds = {
  found: ["picked it up and took it home", "showed it to a friend"],
  saw: ["looked at it for a long time", "ran to get it"],
  made: ["gave it to a friend", "played with it all day"],
  lost: ["looked for it everywhere", "asked a friend for help"],
  wanted: ["asked a friend for it", "went to look for it"],
} as const;
const endings = [
  "They laughed and danced until night.",
  "They were happy and sang a song.",
  "It was the best day of all.",
  "They shared a warm supper and smiled.",
  "But it broke, and there was no other.",
  "But it began to rain, and all was lost.",
  "Then it was gone, and the night was cold and lonely.",
  "They cried and went home alone.",
];

/** Stories of three sentences, half of which end well: `count` of them, all drawn alike. */
export function stories(key: Key, count: number): Array<string> {
  return Array.from({ length: count }, (_, index) => {
    const draws = integers(fold(key, index), 9, 2 ** 20);
    let next = 0;
    const one = <T>(of: ReadonlyArray<T>): T => of[draws[next++]! % of.length]!;
    const finding = one(findings) as keyof typeof deeds;
    const pronoun = one(["She", "He"]);
    const start = `Once a ${one(manners)} ${one(animals)} ${finding} a ${one(colors)} ${one(things)} ${one(places)}.`;
    return `${start} ${pronoun} ${one(deeds[finding])}. ${one(endings)}`;
  });
}
