// --- state.js: the numbers, the choice that is shown, and its place in the address -------------

const data = JSON.parse(document.getElementById("data").textContent);
const { cells, metrics, estimators, laws } = data;
const keyOf = (law, m, N) => `${law}|${m}|${N}`;
const ascending = (values) => [...new Set(values)].sort((a, b) => a - b);

// Places in the columns of `cells`, by cell.
const rowsOf = new Map();
cells.law.forEach((law, row) => {
  const key = keyOf(law, cells.m[row], cells.N[row]);
  if (!rowsOf.has(key)) rowsOf.set(key, []);
  rowsOf.get(key).push(row);
});
const responseOf = new Map(data.responses.map((r) => [keyOf(r.law, r.m, r.N), r]));

const allM = ascending(cells.m);
const budgets = new Map(
  allM.map((m) => [m, ascending(cells.N.filter((_, row) => cells.m[row] === m))]),
);
const allN = ascending(cells.N);

// What the second picture runs over, and what it holds fixed.
const AGAINST = {
  m: "m, at this N",
  N: "N, at this m",
  ratio: "m, at this N/m",
};

// Choices of estimators: the main ones, all, and the variants of each method that has several.
function presets() {
  const every = estimators.map((_, place) => place);
  const groups = {
    main: { label: "main estimators", shown: every.filter((e) => estimators[e].main) },
    all: { label: "all", shown: every },
  };
  for (const method of new Set(estimators.map((e) => e.method))) {
    const shown = every.filter((e) => estimators[e].method === method);
    const label = `${method}: ${shown.map((e) => estimators[e].name).join(", ")}`;
    if (shown.length > 1) groups[method] = { label, shown };
  }
  const alphas = every.filter((e) => "alpha" in estimators[e].options);
  if (alphas.length > 1) groups.alpha = { label: "every stated α", shown: alphas };
  return groups;
}
const PRESETS = presets();

function initial() {
  const [m, N] = data.start;
  const shown = new Set(PRESETS.main.shown);
  return { law: 0, m, N, metric: 0, against: "m", shown, sort: metrics[0].key, down: false };
}
const state = initial();

const samePreset = ({ shown }) =>
  shown.length === state.shown.size && shown.every((e) => state.shown.has(e));
const currentPreset = () => Object.keys(PRESETS).find((x) => samePreset(PRESETS[x])) ?? "own";

// Moves N to the budget of this m whose N/m is nearest, where the pair is not in the grid.
function settle() {
  const given = budgets.get(state.m);
  const away = (N) => Math.abs(Math.log(N / state.N));
  if (!given.includes(state.N)) state.N = given.reduce((a, b) => (away(b) < away(a) ? b : a));
}

function writeHash() {
  const preset = currentPreset();
  const parameters = new URLSearchParams({
    law: laws[state.law].name,
    m: state.m,
    N: state.N,
    metric: metrics[state.metric].key,
    against: state.against,
    sort: (state.down ? "-" : "") + state.sort,
    show: preset === "own" ? ascending(state.shown).map((e) => estimators[e].name).join("|") : preset,
  });
  history.replaceState(null, "", `#${parameters}`);
}

// Reads the address; whatever it omits, or gives wrongly, keeps its initial value.
function readHash() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  Object.assign(state, initial());
  const law = laws.findIndex((x) => x.name === parameters.get("law"));
  const metric = metrics.findIndex((x) => x.key === parameters.get("metric"));
  if (law >= 0) state.law = law;
  if (metric >= 0) state.metric = metric;
  if (allM.includes(Number(parameters.get("m")))) state.m = Number(parameters.get("m"));
  if (allN.includes(Number(parameters.get("N")))) state.N = Number(parameters.get("N"));
  if (parameters.get("against") in AGAINST) state.against = parameters.get("against");
  const sort = parameters.get("sort") ?? "";
  const column = sort.replace(/^-/, "");
  if (column === "name" || metrics.some((x) => x.key === column)) {
    Object.assign(state, { sort: column, down: sort.startsWith("-") });
  }
  const show = parameters.get("show");
  if (show in PRESETS) {
    state.shown = new Set(PRESETS[show].shown);
  } else if (show !== null) {
    const names = show.split("|");
    state.shown = new Set(
      estimators.map((_, e) => e).filter((e) => names.includes(estimators[e].name)),
    );
  }
}

const rowsHere = () => rowsOf.get(keyOf(state.law, state.m, state.N)) ?? [];
const shownHere = () => rowsHere().filter((row) => state.shown.has(cells.estimator[row]));
// Undefined and infinite cells have no numbers worth drawing.
const drawable = (row) => cells.status[row] === "" || cells.status[row] === "saturated";
