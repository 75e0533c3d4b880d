/** Our side and PyTorch's in turns: tokens a second, and the peak memory of training steps. */
import { type Comparison, type Precision, tokensOf } from "./measures.ts";
import { median, megabytes, number, printTable, type Row, ratioOf } from "./report.ts";
import { type Session, say } from "./session.ts";
import { type Player, type Round, takeTurns } from "./turns.ts";

/** Both sides must compute one loss from the same weights, or comparing their speed means nothing. */
function requireAgreement(ours: Player, theirs: Player, precision: Precision): void {
  const [own, other] = [ours.check!, theirs.check!];
  const tolerance = precision === "fp32" ? 1e-4 : 1e-2; // half the digits
  if (Math.abs(own - other) <= tolerance * Math.abs(own)) return;
  throw new Error(`The two sides compute different losses: ${own} and ${other}`);
}

const secondsOf = (rounds: ReadonlyArray<Round>) => rounds.map(({ seconds }) => seconds);

export async function compareOne(session: Session, comparison: Comparison) {
  const { name, work, repeats, rounds, peers, precision = "fp32", ...goals } = comparison;
  say(name);
  const ours = await session.ours(work, repeats, precision);
  const variants = await session.peers(work, peers, repeats, precision);
  for (const { player } of variants) requireAgreement(ours, player, precision);
  const players = [ours, ...variants.map(({ player }) => player)];
  const [own, ...others] = await takeTurns(players, session.rounds(rounds));
  for (const player of players) await player.stop();

  const rate = (measured: ReadonlyArray<Round>) => (tokensOf(work) * repeats) / median(secondsOf(measured));
  const measured = variants.map((variant, i) => ({
    name: variant.name,
    rounds: others[i]!,
    rate: rate(others[i]!),
    peak: others[i]!.at(-1)!.peakBytes,
  }));
  for (const peer of measured) say(`  PyTorch, ${peer.name}: ${number(peer.rate)} tokens/s`);
  const best = measured.toSorted((a, b) => b.rate - a.rate)[0];
  const ratio = best && ratioOf(secondsOf(own!), secondsOf(best.rounds));
  const speed = [
    name,
    number(rate(own!)),
    best && `${number(best.rate)} (${best.name})`,
    ratio && `${number(ratio.middle)}×`,
    ratio && `${number(ratio.least)}–${number(ratio.greatest)}`,
    `${goals.bar}×`,
    `${goals.aim}×`,
    ratio && (ratio.middle >= goals.bar ? "yes" : "no"),
  ];

  const result = { speed, rate: rate(own!), rounds: own! };
  const peak = own!.at(-1)!.peakBytes;
  if (goals.memoryBar === undefined || peak === undefined) return result;
  const leanest = measured.toSorted((a, b) => a.peak! - b.peak!)[0];
  const share = leanest && peak / leanest.peak!;
  const memory = [
    name,
    megabytes(peak),
    leanest && `${megabytes(leanest.peak!)} (${leanest.name})`,
    share && `${number(share)}×`,
    `≤ ${goals.memoryBar}×`,
    share && (share <= goals.memoryBar ? "yes" : "no"),
  ];
  return { ...result, memory };
}

export const speedTitles = ["measure", "@rlhf", "PyTorch", "ratio", "spread", "bar", "aim", "met"];

export async function compare(session: Session, comparisons: ReadonlyArray<Comparison>): Promise<void> {
  const speed: Array<Row> = [];
  const memory: Array<Row> = [];
  for (const comparison of comparisons) {
    const rows = await compareOne(session, comparison);
    speed.push(rows.speed);
    if ("memory" in rows) memory.push(rows.memory);
  }
  printTable(
    "Tokens a second, medians of rounds in turns; the ratio of a round's two sides: median, least and greatest.",
    speedTitles,
    speed,
  );
  printTable(
    "Peak resident memory over warm training steps, less what the process held before it had a model.",
    ["measure", "@rlhf", "PyTorch", "ratio", "bar", "met"],
    memory,
  );
}
