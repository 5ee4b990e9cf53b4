// --- views.js: the three pictures of the chosen cell --------------------------------------------

const nameOf = (row) => estimators[cells.estimator[row]].name;
const cellText = () => `${laws[state.law].name}, m = ${state.m}, N = ${state.N}`;
const described = (row, { key, short }) => `${short} ${plusMinus(cells[key][row], cells[`${key}_se`][row])}`;
const listed = (names) => (names.length ? names.join(", ") : "none");

function empty(figure, why) {
  figure.querySelector(".picture").replaceChildren();
  figure.querySelector("figcaption").textContent = why;
}

// Which shown estimators lack numbers, and at which m or N: "Prefix-TEA (undefined at m = 8, 16)".
function lacking(rows, along) {
  const groups = new Map();
  for (const row of rows.filter((r) => !drawable(r))) {
    const why = cells.status[row] === "infinite" ? "infinite variance" : cells.status[row];
    const key = `${nameOf(row)} (${why}`;
    groups.set(key, [...(groups.get(key) ?? []), along && cells[along][row]]);
  }
  return [...groups].map(([key, places]) => `${key}${along ? ` at ${along} = ${places.join(", ")}` : ""})`);
}

// Bias against standard deviation; the distance from the corner squared is the error.
function drawPlane() {
  const figure = document.getElementById("plane");
  const known = (row) => cells.sd[row] !== null && cells.bias[row] !== null;
  const rows = shownHere().filter((row) => drawable(row) && known(row));
  const without = lacking(shownHere());
  const end = without.length ? ` No point: ${without.join("; ")}.` : "";
  if (!rows.length) return empty(figure, `${cellText()}: no estimator shown has a point here.${end}`);
  const reach = (key) => Math.max(...rows.map((row) => cells[key][row] + data.z * cells[`${key}_se`][row]));
  const ends = ["sd", "bias"].map((key, i) => Math.min(data.far[i], 1.15 * reach(key)) || data.far[i]);
  const near = (row) => cells.sd[row] <= ends[0] && cells.bias[row] <= ends[1];
  const frontier = rows
    .filter((a) => !rows.some((b) => cells.sd[b] < cells.sd[a] && cells.bias[b] < cells.bias[a]))
    .sort((a, b) => cells.sd[a] - cells.sd[b] || cells.bias[b] - cells.bias[a]);
  const { toX, toY, inside } = chart(
    figure.querySelector(".picture"),
    { kind: "linear", low: 0, high: ends[0], label: `sd of ${data.batch} prompts / ‖∇V_N‖` },
    { kind: "linear", low: 0, high: ends[1], label: "‖bias‖ / ‖∇V_N‖" },
    `Bias against standard deviation, ${cellText()}; the numbers are in the ranking`,
  );
  for (let k = 1; k <= 6; k += 1) {
    const error = (Math.max(...ends) * k) / 6;
    const turn = Array.from({ length: 61 }, (_, i) => (Math.PI / 120) * i);
    const arc = turn.map((t) => [toX(error * Math.cos(t)), toY(error * Math.sin(t))]);
    inside.append(svg("path", { class: "rule", d: path(arc) }));
  }
  const edge = frontier.map((row) => [toX(cells.sd[row]), toY(cells.bias[row])]);
  inside.append(svg("path", { class: "edge", d: path(edge) }));
  for (const row of rows.filter(near)) {
    const e = cells.estimator[row];
    const [x, y] = [toX(cells.sd[row]), toY(cells.bias[row])];
    const [dx, dy] = [toX(data.z * cells.sd_se[row]) - toX(0), toY(0) - toY(data.z * cells.bias_se[row])];
    const text = [nameOf(row), ...metrics.slice(0, 3).map((x) => described(row, x))].join("\n");
    const group = markGroup(e);
    group.append(bar(x - dx, y, x + dx, y), bar(x, y - dy, x, y + dy), point(e, x, y, false, text));
    inside.append(group);
  }
  const beyond = rows.filter((row) => !near(row)).map(nameOf);
  figure.querySelector("figcaption").textContent =
    `${cellText()}. On the frontier (line) of those shown: ${listed(frontier.map(nameOf))}. ` +
    `Grey arcs: equal error.${beyond.length ? ` Off scale: ${listed(beyond)}.` : ""}` +
    `${rows.some((row) => cells.status[row]) ? " Saturated: hardly any gradient is left." : ""}${end}`;
}

