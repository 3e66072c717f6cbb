// Draws the figures that the page carries; on a dark screen with every colour's dark twin.
const twins = new Map(Object.entries(JSON.parse(document.body.dataset.darkTwins)));
const dark = matchMedia('(prefers-color-scheme: dark)');
const touched = matchMedia('(pointer: coarse)');

function draw(box) {
  const recolour = (key, value) => (dark.matches && twins.get(value)) || value;
  const { data, layout } = JSON.parse(box.dataset.figure, recolour);
  layout.dragmode = touched.matches ? false : 'zoom'; // a finger scrolls the page
  if (box.clientWidth < 480) layout.height += 18 * data.filter((trace) => trace.showlegend !== false).length;
  Plotly.react(box, data, layout, { responsive: true, displayModeBar: false });
}

function drawAll() {
  document.querySelectorAll('[data-figure]').forEach(draw);
}

dark.addEventListener('change', drawAll);
drawAll();
