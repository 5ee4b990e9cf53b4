"""The article's figures: the scripts of `analysis`, on the committed summaries, as PDF."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from analysis.bandit import figures
from analysis.benchmark import performance_profile
from analysis.core.write import save
from analysis.grid import bias_variance_vs_ratio, bias_vs_m, variance_vs_m, winners
from analysis.lm import exact_figures, pool_figures
from analysis.paper.studies import Studies

#: name of the file, without its ending, and what draws it
FIGURES: Mapping[str, Callable[[Studies], Figure]] = {
    "bias_vs_m": lambda studies: bias_vs_m.draw(studies.theory),
    "variance_vs_m": lambda studies: variance_vs_m.draw(studies.theory),
    "winners": lambda studies: winners.draw(studies.grid),
    "bias_variance_vs_ratio": lambda studies: bias_variance_vs_ratio.draw(studies.grid),
    "performance_profile": lambda studies: performance_profile.draw(studies.league),
    "bandit_quality": lambda studies: figures.quality(studies.bandit),
    "lm_cosine": lambda studies: pool_figures.cosine(studies.lm_pool),
    "lm_gain": lambda studies: exact_figures.final(studies.lm_exact, studies.lm_exact.stages[0][0]),
    "lm_frontier": lambda studies: exact_figures.training(
        studies.lm_exact, *studies.lm_exact.stages[0]
    ),
    "lm_prediction": lambda studies: exact_figures.prediction(
        studies.lm_exact, studies.lm_exact.stages[0][1]
    ),
    "lm_tails": lambda studies: pool_figures.tails(studies.lm_pool),
}


#: figures that the README and the findings show
OF_PAGES = (
    *("bias_vs_m", "winners", "bias_variance_vs_ratio", "performance_profile"),
    *("lm_gain", "lm_prediction"),
)


def draw(studies: Studies, out: Path) -> list[Path]:
    """Draw every figure into `out`; return the files."""
    return save({name: partial(make, studies) for name, make in FIGURES.items()}, out, ["pdf"])


def draw_for_pages(studies: Studies, out: Path) -> list[Path]:
    """Draw the figures that pages show, as PNG; return the files."""
    return save({name: partial(FIGURES[name], studies) for name in OF_PAGES}, out, ["png"])
