"""Figure: every setting of the league as a dot, by estimator; development and held-out apart.

Above, the error over that of the better reference; below, the one-step gain over the largest of
the setting, at a language model's noise.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.batches.read import GAINS, LEAST, MOST, PARTS, League
from analysis.batches.tables import standings
from analysis.core import style
from analysis.core.style import GREY, INK

#: ratios of errors beyond these are drawn at the edge
NEAR, FAR = 0.03, 1e4
NOISE = GAINS[-1]


def draw(league: League, estimator: str = "auto TEA") -> Figure:
    """Draw a strip of dots for each estimator, best on top."""
    rows, looks = league.live, style.looks(league.options)
    labels = list(standings(rows)["estimator"])[::-1]
    figure, panels = plt.subplots(
        2,
        2,
        figsize=(style.PAGE, 0.15 * 2 * len(labels) + 2.0),
        sharey=True,
        layout="constrained",
    )
    for axes, part in zip(panels.T, PARTS, strict=True):
        own = rows[rows["part"] == part]
        for place, label in enumerate(labels):
            mine = own[own["estimator"] == label]
            colour = looks[label].colour
            ratio = mine["error_ratio"].clip(NEAR, FAR).to_numpy()
            _strip(axes[0], ratio, place, colour)
            _strip(axes[1], mine[f"{NOISE}_to_best"].clip(lower=0.0).to_numpy(), place, colour)
        axes[0].set(xscale="log", xlim=(0.8 * NEAR, 1.3 * FAR))
        axes[0].set_title(f"{part}: {own['setting'].nunique()} settings", pad=3)
        axes[0].axvline(MOST, color=GREY, lw=0.8)
        axes[0].set_xlabel(f"error / that of the better of {' and '.join(league.references)}")
        axes[1].axvline(LEAST, color=GREY, lw=0.8)
        axes[1].set(xlim=(-0.02, 1.02), xlabel="one-step gain / the largest, E‖S‖² = 10⁶")
    panels[0, 0].set_yticks(range(len(labels)), labels, fontsize=6.5)
    for axes in panels.flat:
        axes.set_ylim(-0.6, len(labels) - 0.4)
        axes.tick_params(axis="y", labelsize=6.5)
    style.title(figure, headline(league, estimator))
    return figure


def _strip(axes: Axes, values: np.ndarray, place: int, colour: str) -> None:
    # settings that lie on each other are spread by their rank
    spread = place + 0.28 * np.sin(2.4 * np.arange(len(values)))
    axes.plot(values, spread, ls="", marker="o", ms=2.0, mew=0, alpha=0.6, color=colour)
    if np.isfinite(values).any():
        axes.plot(np.nanmedian(values), place, ls="", marker="|", ms=9, mew=1.4, color=INK)


def headline(league: League, estimator: str) -> str:
    """Return how often an estimator is within the bounds, part by part."""
    texts = []
    for part in PARTS:
        table = standings(league.live[league.live["part"] == part]).set_index("estimator")
        own = table.loc[estimator]
        texts.append(
            f"{part} {own['within']:.0%} (worst {style.size(own['worst'])} ×)".replace("%", " %")
        )
    return (
        f"{estimator}: error at most {MOST:g} × that of the better of "
        f"{' and '.join(league.references)} in {', '.join(texts)}"
    )
