"""The figures of bandit training: regret curves, lost shares, and gradient quality against both."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.bandit.read import EXACT, OWN, Scenario, Study
from analysis.core import style
from analysis.core.panels import outer, trellis

#: ends of the axes of relative rollouts; what lies outside is drawn at the rim
LEAST, MOST = 0.2, 5.0
FAINT = Line2D([], [], color=style.GREY, marker="o", ls="", ms=2, alpha=0.5, label="one law")


def percent(share: float) -> str:
    """Write a share as whole per cent."""
    return f"{100 * share:.0f} %".replace("-", "−")


def ranking(shares: pd.Series, most: int = 3) -> str:
    """Write the smallest shares of a series by estimator, and the largest."""
    ranked = shares.sort_values()
    least = ", ".join(f"{label} ({percent(share)})" for label, share in ranked.head(most).items())
    return f"least by {least}, most by {ranked.index[-1]} ({percent(ranked.iloc[-1])})"


# --- regret -------------------------------------------------------------------------------------


def regret(study: Study, scenario: Scenario) -> Figure:
    """Regret over the exact path's final gain against rollouts, 95 % bands, a panel per law."""
    looks, labels = style.looks(study.options), _drawn(study, scenario)
    here = study.rows(scenario, "curves")
    # as few empty places as can be
    columns = min((3, 4), key=lambda columns: -len(study.laws) % columns)
    figure, axes = trellis(study.laws, height=1.5, columns=columns, sharex=True, sharey=True)
    for law, panel in axes.items():
        rows = here[here["law"] == law].set_index("estimator")
        exact = rows.loc[EXACT, "value_mean"].to_numpy()
        gain = exact[-1] - exact[0]
        for label in labels:
            if label not in rows.index:
                continue
            curve = rows.loc[label]
            x = curve["rollouts"].to_numpy()
            mean, band = curve["regret_mean"].to_numpy() / gain, curve["band"].to_numpy() / gain
            look = looks[label]
            panel.fill_between(x, mean - band, mean + band, color=look.colour, alpha=0.2, lw=0)
            every = max(1, len(x) // 6)
            panel.plot(x, mean, **{**look.line, "ms": 3}, markevery=(every // 2, every))
        panel.set_ylim(-0.02, 1.1)
    outer(axes, "rollouts", "regret, over the\nexact path's gain")
    style.title(
        figure,
        f"{scenario}: lost share, mean over training and laws: "
        f"{ranking(study.means.loc[tuple(scenario), 'share'])}",
    )
    style.legend(figure, looks, labels)
    return figure


def _drawn(study: Study, scenario: Scenario, limit: int = 8) -> list[str]:
    """Return the arms whose curves are drawn: those of the title first, then the main ones."""
    ranked = list(study.means.loc[tuple(scenario), "share"].sort_values().index)
    labels = [study.reference, *ranked[:3], ranked[-1]]
    labels += [label for label in style.chosen(study.options, limit) if label in ranked]
    first = list(dict.fromkeys(labels))[:limit]
    return [label for label in style.ordered(study.options) if label in first]


# --- lost shares --------------------------------------------------------------------------------


def shares(study: Study) -> Figure:
    """Lost share by estimator: a marker with its 95 % interval per law, a bar for their mean."""
    looks, labels = style.looks(study.options), style.ordered(study.options)
    figure, axes = _scenario_panels(study, height=0.4 + 0.13 * len(labels), below=0.8)
    for scenario, panel in axes.items():
        here = study.rows(scenario)
        for place, label in enumerate(labels):
            mine = here[here["estimator"] == label]
            y = place + np.linspace(-0.3, 0.3, len(mine))
            look = {**looks[label].line, "ls": "", "elinewidth": 0.7, "ms": 2.5}
            panel.errorbar(mine["share"], y, xerr=style.Z * mine["share_se"], **look)
            if (*scenario, label) in study.means.index:
                mean = study.means.loc[(*scenario, label), "share"]
                panel.plot([mean, mean], [place - 0.4, place + 0.4], color=style.INK, lw=1.4)
        panel.margins(x=0.03)
        panel.locator_params(axis="x", nbins=6)
        panel.set_yticks(range(len(labels)), labels)
        panel.set_ylim(len(labels) - 0.4, -0.6)
        panel.grid(axis="y", visible=False)
    for panel in axes.values():
        # the axis starts at 0, where nothing is lost
        panel.set_xlim(min(0.0, panel.get_xlim()[0]), panel.get_xlim()[1])
        panel.axvline(1.0, color=style.INK, lw=0.6, ls=":")
    figure.supxlabel("lost share of the exact path's gain (dotted: no training)", fontsize=8)
    overall = study.means["share"].groupby(["policy", "estimator"], sort=False).mean()
    extremes = "; ".join(
        f"{policy}, {ranking(overall[policy], most=2)}" for policy in _policies(study)
    )
    style.title(figure, f"Lost share of the exact path's gain, mean over laws: {extremes}")
    return figure


# --- gradient quality ---------------------------------------------------------------------------


def quality(study: Study) -> Figure:
    """Quality of the first gradient against training: speed above, where it ends below."""
    looks, labels = style.looks(study.options), style.ordered(study.options)
    policies = _policies(study)
    figure, grid = plt.subplots(
        2,
        len(policies),
        figsize=(style.PAGE, 4.9),
        sharex="row",
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for policy, (speed, end) in zip(policies, grid.T, strict=True):
        rows = study.arms[study.arms["policy"] == policy]
        means = study.means.loc[policy]
        speed.set_title(policy, loc="left")
        for label in labels:
            look, mine = looks[label], rows[rows["estimator"] == label]
            faint = {"color": look.colour, "marker": look.marker, "s": 4, "alpha": 0.35, "lw": 0}
            bold = {**look.line, "ls": "", "ms": 5, "mec": "white", "markeredgewidth": 0.4}
            if label != study.reference:
                speed.scatter(_rim(mine["predicted"]), _rim(mine[f"ratio_{OWN}"]), **faint)
            end.scatter(mine["alignment"], mine["gap"], **faint)
            if label in means.index.get_level_values("estimator"):
                middle = means.xs(label, level="estimator")
                speed.plot(_rim(middle["predicted"]), _rim(middle[f"ratio_{OWN}"]), **bold)
                end.plot(middle["alignment"], middle["gap"], **bold)
        _ratio_axes(speed)
        end.set_xlim(-0.05, 1.05)
        end.set_ylim(-0.05, 1.1)
        speed.set_xlabel("predicted from the cosines")
        end.set_xlabel("alignment (1: unbiased)")
    grid[0, 0].set_ylabel(f"relative rollouts until\n90 % of {study.reference}'s gain")
    grid[1, 0].set_ylabel("regret at the end, over\nthe exact path's gain")
    style.title(figure, _prediction(study))
    style.legend(figure, looks, labels, FAINT)
    return figure


def _prediction(study: Study) -> str:
    """Return how well the first gradient's cosine predicts speed, and its alignment the end."""
    speed, ends = [], []
    for policy in _policies(study):
        rows = study.arms[study.arms["policy"] == policy]
        others = rows[rows["estimator"] != study.reference]
        off = np.abs(np.log(others[f"ratio_{OWN}"] / others["predicted"])).median()
        factor = f"{np.exp(off):.2f}" if np.exp(off) < MOST else f"over {MOST:g}"
        speed.append(f"{factor} ({policy})")
        rank = rows["alignment"].corr(rows["gap"], method="spearman")
        ends.append(f"{style.number(rank)} ({policy})")
    return (
        "The squared cosine of the first gradient predicts the rollouts needed to within a factor "
        f"of {', '.join(speed)} in the median. The regret left at the end goes with its bias: rank "
        f"correlation {', '.join(ends)}"
    )


def _rim(ratios: pd.Series) -> pd.Series:
    return ratios.clip(LEAST, MOST)


def _ratio_axes(axes: Axes) -> None:
    """Set both axes for ratios: logarithmic, with the line of equality and a rim for the rest."""
    ends = np.array([LEAST / 1.12, MOST * 1.12])
    axes.plot(ends, ends, color=style.GREY, lw=0.8, zorder=1)
    for axis, scale, limits in (
        (axes.xaxis, axes.set_xscale, axes.set_xlim),
        (axes.yaxis, axes.set_yscale, axes.set_ylim),
    ):
        scale("log")
        limits(*ends)
        axis.set_ticks([LEAST, 0.5, 1.0, 2.0, MOST], [f"≤{LEAST:g}", "0.5", "1", "2", f"≥{MOST:g}"])
        axis.set_ticks([], minor=True)


# --- shared -------------------------------------------------------------------------------------


def _policies(study: Study) -> list[str]:
    return list(dict.fromkeys(scenario.policy for scenario in study.scenarios))


def _scenario_panels(
    study: Study, height: float, below: float
) -> tuple[Figure, dict[Scenario, Axes]]:
    """Return a page-wide figure with a row for each policy, or a single row for a single budget."""
    policies = _policies(study)
    columns = len(study.scenarios) // len(policies)
    rows, columns = (len(policies), columns) if columns > 1 else (1, len(policies))
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(style.PAGE, height * rows + below),
        sharex="row" if rows > 1 else False,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    panels = dict(zip(study.scenarios, grid.flat, strict=True))
    for scenario, axes in panels.items():
        axes.set_title(str(scenario), loc="left")
    return figure, panels
