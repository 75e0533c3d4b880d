import { looks } from "./_models.ts";

/**
 * The look of the report page. The first colors follow Okabe and Ito (2008), darkened or lightened until they stand out
 * from the page in both themes; lines and symbols differ too, so that nothing depends on color alone.
 */
export const reportStyle = `
:root {
  color-scheme: light dark;
  --page: #faf9f6; --surface: #ffffff; --ink: #1c1d20; --soft: #5c6068; --edge: #e2dfd8; --tint: #f2f0ea;
  --base: #6b7078; --sft: #0069b3; --reward: #a34586; --ppo: #c65102; --ptx: #00755a;
  --other1: #8a6a00; --other2: #5a4fcf; --other3: #a3293d; --other4: #7a4a21; --other5: #007c8f; --other6: #4f7a00;
  --base-dash: none; --sft-dash: none; --reward-dash: none; --ppo-dash: none; --other2-dash: none; --ptx-dash: 7 3; --other1-dash: 2 4; --other3-dash: 9 3 2 3; --other4-dash: 12 4; --other5-dash: 5 2 1 2; --other6-dash: 1 3;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131417; --surface: #1b1d21; --ink: #e9e7e2; --soft: #a2a6ae; --edge: #30333a; --tint: #24272c;
    --base: #a0a6b0; --sft: #5cb8f0; --reward: #e29acb; --ppo: #f2914f; --ptx: #31c7a0;
    --other1: #e3c14a; --other2: #a9a2ff; --other3: #f28b97; --other4: #d2a679; --other5: #4fd0e0; --other6: #b4d455;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body {
  margin: 0; background: var(--page); color: var(--ink); overflow-wrap: break-word;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
}
header, main, footer { max-width: 72rem; margin: 0 auto; padding: 0 clamp(1rem, 4vw, 2.5rem); }
header { padding-top: clamp(2rem, 6vw, 4.5rem); }
h1, h2, h3 { font-family: "Iowan Old Style", Palatino, "Palatino Linotype", "Book Antiqua", Georgia, serif; line-height: 1.2; text-wrap: balance; }
h1 { font-size: clamp(1.7rem, 1.2rem + 2.4vw, 2.9rem); margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.55rem; margin: 0 0 .4rem; }
h3 { font-size: 1.1rem; margin: 1.8rem 0 .3rem; }
p { margin: .4rem 0 1rem; max-width: 68ch; }
.soft, figcaption span, .tile span { color: var(--soft); }
.headline { font-size: clamp(1.1rem, 1rem + .6vw, 1.4rem); line-height: 1.45; margin: 1.2rem 0 1.6rem; max-width: 58ch; }
.eyebrow { color: var(--soft); font-size: .85rem; margin: 0 0 .6rem; }
section { padding: 2.2rem 0 1rem; border-top: 1px solid var(--edge); margin-top: 2rem; }
section > p:first-of-type { color: var(--soft); }
nav { margin: 1.6rem 0 0; font-size: .9rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .4rem .5rem; list-style: none; margin: 0; padding: 0; }
nav a { display: block; padding: .3rem .75rem; border: 1px solid var(--edge); border-radius: 2rem; color: inherit; text-decoration: none; background: var(--surface); }
nav a:hover, nav a:focus-visible { border-color: var(--sft); color: var(--sft); }
.tiles { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 9rem), 1fr)); margin: 0; padding: 0; list-style: none; }
.tile { background: var(--surface); border: 1px solid var(--edge); border-radius: .8rem; padding: .9rem 1.1rem; display: flex; flex-direction: column; }
.tile b { font-size: clamp(1.4rem, 1.1rem + 1.2vw, 1.9rem); line-height: 1.25; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile span { font-size: .875rem; line-height: 1.4; }
.grid { display: grid; gap: .9rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); margin: .8rem 0 1rem; }
.grid.wide { grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); align-items: start; }
.grid > * { min-width: 0; }
.grid > .scroll { margin: 0; align-self: start; }
figure { margin: 0; padding: .85rem .9rem .4rem; background: var(--surface); border: 1px solid var(--edge); border-radius: .8rem; min-width: 0; display: flex; flex-direction: column; justify-content: space-between; }
figcaption { font-size: .925rem; line-height: 1.4; margin-bottom: .35rem; }
figcaption span { font-size: .84rem; }
.chart { width: 100%; overflow: hidden; min-height: 200px; }
.chart.whiskers { min-height: 0; }
.chart svg { display: block; --plot-background: var(--surface); overflow: visible; max-width: 100%; height: auto; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; font-size: .9rem; margin: .6rem 0; padding: 0; list-style: none; }
.legend li, .name { display: inline-flex; align-items: center; gap: .45rem; }
.legend svg { flex: none; }
.scroll { overflow-x: auto; margin: .9rem 0 1.2rem; border: 1px solid var(--edge); border-radius: .8rem; background:
    linear-gradient(to left, var(--surface) 1.5rem, transparent) right / 4rem 100% no-repeat local,
    linear-gradient(to left, var(--edge), transparent) right / 1.5rem 100% no-repeat scroll, var(--surface); }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .5rem .6rem; border-top: 1px solid var(--edge); vertical-align: top; }
thead th { border-top: 0; font-weight: 600; color: var(--soft); font-size: .82rem; vertical-align: bottom; }
tbody th { font-weight: 600; position: sticky; left: 0; background: var(--surface); }
td, tbody th { max-width: 20rem; }
.name { min-width: 5.5rem; }
th:first-child { padding-left: .85rem; }
th:last-child, td:last-child { padding-right: .85rem; }
td.figure, th.figure { text-align: right; white-space: nowrap; }
td.long { min-width: 12rem; overflow-wrap: anywhere; }
caption { text-align: left; padding: .6rem .85rem; color: var(--soft); font-size: .85rem; }
details { margin: .6rem 0; }
summary { cursor: pointer; font-size: .92rem; padding: .35rem 0; color: var(--sft); width: fit-content; }
.sample { background: var(--surface); border: 1px solid var(--edge); border-radius: .8rem; padding: 1rem 1.1rem; margin: 1rem 0; }
.prompt { font-weight: 600; white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 .8rem; max-width: none; }
.answers { display: grid; gap: .9rem 1.2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 13rem), 1fr)); }
.answer { border-top: 3px solid var(--look); padding-top: .5rem; min-width: 0; }
.answer h4 { margin: 0; font-size: .85rem; color: var(--look); }
.answer p { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .93rem; margin: .25rem 0 .5rem; }
.answer dl { display: flex; flex-wrap: wrap; gap: 0 .9rem; margin: 0; font-size: .8rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.answer dl div { display: flex; gap: .3rem; }
.answer dd { margin: 0; color: var(--ink); }
.swatch { width: .7rem; height: .7rem; border-radius: 50%; background: var(--look); flex: none; }
${looks.map((look) => `.${look} { --look: var(--${look}); }`).join("\n")}
ul.notes { padding-left: 1.2rem; max-width: 68ch; }
ul.notes li { margin: .4rem 0; }
footer { color: var(--soft); font-size: .85rem; padding-top: 1rem; padding-bottom: 3rem; }
@media (max-width: 40rem) {
  nav ul { flex-wrap: nowrap; overflow-x: auto; margin: 0 -1rem; padding: 0 1rem .4rem; }
  nav a { white-space: nowrap; }
  th, td { padding: .45rem .4rem; }
  tbody th { max-width: 9.5rem; }
}
@media print { nav { display: none; } figure, .sample, .tile { break-inside: avoid; } }
`;
