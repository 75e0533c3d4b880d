/** Tokens a second by batch, context and size of the model. */
import { flopsPerToken, scaling, tokensOf } from "./measures.ts";
import { median, number, printTable } from "./report.ts";
import { type Session, say } from "./session.ts";
import { takeTurns } from "./turns.ts";

export async function scale(session: Session): Promise<void> {
  const rows: Array<Array<string>> = [];
  for (const { axis, works } of session.smoke ? scaling.slice(0, 1) : scaling) {
    say(axis);
    for (const work of session.smoke ? works.slice(0, 1) : works) {
      const player = await session.ours(work);
      const [rounds] = await takeTurns([player], session.rounds(3));
      await player.stop();
      const { layers, width } = work.model;
      const rate = tokensOf(work) / median(rounds!.map(({ seconds }) => seconds));
      const tokens = work.kind === "training" ? `${work.time}` : `(${work.time} + ${work.newTokens})`;
      const gigaflops = (rate * flopsPerToken(work)) / 1e9;
      rows.push([axis, `${work.batch}×${tokens}`, `L${layers} D${width}`, number(rate), number(gigaflops)]);
    }
  }
  printTable(
    "Tokens a second by batch, context and size of the model; the operations of a token are counted, so a cliff would show in the last column.",
    ["axis", "tokens", "model", "tokens/s", "GFLOP/s"],
    rows,
  );
}
