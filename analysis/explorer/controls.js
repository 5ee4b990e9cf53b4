// --- controls.js: the choices, by mouse and by keyboard, and what happens when one is made ------

const control = (name) => document.getElementById(name);

function fill(select, choices) {
  select.replaceChildren(...choices.map(([value, text]) => new Option(text, value)));
}

function fillLaws() {
  const parts = new Map();
  laws.forEach((law, place) => {
    parts.set(law.part, [...(parts.get(law.part) ?? []), new Option(law.name, place)]);
  });
  const groups = [...parts].map(([label, options]) => element("optgroup", { label }, ...options));
  control("law").replaceChildren(...(groups.length > 1 ? groups : parts.values().next().value));
}

function fillControls() {
  fillLaws();
  fill(control("m"), allM.map((m) => [m, m]));
  fill(control("metric"), metrics.map(({ label }, place) => [place, label]));
  fill(control("against"), Object.entries(AGAINST));
  const own = ["own", "own choice, below"];
  fill(control("variants"), [...Object.entries(PRESETS).map(([key, { label }]) => [key, label]), own]);
  control("variants").lastChild.disabled = true;
  control("legend").replaceChildren(
    ...estimators.map(({ name, method, options }, e) => {
      const title = [method, ...Object.entries(options).map(([k, v]) => `${k} = ${v}`)].join(", ");
      const button = element("button", { type: "button", title, "data-estimator": name });
      button.append(swatch(e), element("span", {}, name));
      button.tabIndex = e ? -1 : 0;
      return button;
    }),
  );
}

// Sets every control to the state.
function showState() {
  fill(control("N"), budgets.get(state.m).map((N) => [N, N]));
  for (const name of ["law", "m", "N", "metric", "against"]) control(name).value = state[name];
  control("variants").value = currentPreset();
  control("family").textContent = laws[state.law].family;
  [...control("legend").children].forEach((button, e) => {
    button.setAttribute("aria-pressed", state.shown.has(e));
  });
}

function drawAll() {
  drawPlane();
  drawCurve();
  drawResponse();
  drawLeague();
}

function changed() {
  settle();
  writeHash();
  showState();
  drawAll();
  const best = ordered(rowsHere()).find(drawable);
  control("status").textContent = `${cellText()}; first in the table: ${best === undefined ? "none" : nameOf(best)}`;
}

function listenToControls() {
  for (const name of ["law", "m", "N", "metric"]) {
    control(name).addEventListener("change", (event) => {
      state[name] = Number(event.target.value);
      changed();
    });
  }
  control("against").addEventListener("change", (event) => {
    state.against = event.target.value;
    changed();
  });
  control("variants").addEventListener("change", (event) => {
    state.shown = new Set(PRESETS[event.target.value].shown);
    changed();
  });
  control("to-response").addEventListener("click", () => {
    const { m, N } = data.responses.find((r) => r.law === state.law);
    Object.assign(state, { m, N });
    changed();
    // the button is gone now: the keyboard goes on from the control it has changed
    control("m").focus();
  });
  control("ranking").addEventListener("click", ({ target }) => {
    const key = target.closest("button")?.dataset.sort;
    if (!key) return;
    const more = metrics.some((x) => x.key === key && x.more_is_better);
    state.down = state.sort === key ? !state.down : more;
    state.sort = key;
    changed();
    control("ranking").querySelector(`[data-sort="${key}"]`).focus();
  });
  control("controls").addEventListener("submit", (event) => event.preventDefault());
}

// One stop of the Tab key for the whole legend; the arrows move inside it.
function listenToLegend() {
  const legend = control("legend");
  const buttons = [...legend.children];
  legend.addEventListener("click", ({ target }) => {
    const e = buttons.indexOf(target.closest("button"));
    if (e < 0) return;
    if (!state.shown.delete(e)) state.shown.add(e);
    changed();
    light(estimators[e].name);
  });
  legend.addEventListener("keydown", (event) => {
    const here = buttons.indexOf(document.activeElement);
    const last = buttons.length - 1;
    const to = {
      ArrowRight: here + 1,
      ArrowDown: here + 1,
      ArrowLeft: here - 1,
      ArrowUp: here - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    buttons.at(to > last ? 0 : to).focus();
  });
  legend.addEventListener("focusin", ({ target }) => {
    buttons.forEach((button) => { button.tabIndex = button === target ? 0 : -1; });
  });
  for (const [on, off] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    legend.addEventListener(on, ({ target }) => light(target.closest("button")?.dataset.estimator));
    legend.addEventListener(off, () => light());
  }
}

// Dims all marks but one estimator's.
function light(name) {
  const e = estimators.findIndex((x) => x.name === name);
  for (const picture of document.querySelectorAll(".picture")) {
    picture.classList.toggle("faint", state.shown.has(e));
    for (const mark of picture.querySelectorAll(".mark")) {
      mark.classList.toggle("lit", mark.dataset.estimator === name);
    }
  }
}

function writeAbout() {
  const { grid, config, dates, seed, code, hash, cells: count, rebuild } = data.about;
  const days = dates.length > 1 ? `${dates[0]} to ${dates.at(-1)}` : dates[0];
  const text =
    `From the grid “${grid}” (${config}): run ${days}, seed ${seed}, code ${code.join(", ")}, ` +
    `configuration ${hash}; ${count} cells. To make grid and page again:`;
  control("about").replaceChildren(
    element("p", {}, text),
    ...rebuild.map((line) => element("code", {}, line)),
  );
}

fillControls();
readHash();
writeAbout();
listenToControls();
listenToLegend();
window.addEventListener("hashchange", () => {
  readHash();
  changed();
});
// the pictures are drawn for their width: again when it changes, and first of all now
let drawnFor = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth !== drawnFor) drawAll();
  drawnFor = window.innerWidth;
});
changed();
document.documentElement.dataset.ready = Math.round(performance.now());
