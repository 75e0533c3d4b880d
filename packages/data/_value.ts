export type JsonObject = { readonly [field: string]: unknown };

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * A value of a row on its way to being a record. Asking it for what it is not writes down the problem, with its field,
 * what was expected and what was found, and goes on with a stand-in, so that a row tells all its problems at once.
 */
export class Value {
  readonly found: unknown;
  private readonly path: string;
  private readonly problems: Array<string>;
  /** Cells of a table are all text: numbers and lists are read from it. */
  private readonly isText: boolean;
  /** Known to hold neither halves of surrogate pairs nor null characters, which are not looked for then. */
  private readonly isClean: boolean;

  constructor(found: unknown, problems: Array<string>, { isText = false, isClean = false, path = "" } = {}) {
    this.found = found;
    this.problems = problems;
    this.isText = isText;
    this.isClean = isClean;
    this.path = path;
  }

  get exists(): boolean {
    return this.found !== undefined && this.found !== null;
  }

  field(name: string): Value {
    const found = isObject(this.found) ? this.found[name] : undefined;
    return this.child(found, this.path === "" ? name : `${this.path}.${name}`);
  }

  items(): ReadonlyArray<Value> {
    const found = this.parsed();
    if (Array.isArray(found)) return found.map((item, i) => this.child(item, `${this.path}[${i}]`));
    this.refuse("a list");
    return [];
  }

  /** Text with something in it. */
  text(): string {
    const text = this.textOrEmpty();
    if (typeof this.found === "string" && text.trim() === "") this.refuse("text that is not empty");
    return text;
  }

  textOrEmpty(): string {
    if (typeof this.found !== "string") {
      this.refuse("text");
      return "";
    }
    if (this.isClean) return this.found;
    if (!(this.found as WellFormable).isWellFormed())
      this.refuse("well-formed Unicode", "half of a surrogate pair");
    if (this.found.includes("\0")) this.refuse("text", "a null character");
    return this.found;
  }

  number(): number {
    const found = this.parsed();
    if (typeof found === "number" && Number.isFinite(found)) return found;
    this.refuse("a number");
    return 0;
  }

  integer(): number {
    const found = this.parsed();
    if (Number.isInteger(found)) return found as number;
    this.refuse("an integer");
    return 0;
  }

  /** true or false; tables write 1 and 0 too. */
  boolean(): boolean {
    const found = this.isText ? tableBooleans[String(this.found).toLowerCase()] : this.found;
    if (typeof found === "boolean") return found;
    this.refuse("true or false");
    return false;
  }

  refuse(expected: string, found = show(this.found)): void {
    const problem = `expected ${expected}, found ${found}`;
    this.problems.push(this.path === "" ? problem : `${this.path}: ${problem}`);
  }

  private child(found: unknown, path: string): Value {
    return new Value(found, this.problems, { isText: this.isText, isClean: this.isClean, path });
  }

  private parsed(): unknown {
    if (!this.isText || typeof this.found !== "string") return this.found;
    try {
      return JSON.parse(this.found);
    } catch {
      return this.found;
    }
  }
}

/** In every Node that this runs on, if not yet in the types that it is checked with. */
type WellFormable = string & { readonly isWellFormed: () => boolean };

const tableBooleans: Readonly<Record<string, boolean>> = { true: true, false: false, 1: true, 0: false };

export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
