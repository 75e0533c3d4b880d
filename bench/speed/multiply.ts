/** Matrix products against PyTorch's and against what the processor could do. */
import { productGoals, products, type Work } from "./measures.ts";
import { median, number, percent, printTable } from "./report.ts";
import { type Session, say, threads } from "./session.ts";
import { type Player, takeTurns } from "./turns.ts";

const flopsOf = (name: string) =>
  2 * name.match(/\d+/g)!.reduce((product, size) => product * Number(size), 1);

export async function multiply(session: Session): Promise<void> {
  say("matrix products");
  const work: Work = { kind: "products", ...products };
  const peak = await session.peak();
  const ours = await session.ours(work);
  const theirs = (await session.peers(work, ["eager"]))[0]?.player;
  const players = [ours, peak, theirs].filter((player) => player !== undefined);
  const rounds = await takeTurns(players, session.rounds(9));
  for (const player of players) await player.stop();

  /** The parts of a player's rounds; without such a player there is nothing. */
  const parts = (player: Player | undefined) =>
    player && rounds[players.indexOf(player)]!.map((round) => round.parts);
  const most = peak && Math.max(...parts(peak)!.map(({ flopsPerSecond }) => flopsPerSecond!));
  const rate = (player: Player | undefined, names: ReadonlyArray<string>) => {
    const measured = parts(player);
    if (measured === undefined) return undefined;
    const seconds = names.map((name) => median(measured.map((part) => part[name]!)));
    const flops = names.map(flopsOf);
    const sum = (values: ReadonlyArray<number>) => values.reduce((a, b) => a + b, 0);
    return sum(flops) / sum(seconds);
  };
  const row = (title: string, names: ReadonlyArray<string>) => [
    title,
    ...[ours, theirs].flatMap((player) => {
      const value = rate(player, names);
      return [value && number(value / 1e9), value && most && percent(value / most)];
    }),
  ];
  const names = Object.keys(parts(ours)![0]!);
  const peakText = most
    ? `the peak of ${threads} threads is ${number(most / 1e9)}`
    : "the processor's peak is not known";
  printTable(
    `Matrix products in GFLOP/s; ${peakText}. Bar for all together: ${percent(productGoals.bar)} of it, aim: ${percent(productGoals.aim)}.`,
    ["m×n×k", "@rlhf", "of peak", "PyTorch", "of peak"],
    [...names.map((name) => row(name, [name])), row("all together", names)],
  );
}
