"""The paper's experiment on language models: `python -m analysis.recipe results/recipe`.

Draws the figures of `analysis.lm.recipe_figures`, prints the table, with what the paper published
beside it, and writes it as CSV.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from analysis.core import style
from analysis.core.read import ResultsError
from analysis.core.write import one_line_errors, save
from analysis.lm import read
from simulations.core import store

TABLES = {
    "curves": ["scenario", "m", "trained_N", "estimator", "N", "value", "low", "high", "seeds"],
    "differences": [
        *("scenario", "m", "trained_N", "estimator", "against", "N"),
        *("difference", "low", "high", "seeds"),
    ],
    "behaviour": [
        *("scenario", "m", "trained_N", "estimator", "seed"),
        *("reward", "length", "cut_off", "kl", "kl_se", "missing"),
    ],
    "progress": [],
}
CURE = "run `tea-stats recipe tables` again"
#: the arm that is not trained
START = "start"
KEYS = ["scenario", "m", "trained_N", "estimator"]


@dataclass(frozen=True)
class Study:
    """The tables that `simulations.recipes` writes."""

    curves: pd.DataFrame
    differences: pd.DataFrame
    behaviour: pd.DataFrame
    progress: pd.DataFrame
    manifest: dict[str, Any]

    @cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """Registry name and options of each arm that has a finished run."""
        tables = self.manifest["configuration"]["estimators"]
        finished = set(self.curves["estimator"])
        return {
            label: {key: value for key, value in table.items() if value is not None}
            for label, table in tables.items()
            if label in finished
        }

    @property
    def against(self) -> str:
        """The arm that differences are taken from."""
        return str(self.manifest["configuration"]["evaluation"]["against"])

    @property
    def seeds(self) -> int:
        """Training runs of each arm, when all are finished."""
        return int(self.manifest["configuration"]["seeds"])

    @cached_property
    def scenarios(self) -> list[str]:
        """Scenarios with finished runs, in the study's order."""
        return list(self.curves["scenario"].unique())

    @cached_property
    def settings(self) -> list[tuple[int, int]]:
        """Pairs of m and the N that was trained for."""
        rows = self.curves[self.curves["estimator"] != START]
        return sorted({(int(m), int(N)) for m, N in zip(rows["m"], rows["trained_N"], strict=True)})

    def at_trained(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows at the N that an arm was trained for."""
        return table[table["N"] == table["trained_N"]]

    def published(self, m: int, N: int) -> list[dict[str, Any]]:
        """Return what was published about best-of-N, for any m or this one."""
        rows = self.manifest["configuration"]["published"]
        return [x for x in rows if x["N"] == N and x["m"] in (None, m)]


def load(folder: Path) -> Study:
    """Read and check a results folder; ResultsError names the problem and the cure."""
    study = Study(**read.tables(folder, TABLES, CURE))
    try:
        _ = study.against, study.options, study.published(0, 0)
    except (KeyError, TypeError):
        raise ResultsError(f"{folder}: manifest.json is of another study; {CURE}") from None
    return study


def table(study: Study) -> pd.DataFrame:
    """Return a row for each arm: best-of-N, its gain on the arm of comparison, what it costs."""
    rows = study.at_trained(study.curves)[[*KEYS, "value", "low", "high", "seeds"]]
    gains = study.at_trained(study.differences)
    gains = gains[gains["against"] == study.against][[*KEYS, "difference", "low", "high"]]
    gains = gains.rename(columns={"low": "difference_low", "high": "difference_high"})
    means = study.behaviour.groupby(KEYS, as_index=False)[["reward", "length", "kl"]].mean()
    joined = rows.merge(gains, on=KEYS, how="left").merge(means, on=KEYS, how="left")
    joined["published"] = [
        next(
            (
                x["difference"]
                for x in study.published(row.m, row.trained_N)
                if x["estimator"] == row.estimator and x["against"] == study.against
            ),
            float("nan"),
        )
        for row in joined.itertuples()
    ]
    place = {label: i for i, label in enumerate(style.ordered(study.options))}
    order = {name: i for i, name in enumerate(study.scenarios)}
    keys = [joined["scenario"].map(order), joined["estimator"].map(place)]
    joined = joined.assign(first=keys[0], last=keys[1])
    joined = joined.sort_values(["first", "m", "trained_N", "last"], ignore_index=True)
    return joined.drop(columns=["first", "last"])


def report(study: Study) -> str:
    """Return the table as text, a block for each scenario, m and N."""
    lines = []
    rows = table(study)
    start = study.curves[study.curves["estimator"] == START].set_index(["scenario", "N"])["value"]
    for (scenario, m, N), block in rows.groupby(["scenario", "m", "trained_N"], sort=False):
        before = f"; the start has {start[scenario, N]:.3f}" if (scenario, N) in start else ""
        lines += ["", f"{scenario}: m = {m}, best of {N}{before}"]
        shown = pd.DataFrame(
            {
                f"best of {N}": block["value"].map("{:.3f}".format),
                f"minus {study.against}": [
                    _interval(x.difference, x.difference_low, x.difference_high)
                    for x in block.itertuples()
                ],
                "published": [_number(x, "+.3g") for x in block["published"]],
                "mean": block["reward"].map("{:.3f}".format),
                "length": block["length"].map("{:.0f}".format),
                "KL": block["kl"].map("{:.2f}".format),
                "runs": block["seeds"],
            }
        )
        lines.append(shown.set_axis(block["estimator"].tolist()).to_string())
    sources = {x["source"] for x in study.manifest["configuration"]["published"]}
    lines += [
        "",
        "Held-out prompts, in units of the reward model; 95 % intervals over prompts and runs, of "
        "one run over prompts alone. KL from the start, in nats an answer.",
        f"Published: {', '.join(sorted(sources))}; its reward and lengths may not be these.",
    ]
    return "\n".join(lines).lstrip("\n")


def _interval(value: float, low: float, high: float) -> str:
    return "" if pd.isna(value) else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _number(value: float, form: str) -> str:
    return "" if pd.isna(value) else format(value, form)


def main(
    results: Annotated[Path, typer.Argument(help="Folder of simulations.recipes.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("figures/recipe"),
    summary: Annotated[Path | None, typer.Option(help="Folder for a small copy.")] = None,
) -> None:
    """Draw the figures of the paper's experiment and print its table."""
    from analysis.lm import recipe_figures

    with one_line_errors():
        study = load(results)
        rows = table(study)
        with store.whole(out / "recipe.csv") as file:
            rows.to_csv(file, index=False)
    figures = {
        "recipe_gain": partial(recipe_figures.gain, study),
        "recipe_curves": partial(recipe_figures.curves, study),
    }
    save(figures, out)
    if summary:
        read.write_summary(study, results, summary)
    typer.echo(report(study))
    typer.echo(f"{len(figures)} figures, PNG and PDF, and recipe.csv: {out}")
