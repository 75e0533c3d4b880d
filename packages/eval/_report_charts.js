// Draws the charts of the report page; runs in the reader's browser, where `Plot` and `d3` are globals.
const { Plot, document, ResizeObserver } = globalThis;
const charts = JSON.parse(document.getElementById("charts").textContent);
const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const percent = { format: (share) => `${(100 * share).toFixed(1)} %` };
const symbols = { ppo: "circle", ptx: "diamond", base: "square", other1: "triangle" };

const color = (look) => `var(--${look})`;
const dash = (look) => `var(--${look}-dash)`;
const print = (axis, value) => (axis.percent ? percent : number).format(value);
const frame = (spec, width, height) => ({
  width,
  height,
  marginTop: 26,
  marginRight: 22,
  marginBottom: 36,
  marginLeft: 46,
  style: { fontSize: "11px" },
  x: {
    label: spec.x.label,
    percent: spec.x.percent,
    ticks: Math.max(3, Math.round(width / 80)),
    tickSpacing: 70,
  },
  y: spec.y && { label: spec.y.label, percent: spec.y.percent, ticks: 4, nice: true, grid: true },
});

/** The range of the values, never empty: a constant metric still needs an axis. */
function extent(points, scale) {
  const low = Math.min(...points.map((point) => point.low));
  const high = Math.max(...points.map((point) => point.high));
  const room = high - low < 1e-9 * Math.abs(high) || high === low ? Math.abs(high) / 2 || 1 : 0;
  return [(low - room) * scale, (high + room) * scale];
}

/** Labels that fit the margin for values too large or too small to be written out; Plot's own for all others. */
function shortTicks(points) {
  const size = Math.max(...points.flatMap((point) => [Math.abs(point.low), Math.abs(point.high)]));
  if (size >= 1e5) return (value) => compact.format(value);
  if (size > 0 && size < 1e-3) return (value) => value.toExponential(1).replace(".0", "");
  return undefined;
}

