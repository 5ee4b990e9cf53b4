// --- table.js: numbers with their standard errors, and the ranking -------------------------

// A number and its standard error, to the error's first digit: "0.349 ± 0.001".
function plusMinus(value, error) {
  if (value === null) return "–";
  const minus = (text) => text.replace("e+", "e").replaceAll("-", "−");
  const size = Math.abs(value);
  if (size >= 1e5 || (size > 0 && size < 1e-5)) {
    return minus(value.toExponential(2)) + (error ? ` ± ${minus(error.toExponential(0))}` : "");
  }
  if (!error) return minus(String(Number(value.toPrecision(4))));
  const digits = Math.min(6, Math.max(0, -Math.floor(Math.log10(error))));
  const least = 10 ** -digits;
  return `${minus(value.toFixed(digits))} ± ${Math.max(error, least).toFixed(digits)}`;
}

const STATUS = {
  saturated: "saturated: hardly any gradient is left here",
  undefined: "undefined at this m and N",
  infinite: "infinite variance: its measured numbers mean nothing",
};

// Why a cell has no meaningful number, in the words of the grid if it gives a reason.
function statusText(row) {
  const note = data.notes[cells.note[row]];
  const status = cells.status[row];
  return note.startsWith(status) && note ? note : STATUS[status];
}

function ordered(rows) {
  const sign = state.down ? -1 : 1;
  if (state.sort === "name") {
    return [...rows].sort((a, b) => sign * (cells.estimator[a] - cells.estimator[b]));
  }
  const value = (row) => (drawable(row) ? cells[state.sort][row] : null);
  // what has no number comes last either way; of equals the one with less error comes first
  return [...rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (x - y) || cells.error[a] - cells.error[b];
  });
}

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Roles are written out: the style of a phone takes the rows apart, and with them their meaning.
function header(key, label, hint) {
  const sorted = state.sort === key;
  const button = element("button", { type: "button", "data-sort": key, title: hint }, label);
  button.append(sorted ? (state.down ? " ▼" : " ▲") : "");
  const order = sorted ? (state.down ? "descending" : "ascending") : "none";
  return element("th", { role: "columnheader", scope: "col", "aria-sort": order }, button);
}

// Rows with the best value of a column, or one that does not differ significantly (2 s.e.).
function bestOf(rows, { key, more_is_better: more }) {
  const known = rows.filter((row) => cells.status[row] === "" && cells[key][row] !== null);
  const values = cells[key];
  const errors = cells[`${key}_se`];
  const better = (a, b) => (more ? values[a] > values[b] : values[a] < values[b]);
  const best = known.reduce((a, b) => (better(b, a) ? b : a), known[0]);
  const apart = (row) => Math.abs(values[row] - values[best]) > 2 * Math.hypot(errors[row], errors[best]);
  return new Set(known.filter((row) => !apart(row)));
}

function drawLeague() {
  const figure = document.getElementById("ranking");
  const rows = rowsHere();
  const counts = new Map();
  for (const row of rows) {
    const status = cells.status[row] || "measured";
    counts.set(status, (counts.get(status) ?? 0) + 1);
  }
  figure.querySelector("figcaption").textContent =
    `${laws[state.law].name}, m = ${state.m}, N = ${state.N}: every estimator, hidden ones too ` +
    `(${[...counts].map(([name, n]) => `${n} ${name}`).join(", ")}). ` +
    "Bias and standard deviation are over ‖∇V_N‖; error = bias² + sd². Bold: the best of a column, and what is " +
    "within 2 standard errors of it.";
  const head = element("tr", { role: "row" }, header("name", "estimator", "Sort by kind of method"));
  head.append(...metrics.map((x) => header(x.key, x.short, `Sort by: ${x.label}`)));
  const body = element("tbody", { role: "rowgroup" });
  const best = metrics.map((metric) => bestOf(rows, metric));
  for (const row of ordered(rows)) body.append(tableRow(row, best));
  const table = element(
    "table",
    { role: "table", "aria-label": "League table of this cell" },
    element("thead", { role: "rowgroup" }, head),
    body,
  );
  figure.querySelector(".table").replaceChildren(table);
}

function tableRow(row, best) {
  const e = cells.estimator[row];
  const name = element("th", { role: "rowheader", scope: "row" }, swatch(e), estimators[e].name);
  const line = element("tr", { role: "row", "data-estimator": estimators[e].name }, name);
  if (!drawable(row)) {
    const merged = { role: "cell", colspan: metrics.length, class: "note" };
    line.append(element("td", merged, statusText(row)));
    return line;
  }
  if (cells.status[row]) {
    name.append(" ", element("small", { title: statusText(row) }, cells.status[row]));
  }
  metrics.forEach(({ key, short }, i) => {
    const cell = element("td", { role: "cell", "data-label": short });
    if (best[i].has(row)) cell.classList.add("best");
    cell.append(plusMinus(cells[key][row], cells[`${key}_se`][row]));
    line.append(cell);
  });
  return line;
}
