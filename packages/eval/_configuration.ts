import { type Html, html } from "./_html.ts";
import { labelOf } from "./_models.ts";
import { cell, table } from "./_tables.ts";
import type { ReportData } from "./report_data.ts";

/** Versions, and the settings by stage; those of no stage are the run's. */
export function configuration({ configuration: stages = {}, versions = {} }: ReportData): Html | undefined {
  const isGroup = ([, value]: readonly [string, unknown]) => typeof value === "object" && value !== null;
  const all = Object.entries(stages);
  const alone = all.filter((entry) => !isGroup(entry));
  const entries = [
    ...(alone.length > 0 ? [["run", Object.fromEntries(alone)] as const] : []),
    ...all.filter(isGroup),
  ];
  if (all.length === 0 && Object.keys(versions).length === 0) return undefined;
  return html`${
    Object.keys(versions).length === 0
      ? undefined
      : table(
          ["", "Version"],
          Object.entries(versions).map(([what, version]) => [what, cell("long", version)]),
        )
  }
${entries.map(
  ([stage, value]) =>
    html`<details><summary>${labelOf(stage)}</summary>${table(
      ["Setting", "Value"],
      flatten(value).map(([setting, text]) => [setting, cell("long", text)]),
    )}</details>`,
)}`;
}

/** Nested settings as `outer.inner` with their values in JSON. */
function flatten(value: unknown, path = ""): ReadonlyArray<readonly [string, string]> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([key, inner]) =>
      flatten(inner, path === "" ? key : `${path}.${key}`),
    );
  }
  return [[path, typeof value === "string" ? value : (JSON.stringify(value) ?? "")]];
}