const draw = {
  lines(spec, width) {
    const all = spec.series.flatMap(({ name, look, points }) =>
      points.map((point) => ({ ...point, name, look })),
    );
    const nearest = { x: "x", y: "y", maxRadius: 60 };
    const base = frame(spec, width, 200);
    return Plot.plot({
      ...base,
      x: { ...base.x, tickFormat: (x) => (Number.isInteger(x) ? x.toLocaleString("en") : "") },
      y: {
        ...base.y,
        domain: extent(all, spec.y.percent ? 100 : 1),
        zero: spec.y.zero,
        tickFormat: shortTicks(all),
      },
      marks: [
        spec.series.map(({ look, points }) =>
          Plot.areaY(points, { x: "x", y1: "low", y2: "high", fill: color(look), fillOpacity: 0.16 }),
        ),
        spec.series.map(({ look, points, marks }) => [
          Plot.lineY(points, {
            x: "x",
            y: "y",
            stroke: color(look),
            strokeWidth: marks === "dots" ? 1 : 1.8,
            strokeOpacity: marks === "faint" ? 0.55 : 1,
            strokeDasharray: dash(look),
          }),
          marks === "dots" || points.length === 1
            ? Plot.dot(points, { x: "x", y: "y", fill: color(look), stroke: "var(--surface)", r: 3.5 })
            : null,
        ]),
        Plot.dot(all, Plot.pointer({ ...nearest, fill: (d) => color(d.look), r: 3.5 })),
        Plot.tip(
          all,
          Plot.pointer({
            ...nearest,
            title: (d) => `${d.name}\n${spec.x.label} ${number.format(d.x)}\n${print(spec.y, d.y)}`,
          }),
        ),
      ],
    });
  },

  whiskers(spec, width) {
    // Beside the whiskers where there is room for labels, above them on a phone.
    const wide = width > 520;
    const longest = Math.max(...spec.rows.map((row) => row.label.length));
    const labelWidth = wide ? Math.min(width * 0.4, 40 + 7 * longest) : width - 90;
    const rowHeight = wide ? 36 : 46;
    const ends = spec.rows.flatMap((row) => [row, row.hollow ?? row]);
    const domain = spec.domain ?? [
      Math.min(spec.rule ?? 0, ...ends.map((end) => end.low)),
      Math.max(spec.rule ?? 0, ...ends.map((end) => end.high)),
    ];
    const scale = spec.x.percent ? 100 : 1;
    const rows = spec.rows.map((row, i) => ({ ...row, at: i }));
    const hollow = rows.flatMap((row) => (row.hollow ? [{ ...row, ...row.hollow }] : []));
    const base = frame(spec, width, rows.length * rowHeight + 48);
    const label = { y: "at", fill: "currentColor", fontSize: 12.5 };
    const place = (side) =>
      wide
        ? { ...label, frameAnchor: side, textAnchor: "start", dx: side === "left" ? 8 - labelWidth : 14 }
        : { ...label, frameAnchor: side, dy: -16, stroke: "var(--surface)", strokeWidth: 5 };
    return Plot.plot({
      ...base,
      marginTop: 6,
      marginLeft: wide ? labelWidth : 8,
      marginRight: wide ? 76 : 12,
      x: { ...base.x, domain: domain.map((end) => end * scale), grid: true, nice: spec.domain === undefined },
      y: { domain: [wide ? -0.5 : -0.7, rows.length - (wide ? 0.4 : 0.5)], reverse: true, axis: null },
      marks: [
        spec.rule === undefined
          ? null
          : Plot.ruleX([spec.rule], { stroke: "currentColor", strokeDasharray: "3 3", strokeOpacity: 0.7 }),
        Plot.ruleY(rows, { y: "at", x1: "low", x2: "high", stroke: (d) => color(d.look), strokeWidth: 3 }),
        Plot.dot(rows, { y: "at", x: "value", fill: (d) => color(d.look), r: 5.5 }),
        Plot.ruleY(hollow, {
          y: "at",
          dy: 9,
          x1: "low",
          x2: "high",
          stroke: (d) => color(d.look),
          strokeWidth: 1.5,
        }),
        Plot.dot(hollow, {
          y: "at",
          dy: 9,
          x: "value",
          stroke: (d) => color(d.look),
          fill: "var(--surface)",
          strokeWidth: 1.8,
          r: 3.5,
        }),
        Plot.text(rows, {
          ...place("left"),
          text: "label",
          lineWidth: (labelWidth - 12) / 12.5,
          textOverflow: "ellipsis",
        }),
        Plot.text(rows, { ...place("right"), text: (d) => print(spec.x, d.value), fontWeight: 600 }),
      ],
    });
  },

  frontier(spec, width) {
    const points = spec.series.flatMap(({ name, look, points }) =>
      points.map(([x, y]) => ({ x, y, name, look, symbol: symbols[look] ?? "circle" })),
    );
    const base = frame(spec, width, Math.min(300, Math.max(220, width * 0.6)));
    return Plot.plot({
      ...base,
      x: { ...base.x, type: "sqrt", domain: [0, Math.max(...points.map((point) => point.x)) * 1.04] },
      symbol: { type: "identity" },
      marks: [
        Plot.ruleY([0], { stroke: "currentColor", strokeOpacity: 0.4 }),
        Plot.dot(points, {
          x: "x",
          y: "y",
          symbol: "symbol",
          fill: (d) => color(d.look),
          fillOpacity: 0.55,
          r: 3,
        }),
        spec.series.map(({ look, fit }) =>
          Plot.line(fit, { stroke: color(look), strokeWidth: 2.2, strokeDasharray: dash(look) }),
        ),
        Plot.tip(
          points,
          Plot.pointer({
            x: "x",
            y: "y",
            title: (d) => `${d.name}\nKL ${number.format(d.x)} nats\n${number.format(d.y)}`,
          }),
        ),
      ],
    });
  },

  calibration(spec, width) {
    const low = Math.min(0.5, ...spec.bins.flatMap((bin) => [bin.predicted, bin.observed]));
    const domain = [low * 100, 100];
    const base = frame(spec, width, Math.min(340, width * 0.75));
    return Plot.plot({
      ...base,
      x: { ...base.x, domain, grid: true },
      y: { ...base.y, domain },
      r: { range: [3, 11] },
      marks: [
        Plot.line(
          [
            [low, low],
            [1, 1],
          ],
          { stroke: "currentColor", strokeDasharray: "3 3", strokeOpacity: 0.7 },
        ),
        Plot.line(spec.bins, { x: "predicted", y: "observed", stroke: color("reward"), strokeWidth: 1.5 }),
        Plot.dot(spec.bins, {
          x: "predicted",
          y: "observed",
          r: "pairs",
          fill: color("reward"),
          fillOpacity: 0.75,
        }),
        Plot.tip(
          spec.bins,
          Plot.pointer({
            x: "predicted",
            y: "observed",
            title: (d) =>
              `predicted ${percent.format(d.predicted)}\nobserved ${percent.format(d.observed)}\n${number.format(d.pairs)} pairs`,
          }),
        ),
      ],
    });
  },
};

for (const place of document.querySelectorAll("[data-chart]")) {
  const spec = charts[place.dataset.chart];
  let drawn = 0;
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (width === drawn || width === 0) return;
    drawn = width;
    place.replaceChildren(draw[spec.kind](spec, width));
  }).observe(place);
}
