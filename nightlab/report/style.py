"""The page's style sheet: plain, narrow screens first, light or dark as the reader's system has it."""

CSS = """
:root { color-scheme: light dark; --page: #fff; --card: #f5f6f8; --text: #1b1e24; --soft: #5b6270; --line: #d9dce2;
  --c0: #2468c8; --c1: #c2570c; --c2: #2f855a; --c3: #8b3fb0; --heat: 36 104 200; --hard: #c2570c;
  --faint: #b3bac6; --up: #1d7044; --down: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14161b; --card: #1d2027; --text: #e6e8ec; --soft: #9aa1ae; --line: #343943;
    --c0: #74a9f5; --c1: #f0934a; --c2: #68c194; --c3: #c78ee6; --heat: 84 144 235; --hard: #f0934a;
    --faint: #6b7382; --up: #68c194; --down: #f2867d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 68rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0 .2rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0; }
.soft { color: var(--soft); }
code, pre { font: .85em/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre { background: var(--card); padding: .7rem .9rem; border-radius: 6px; white-space: pre-wrap; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem; margin: 1rem 0; }
.tile { background: var(--card); border-radius: 8px; padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.7rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; }
.notes { background: var(--card); border-left: 4px solid var(--hard); padding: .5rem .9rem; border-radius: 4px; }
.notes ul { margin: .2rem 0; padding-left: 1.2rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.2rem; }
figure { margin: 0; }
figure.square { max-width: 26rem; }
figcaption { margin-bottom: .3rem; font-size: .9rem; }
figcaption b { display: block; }
.key { margin-right: .9rem; color: var(--soft); white-space: nowrap; }
.key i { display: inline-block; width: 1rem; height: .2rem; margin-right: .35rem; vertical-align: middle;
  background: currentColor; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.grid { stroke: var(--line); stroke-width: 1; }
.mark { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 3 3; }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
.dot { fill: currentColor; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
.figures th, .figures td { padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
.figures th:first-child, .figures td:first-child { text-align: left; }
.figures td:first-child { white-space: normal; min-width: 9rem; }
.figures thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; }
.figures th:first-child, .figures td:first-child { position: sticky; left: 0; background: var(--page); }
.facts th { text-align: left; font-weight: 400; color: var(--soft); padding: .15rem 1.2rem .15rem 0;
  vertical-align: top; white-space: nowrap; }
.facts td { padding: .15rem 0; overflow-wrap: anywhere; }
.bars { width: 100%; max-width: 46rem; }
.bars th { width: 1%; padding: .12rem .7rem .12rem 0; text-align: right; font-weight: 400; white-space: nowrap; }
.bars td:last-child { width: 3.2rem; padding-left: .6rem; text-align: right; }
.track span { display: block; height: .85rem; min-width: 1px; border-radius: 2px; background: var(--c0); }
.hard .track span { background: var(--hard); }
.paired td.both { width: 2.6rem; padding-left: .6rem; color: var(--soft); font-size: .75rem; line-height: 1.15; }
.paired td.both span { display: block; }
.paired td.both span + span { color: var(--text); }
.paired th, .paired td { padding-top: .2rem; padding-bottom: .2rem; }
.paired .track span { height: .7rem; }
.track span.before, .hard .track span.before, .block.before { background: var(--faint); }
.block.after { background: var(--c0); }
.block.after.hard { background: var(--hard); }
.key .block { width: .9rem; height: .7rem; border-radius: 2px; }
.change.up { color: var(--up); }
.change.down { color: var(--down); }
.change.same { color: var(--soft); }
.tag { font-size: .75rem; color: var(--hard); }
.heat { font-size: .75rem; }
.heat td { min-width: 1.9rem; height: 1.6rem; padding: 0; text-align: center; border: 1px solid var(--page);
  background: rgb(var(--heat) / calc(.06 + .94 * var(--v, 0))); }
.heat td.strong { color: #fff; }
.heat tbody th { position: sticky; left: 0; background: var(--page); padding-right: .5rem; text-align: right;
  font-weight: 400; white-space: nowrap; }
.heat thead th { vertical-align: bottom; font-weight: 400; padding: .3rem 0; }
.heat thead span { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
.pictures input { position: absolute; opacity: 0; }
.pictures label { display: block; cursor: zoom-in; border-radius: 6px; overflow: hidden; }
.pictures input:focus-visible + label { outline: 3px solid var(--c0); }
.pictures img { display: block; width: 100%; height: auto; }
.pictures input:checked + label { position: fixed; inset: 0; z-index: 1; overflow: auto; border-radius: 0;
  background: #000; cursor: zoom-out; }
.pictures input:checked + label img { width: max(100%, 60rem); }
details { margin: .8rem 0; }
summary { cursor: pointer; font-weight: 600; }
@media (max-width: 34rem) { .facts th { white-space: normal; min-width: 8.5rem; }
  .figures td:first-child { min-width: 6.5rem; }
  svg text { font-size: 14px; } }
@media print { .pictures, .charts, tr { break-inside: avoid; } }
"""
