"""Where each figure and table of the article comes from: the table of `paper/README.md`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from analysis.paper.latex import span
from analysis.paper.studies import Studies

START, END = "<!-- sources: written by `python -m analysis.paper --readme` -->", "<!-- end -->"


class Source(NamedTuple):
    """What draws a figure or writes a table, and the summaries it reads; none where it is exact."""

    script: str
    summaries: tuple[str, ...]


#: figures and tables of the article by their file in paper/generated
SOURCES: Mapping[str, Source] = {
    "bias_vs_m.pdf": Source("analysis/grid/bias_vs_m.py", ("theory",)),
    "variance_vs_m.pdf": Source("analysis/grid/variance_vs_m.py", ("theory",)),
    "biases.tex": Source("analysis/paper/theory.py", ("theory",)),
    "slopes.tex": Source("analysis/paper/theory.py", ("theory",)),
    "winners.pdf": Source("analysis/grid/winners.py", ("paper",)),
    "bias_variance_vs_ratio.pdf": Source("analysis/grid/bias_variance_vs_ratio.py", ("paper",)),
    "errors.tex": Source("analysis/paper/grid.py", ("paper",)),
    "performance_profile.pdf": Source("analysis/benchmark/performance_profile.py", ("league",)),
    "standings.tex": Source("analysis/paper/league.py", ("league",)),
    "rollouts.tex": Source("analysis/paper/league.py", ("rollouts",)),
    "bandit_quality.pdf": Source("analysis/bandit/figures.py", ("bandit",)),
    "bandit.tex": Source("analysis/paper/bandit.py", ("bandit",)),
    "lm_tails.pdf": Source("analysis/lm/pool_figures.py", ("lm_pool",)),
    "lm_cosine.pdf": Source("analysis/lm/pool_figures.py", ("lm_pool",)),
    "pools.tex": Source("analysis/paper/lm_pool.py", ("lm_pool",)),
    "lm_gain.pdf": Source("analysis/lm/exact_figures.py", ("lm_exact",)),
    "lm_frontier.pdf": Source("analysis/lm/exact_figures.py", ("lm_exact",)),
    "lm_prediction.pdf": Source("analysis/lm/exact_figures.py", ("lm_exact",)),
    "training.tex": Source("analysis/paper/lm_exact.py", ("lm_exact",)),
    "apart.tex": Source("analysis/paper/lm_exact.py", ("lm_exact",)),
    "methods.tex": Source("analysis/paper/exact.py", ()),
    "linear_condition.tex": Source("analysis/linear/tables.py", ()),
    "linear_efficiency.tex": Source("analysis/linear/tables.py", ()),
    "linear_error.tex": Source("analysis/linear/tables.py", ()),
}


def table(studies: Studies) -> str:
    """Return the table as Markdown: file, script, grid, run time and the manifest's hash."""
    lines = ["| file | script | grid | run time | hash |", "|---|---|---|---|---|"]
    for file, (script, summaries) in SOURCES.items():
        made = [_made(studies.folder / summary) for summary in summaries]
        cells = [", ".join(column) for column in zip(*made, strict=True)] or ["–", "seconds", "–"]
        lines.append(f"| `{file}` | `{script}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _made(folder: Path) -> tuple[str, str, str]:
    """Return how a summary was made: its grid, run time and hash."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    grid = manifest["runs"][-1].get("config", f"simulations/grids/{folder.name}.toml")
    return f"`{grid}`", _time(manifest["runs"]), f"`{manifest['hash']}`"


def _time(runs: Sequence[Mapping[str, Any]]) -> str:
    """Write the run time, if it was noted."""
    if not all("seconds" in run for run in runs):
        return "not noted"
    return span(sum(run["seconds"] for run in runs))


def renew(readme: Path, studies: Studies) -> Path:
    """Put the table between its marks in the README; return the file."""
    before, rest = readme.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    text = f"{before}{START}\n{table(studies)}\n{END}{after}"
    readme.write_text(text, encoding="utf-8")
    return readme