// The cells that the second picture runs over, with their place on its axis.
function series() {
  const ratio = state.N / state.m;
  const pairs = {
    m: allM.map((m) => [m, m, state.N]),
    N: allN.map((N) => [N, state.m, N]),
    ratio: allM.map((m) => [m, m, m * ratio]),
  }[state.against];
  return pairs
    .filter(([, m, N]) => rowsOf.has(keyOf(state.law, m, N)))
    .flatMap(([at, m, N]) =>
      rowsOf
        .get(keyOf(state.law, m, N))
        .filter((row) => state.shown.has(cells.estimator[row]))
        .map((row) => ({ at, row })),
    );
}

function drawCurve() {
  const figure = document.getElementById("curve");
  const metric = metrics[state.metric];
  const { key, log } = metric;
  const fixed = {
    m: `N = ${state.N}`,
    N: `m = ${state.m}`,
    ratio: `N/m = ${Number((state.N / state.m).toPrecision(4))}`,
  }[state.against];
  const name = state.against === "N" ? "N" : "m";
  const title = metric.short === "sd" ? "Standard deviation" : metric.short;
  figure.querySelector("h2").textContent = `${title[0].toUpperCase()}${title.slice(1)} against ${name}`;
  const all = series();
  const without = lacking(all.map((p) => p.row), name);
  const end = without.length ? ` No number: ${without.join("; ")}.` : "";
  const points = all.filter(({ row }) => drawable(row) && cells[key][row] !== null);
  // a bias within 2 s.e. of zero has no logarithm: it is drawn hollow, at its bound
  const hollow = ({ row }) => log && key === "bias" && cells.flagged[row] === 1;
  const height = (p) => {
    const bound = (data.z / 2) * cells[`${key}_se`][p.row];
    return hollow(p) ? Math.max(cells[key][p.row], bound) : cells[key][p.row];
  };
  const positive = points.filter((p) => !log || height(p) > 0);
  if (!positive.length) return empty(figure, `${laws[state.law].name}, ${fixed}: nothing to draw.${end}`);
  const sound = positive.filter(({ row }) => cells.status[row] === "");
  const heights = (sound.length ? sound : positive).map(height);
  const [low, high] = [Math.min(...heights), Math.max(...heights)];
  const room = 0.07 * (high - low || 1);
  const places = ascending(all.map((p) => p.at));
  const [first, last] = [places[0] / 1.15, places.at(-1) * 1.15];
  const { toX, toY, inside } = chart(
    figure.querySelector(".picture"),
    { kind: "log2", low: first, high: last, label: name, ticks: places.map((v) => [v, String(v)]) },
    {
      kind: log ? "log" : "linear",
      low: log ? low / 1.6 : low - room,
      high: log ? high * 1.6 : high + room,
      label: metric.short,
    },
    `${metric.label} against ${name}, ${laws[state.law].name}, ${fixed}`,
  );
  const here = toX(state[name]);
  inside.append(svg("path", { class: "here", d: `M${here} 0V${HEIGHT}` }));
  for (const e of ascending(state.shown)) {
    const own = positive.filter(({ row }) => cells.estimator[row] === e);
    if (own.length) inside.append(curveOf(e, own, { metric, hollow, height, toX, toY }));
  }
  const off = positive.filter((p) => toY(height(p)) < MARGIN.top || toY(height(p)) > HEIGHT - MARGIN.bottom);
  figure.querySelector("figcaption").textContent =
    `${metric.label}: ${laws[state.law].name}, ${fixed}; dotted line: ${name} = ${state[name]}.` +
    `${positive.some(hollow) ? " Hollow: within 2 s.e. of zero, drawn at its bound." : ""}` +
    `${positive.some(({ row }) => cells.status[row]) ? " Some cells are saturated." : ""}` +
    `${off.length ? ` ${off.length} points are off scale.` : ""}${end}`;
}

