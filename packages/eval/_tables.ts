import { formatNumber, spellOut } from "./_format.ts";
import { type Html, html } from "./_html.ts";
import { type Look, labelOf } from "./_models.ts";
import type { Table } from "./report_data.ts";

export type Cell = Html | string;
export const cell = (kind: "figure" | "long", text: string) => html`<td class="${kind}">${text}</td>`;
export const figure = (text: string) => cell("figure", text);

/** A table whose first column names the row. Cells that are no markup yet become plain ones. */
export function table(columns: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<Cell>>): Html {
  const isFigure = (column: number) => {
    const first = rows[0]?.[column];
    return typeof first === "object" && first.markup.startsWith('<td class="figure">');
  };
  const plain = (value: Cell) =>
    typeof value === "object" && value.markup.startsWith("<td") ? value : html`<td>${value}</td>`;
  return html`<div class="scroll" tabindex="0"><table>
<thead><tr>${columns.map((column, i) => html`<th scope="col" class="${isFigure(i) ? "figure" : ""}">${column}</th>`)}</tr></thead>
<tbody>${rows.map(([head, ...rest]) => html`<tr><th scope="row">${head}</th>${rest.map(plain)}</tr>`)}</tbody>
</table></div>`;
}

export function recordTable(rows: Table["rows"]): Html | undefined {
  if (rows.length === 0) return undefined;
  const columns = Object.keys(rows[0] ?? {});
  return table(
    columns.map(spellOut),
    rows.map((row) =>
      columns.map((column, i) => {
        const value = row[column];
        if (column === "model" && typeof value === "string") return labelOf(value);
        if (i > 0 && typeof value === "number") return figure(formatNumber(value));
        return typeof value === "number" ? formatNumber(value) : (value ?? "–");
      }),
    ),
  );
}

export function name(model: string, looks: ReadonlyMap<string, Look>): Html {
  return html`<span class="name ${looks.get(model)!}"><span class="swatch"></span>${labelOf(model)}</span>`;
}

export function legend(models: ReadonlyArray<string>, looks: ReadonlyMap<string, Look>): Html {
  return html`<ul class="legend">${models.map((model) => {
    const look = looks.get(model)!;
    return html`<li><svg width="34" height="10" aria-hidden="true"><line x1="1" x2="33" y1="5" y2="5" stroke="var(--${look})" stroke-width="2.5" stroke-dasharray="var(--${look}-dash)"/></svg>${labelOf(model)}</li>`;
  })}</ul>`;
}
