// --- chart.js: an SVG with two axes, and the marks that are drawn into it -----------------------

const HEIGHT = 330;
const MARGIN = { top: 10, right: 14, bottom: 42, left: 58 };

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Every scale is linear in one of these.
const BENT = {
  linear: (v) => v,
  log: Math.log10,
  log2: Math.log2,
  // linear up to 1, then logarithmic; an advantage spans both signs and several powers of ten
  symlog: (v) => Math.sign(v) * (Math.abs(v) <= 1 ? 0.7 * Math.abs(v) : 0.7 + Math.log10(Math.abs(v))),
};

function scale(kind, low, high, from, to) {
  const bend = BENT[kind];
  const unit = (to - from) / (bend(high) - bend(low) || 1);
  const at = (value) => from + (bend(value) - bend(low)) * unit;
  return Object.assign(at, { kind, low, high });
}

function ticks({ kind, low, high }) {
  if (kind === "log") return decades(low, high);
  if (kind === "symlog") {
    const tens = [1000, 100, 10, 1];
    return [...tens.map((v) => -v), 0, ...tens].filter((v) => low <= v && v <= high);
  }
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((x) => x * power >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function decades(low, high) {
  const span = Math.log10(high / low);
  const steps = span < 1 ? [1, 2, 3, 5, 7] : span < 2.2 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil(span / 7));
  const ticks = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); p += 1) {
    if (p % every) continue;
    ticks.push(...steps.map((s) => Number(`${s}e${p}`)).filter((v) => low <= v && v <= high));
  }
  return ticks;
}

function tickText(value) {
  const size = Math.abs(value);
  if (size >= 1e5 || (size > 0 && size < 1e-3)) {
    return value.toExponential(0).replace("e+", "e").replaceAll("-", "−");
  }
  return String(value).replace("-", "−");
}

// An empty chart. `x` and `y` have kind, low, high, label, and may have [place, text] `ticks`.
function chart(holder, x, y, described) {
  const width = Math.max(280, Math.round(holder.clientWidth));
  const right = width - MARGIN.right;
  const bottom = HEIGHT - MARGIN.bottom;
  const toX = scale(x.kind, x.low, x.high, MARGIN.left, right);
  const toY = scale(y.kind, y.low, y.high, bottom, MARGIN.top);
  const clip = `inside-${holder.parentElement.id}`;
  const axes = svg("g", { "aria-hidden": "true" });
  for (const [value, text] of x.ticks ?? ticks(toX).map((v) => [v, tickText(v)])) {
    const at = toX(value);
    axes.append(svg("path", { class: "rule", d: `M${at} ${MARGIN.top}V${bottom}` }));
    axes.append(svg("text", { x: at, y: bottom + 17, "text-anchor": "middle" }, text));
  }
  for (const value of ticks(toY)) {
    const at = toY(value);
    axes.append(svg("path", { class: "rule", d: `M${MARGIN.left} ${at}H${right}` }));
    axes.append(
      svg("text", { x: MARGIN.left - 6, y: at + 4, "text-anchor": "end" }, tickText(value)),
    );
  }
  const middle = (MARGIN.left + right) / 2;
  const height = (MARGIN.top + bottom) / 2;
  axes.append(
    svg("path", { class: "axis", fill: "none", d: `M${MARGIN.left} ${MARGIN.top}V${bottom}H${right}` }),
    svg("text", { x: middle, y: HEIGHT - 6, "text-anchor": "middle" }, x.label),
    svg("text", { transform: `translate(13 ${height}) rotate(-90)`, "text-anchor": "middle" }, y.label),
  );
  const frame = { x: MARGIN.left, y: MARGIN.top, width: right - MARGIN.left, height: bottom - MARGIN.top };
  const inside = svg("g", { "clip-path": `url(#${clip})` });
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": described },
    svg("clipPath", { id: clip }, svg("rect", frame)),
    axes,
    inside,
  );
  holder.replaceChildren(picture);
  return { toX, toY, inside, picture };
}

const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

// The group that holds all marks of one estimator; it carries the colours of day and night.
function markGroup(e) {
  const { day, night, name } = estimators[e];
  return svg("g", { class: "mark", "data-estimator": name, style: `--day:${day};--night:${night}` });
}

function point(e, x, y, hollow, text) {
  const place = `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${hollow ? 0.85 : 0.95})`;
  const shape = { class: hollow ? "hollow" : "point", d: estimators[e].marker, transform: place };
  return svg("path", shape, svg("title", {}, text));
}

const bar = (x1, y1, x2, y2) => svg("path", { class: "bar", d: `M${x1} ${y1}L${x2} ${y2}` });

// An estimator's marker, for the legend and the table.
function swatch(e) {
  const group = markGroup(e);
  group.removeAttribute("data-estimator");
  group.append(svg("path", { fill: "currentColor", d: estimators[e].marker }));
  return svg("svg", { viewBox: "-9 -9 18 18", "aria-hidden": "true" }, group);
}