function curveOf(e, own, { metric, hollow, height, toX, toY }) {
  const group = markGroup(e);
  const spots = own.map((p) => [toX(p.at), toY(height(p))]);
  group.append(svg("path", { class: "line", d: path(spots) }));
  own.forEach((p, i) => {
    const [x, y] = spots[i];
    const reach = data.z * cells[`${metric.key}_se`][p.row];
    const down = metric.log ? Math.max(height(p) - reach, toY.low / 10) : height(p) - reach;
    group.append(bar(x, hollow(p) ? y : toY(down), x, toY(height(p) + reach)));
    const text = `${nameOf(p.row)}, m = ${cells.m[p.row]}, N = ${cells.N[p.row]}\n${described(p.row, metric)}`;
    group.append(point(e, x, y, hollow(p), text));
  });
  return group;
}

// E[A | F(R) = q], moved by the constant that brings it nearest to the exact advantage.
function drawResponse() {
  const figure = document.getElementById("response");
  const response = responseOf.get(keyOf(state.law, state.m, state.N));
  const button = document.getElementById("to-response");
  const other = data.responses.find((r) => r.law === state.law);
  button.hidden = Boolean(response) || !other;
  if (!response) {
    if (other) button.textContent = `Go to m = ${other.m}, N = ${other.N}`;
    const why = other ? "there are curves of this law at another m and N" : "this grid has none of this law";
    return empty(figure, `No response curves at ${cellText()}: ${why}.`);
  }
  const { q, place, exact, curves } = response;
  const shown = curves.filter((c) => state.shown.has(c.estimator));
  const sound = shown.filter((c) => c.distance !== null).flatMap((c) => c.response);
  const low = 1.3 * Math.min(...exact, ...sound);
  const high = 1.3 * Math.max(...exact, ...sound);
  const [first, last] = [Math.min(place[0], -1), Math.max(place.at(-1), 1)];
  const logits = [0.01, 0.1, 0.5, 0.9, 0.99]
    .map((v) => [Math.log(v / (1 - v)), String(v)])
    .filter(([v]) => first <= v && v <= last);
  const { toX, toY, inside } = chart(
    figure.querySelector(".picture"),
    { kind: "linear", low: first - 0.2, high: last + 0.2, label: "q, quantile of the reward", ticks: logits },
    { kind: Math.max(-low, high) > 3 ? "symlog" : "linear", low, high, label: "E[A | F(R) = q] + constant" },
    `Advantage response against the reward's quantile, ${cellText()}`,
  );
  const spots = (values) => values.map((v, i) => [toX(place[i]), toY(v)]);
  inside.append(svg("path", { class: "exact", d: path(spots(exact)) }));
  const every = Math.max(1, Math.floor(q.length / 6));
  for (const { estimator: e, response, se, distance } of shown) {
    const band = (sign) => response.map((v, i) => v + sign * data.z * se[i]);
    const group = markGroup(e);
    const around = [...spots(band(1)), ...spots(band(-1)).reverse()];
    group.append(svg("path", { class: "band", d: `${path(around)}Z` }));
    group.append(svg("path", { class: "line", d: path(spots(response)) }));
    spots(response).forEach(([x, y], i) => {
      const text = `${estimators[e].name} at q = ${q[i]}\n${plusMinus(response[i], se[i])}, exact ${exact[i]}`;
      if (i % every === 0) group.append(point(e, x, y, false, text));
    });
    inside.append(group);
  }
  const nearest = shown.filter((c) => c.distance !== null).sort((a, b) => a.distance - b.distance);
  const shares = nearest.map((c) => `${estimators[c.estimator].name} ${(100 * c.distance).toFixed(0)} %`);
  figure.querySelector("figcaption").textContent =
    `${cellText()}. Broad grey line: the exact advantage ψ_N; bands: 95 %. A curve that lies on it ` +
    `is unbiased for every score function. Distance from it, over its own size: ${listed(shares)}.`;
}
