/** Markup that is safe to print: text becomes one only through {@link html}, which escapes it. */
export class Html {
  readonly markup: string;
  constructor(markup: string) {
    this.markup = markup;
  }
}

type Printable = Html | string | number | undefined | ReadonlyArray<Printable>;

/** Template tag: every interpolated string is escaped, {@link Html} is kept, undefined prints nothing. */
export function html(parts: TemplateStringsArray, ...values: ReadonlyArray<Printable>): Html {
  return new Html(parts.map((part, i) => part + (i < values.length ? print(values[i]) : "")).join(""));
}

/** JSON for a `<script type="application/json">`: nothing in it can end the script. */
export function embeddedJson(value: unknown): Html {
  return new Html(JSON.stringify(value).replaceAll("<", "\\u003c"));
}

function print(value: Printable): string {
  if (value === undefined) return "";
  if (value instanceof Html) return value.markup;
  if (typeof value === "object") return value.map(print).join("");
  return String(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
