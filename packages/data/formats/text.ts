import type { Format } from "../format.ts";

/** A document a row, as C4 has it. */
export const textRows: Format = {
  name: "text",
  example: '{"text": …}',
  recognizes: (row) => "text" in row,
  reads: { texts: (row) => [row.field("text").text()] },
};
