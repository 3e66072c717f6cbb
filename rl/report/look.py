"""The page's style and its one script, which shows values under the pointer."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f6f3; --card: #ffffff; --ink: #1c1f24; --soft: #646a73; --rule: #e5e5df;
  --blue: #2f6bd8; --orange: #d9762b; --green: #1f9467; --purple: #8457c2; --red: #c8423b;
  --teal: #1a8f9e; --shade: #f0f0ec;
  --tier-0: #c2413a; --tier-1: #e58f45; --tier-2: #c3bfae; --tier-3: #86c7a8; --tier-4: #1f9467;
  --gate-0: #8678b5; --gate-1: #aba0d1; --gate-2: #cdc6e6; --fault: #50555e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131518; --card: #1b1e23; --ink: #e8e9ea; --soft: #9aa1ab; --rule: #2d3138;
    --blue: #6b9df5; --orange: #ee9a56; --green: #43bd8b; --purple: #ac86e6; --red: #ea6f67;
    --teal: #45bac9; --shade: #24282e;
    --tier-0: #d1544c; --tier-1: #dd8b47; --tier-2: #77766b; --tier-3: #5f9f80; --tier-4: #2fae7d;
    --gate-0: #7a6cac; --gate-1: #5f5490; --gate-2: #4a4270; --fault: #8b919b;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 36px 24px 72px; }
h1 { font-size: 26px; margin: 0; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 44px 0 14px; letter-spacing: -0.005em; }
h3 { font-size: 15px; margin: 0; }
p { margin: 0; } .soft { color: var(--soft); }
.notice { margin-top: 16px; padding: 10px 14px; border-left: 3px solid var(--orange);
  background: var(--card); border-radius: 4px; }
.grid { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 16px;
  margin-top: 24px; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 16px 18px; min-width: 0; }
main > .card { margin-top: 16px; }
.card > .soft { font-size: 13px; margin: 2px 0 8px; }
.tile .figure { font-size: 27px; line-height: 1.25; font-weight: 650; letter-spacing: -0.02em;
  font-variant-numeric: tabular-nums; }
.tile .figure small { font-size: 16px; font-weight: 500; color: var(--soft); letter-spacing: 0; }
.tile .figure .up { color: var(--green); } .tile .figure .down { color: var(--red); }
.tile p { font-size: 13px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 12.5px; color: var(--soft);
  margin-bottom: 4px; }
.legend span { display: inline-flex; align-items: center; gap: 6px; }
.legend b { color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
.legend i { width: 10px; height: 10px; border-radius: 3px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 11px; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg line.grid { display: inline; stroke: var(--rule); stroke-width: 1; }
svg .cursor { stroke: var(--soft); stroke-width: 1; opacity: 0; }
svg:hover .cursor { opacity: 0.6; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.bars { display: grid; grid-template-columns: auto 1fr; gap: 8px 12px; align-items: center;
  font-size: 13px; color: var(--soft); margin-top: 12px; }
.bar { display: flex; height: 24px; border-radius: 5px; overflow: hidden;
  background: var(--shade); }
.bar span { min-width: 0; overflow: hidden; text-align: center; font-size: 12px; line-height: 24px;
  font-weight: 600; color: #fff; text-shadow: 0 1px 2px rgb(0 0 0 / 45%); }
.badge { display: inline-block; padding: 1px 9px; border-radius: 99px; font-size: 12.5px;
  font-weight: 600; color: #fff; text-shadow: 0 1px 2px rgb(0 0 0 / 40%); white-space: nowrap; }
.case { margin-top: 12px; padding-top: 12px; border-top: 1px solid var(--rule); }
.case:first-of-type { border-top: 0; }
.case .head { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; font-size: 13px;
  color: var(--soft); }
.case dl, td dl { display: grid; grid-template-columns: 84px 1fr; gap: 2px 10px; margin: 8px 0 0;
  font-size: 14px; }
dt { color: var(--soft); font-size: 13px; } dd { margin: 0; min-width: 0; }
.said { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 15em; overflow-y: auto; }
details { font-size: 13.5px; } summary { cursor: pointer; color: var(--soft); }
details .said { margin-top: 6px; padding: 8px 10px; background: var(--shade); border-radius: 6px; }
table { width: 100%; border-collapse: collapse; font-size: 14px; table-layout: fixed; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; }
th, td { padding: 9px 12px 9px 0; border-top: 1px solid var(--rule); vertical-align: top; }
tr:first-child th { border-top: 0; } td p { overflow-wrap: anywhere; }
pre { margin: 8px 0 0; padding: 12px; background: var(--shade); border-radius: 8px;
  overflow-x: auto; font: 12.5px/1.5 ui-monospace, "SF Mono", "DejaVu Sans Mono", monospace; }
#tip { position: fixed; pointer-events: none; white-space: pre; z-index: 9; padding: 7px 10px;
  font-size: 12.5px; line-height: 1.45; background: var(--ink); color: var(--page);
  border-radius: 6px; font-variant-numeric: tabular-nums; }
@media (max-width: 600px) {
  main { padding: 20px 14px 48px; }
  .case dl { grid-template-columns: 1fr; }
}
@media print { .card { break-inside: avoid; } }
"""

SCRIPT = """
const tip = document.getElementById('tip');
for (const svg of document.querySelectorAll('svg[data-x]')) {
  const xs = JSON.parse(svg.dataset.x), tips = JSON.parse(svg.dataset.tips);
  const cursor = svg.querySelector('.cursor');
  svg.addEventListener('pointermove', event => {
    const box = svg.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    let near = 0;
    xs.forEach((x, i) => { if (Math.abs(x - at) < Math.abs(xs[near] - at)) near = i; });
    cursor.setAttribute('x1', xs[near]);
    cursor.setAttribute('x2', xs[near]);
    tip.textContent = tips[near];
    tip.hidden = false;
    const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    tip.style.left = left + 'px';
    tip.style.top = Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8) + 'px';
  });
  svg.addEventListener('pointerleave', () => { tip.hidden = true; });
}
"""
