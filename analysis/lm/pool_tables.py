"""Numbers from pools of a language model's rollouts.

There are two truths. The gradient *of the pool*: the pool taken as the law, its best-of-N gradient
exact; numbers are means over prompts with the standard error between prompts (the simulation's own
is far smaller). And the gradient *of the model* behind the pools, from products of halves: the
noise of a pool's few best rollouts is removed, at the price of large standard errors.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.core import style
from analysis.lm.pool_figures import GAUSSIAN, NORMAL, POOL, Pools

#: standard errors from which a difference is significant
SIGNIFICANT = 2.0
#: median standard error of the cosines up to which the model's gradient is resolved
KNOWN = 0.15


def report(pools: Pools) -> str:
    """Return tails, noise, cosines, errors, rates and the best estimators, as text."""
    parts = ["Tails: straightness of the upper quarter's normal QQ plot, and its Pareto shape"]
    parts.append(tails(pools))
    parts += ["", "Share of a pool's squared gradient that is noise, by halves, and by d/(d + M/N)"]
    parts.append(noise(pools))
    for reward in pools.rewards:
        parts += ["", f"{reward}: cosine; error of 64 prompts at its best length (± s.e.)"]
        parts += [of_pools(pools, reward), "", of_model(pools, reward)]
    parts += ["", "Rates: slope of log ‖bias‖ on log m, m = " + _ends(pools), rates(pools)]
    parts += ["", "Best estimators, and those within 2 s.e. of them:", *findings(pools)]
    return "\n".join(parts)


# --- tails ----------------------------------------------------------------------------------------


def tails(pools: Pools) -> str:
    """Return one line per reward: ranges over pools, beside those of Gaussian samples."""
    names = ["skew", "tied", "qq_r2", "shape"]
    rows = {}
    for reward, part in pools.tails[pools.tails["pool"] != "chance"].groupby("reward", sort=False):
        rows[reward] = {name: _range(part[name]) for name in names}
    low, high = pools.chance.loc["low"], pools.chance.loc["high"]
    rows["Gaussian samples"] = {x: f"{low[x]:.3f} to {high[x]:.3f}" for x in names}
    return pd.DataFrame(rows).T.to_string()


def _range(values: pd.Series) -> str:
    if values.isna().all():
        return "–"
    return f"{values.median():.3f} ({values.min():.3f} to {values.max():.3f})"


def noise(pools: Pools) -> str:
    """Return the noise of the pools' gradients by reward and N, means over pools."""
    rows = pools.noise.groupby(["reward", "N"], sort=False)[["share", "rule"]].mean()
    return rows.round(2).to_string()


# --- cosine and error -----------------------------------------------------------------------------


def over_prompts(pools: Pools, reward: str, kind: str = POOL) -> pd.DataFrame:
    """Return mean and standard error over prompts of cosine and error, per estimator, m and N.

    The gradient is that of the pool. Columns estimator, m, N, cosine, cosine_se, scaled_nmse,
    scaled_nmse_se.
    """
    rows = pools.table[(pools.table["reward"] == reward) & (pools.table["kind"] == kind)]
    over = rows.groupby(["estimator", "m", "N"], sort=False)[["cosine", "scaled_nmse"]]
    return over.mean().join(over.sem().add_suffix("_se")).reset_index()


def of_pools(pools: Pools, reward: str) -> str:
    """Return the table of the pools' own gradient, and the same with a normal tail."""
    parts = [_wide(pools, over_prompts(pools, reward), "of the pool")]
    if (pools.table["kind"][pools.table["reward"] == reward] == GAUSSIAN).any():
        normal = over_prompts(pools, reward, GAUSSIAN)
        parts.append(_wide(pools, normal, "of the pool, its rewards made normal in the same order"))
        law = pools.table[pools.table["kind"] == NORMAL]
        law = law.assign(cosine_se=law["cosine_mcse"], scaled_nmse_se=np.nan)
        parts.append(_wide(pools, law, "of the Normal law itself"))
    return "\n".join(parts)


def of_model(pools: Pools, reward: str) -> str:
    """Return the table of the model's gradient, from halves, with jackknife standard errors."""
    rows = pools.model[(pools.model["reward"] == reward) & (pools.model["kind"] == POOL)]
    return _wide(pools, rows, "of the model behind the pools")


def _wide(pools: Pools, rows: pd.DataFrame, title: str) -> str:
    """Write rows of estimators, columns of (m, N)."""
    columns = ["m", "N", "cosine", "cosine_se", "scaled_nmse", "scaled_nmse_se"]
    cells = {}
    for estimator, part in rows.groupby("estimator", sort=False):
        cells[estimator] = {
            f"{m:.0f}, {N:.0f}": f"{_pm(c, c_se)}; {_pm(e, e_se)}"
            for m, N, c, c_se, e, e_se in part[columns].itertuples(index=False)
        }
    order = [x for x in style.ordered(pools.options) if x in cells]
    return f"{title} (m, N in the columns)\n{pd.DataFrame(cells).T.loc[order].to_string()}"


def _pm(value: float, se: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.2f} ± {se:.2f}" if np.isfinite(se) else f"{value:.2f}"


# --- rates ----------------------------------------------------------------------------------------


def _ends(pools: Pools) -> str:
    m = sorted({m for m, _ in pools.budgets})
    return f"{m[0]} to {m[-1]}"


def slopes(pools: Pools) -> pd.DataFrame:
    """Return how fast the bias falls: slope of log ‖bias‖ on log m between the ends of m.

    Returns
    -------
    DataFrame
        Columns reward, kind, estimator, N, slope (mean over prompts) and slope_se (between
        prompts; nan for the Normal law). Empty with one m; -inf where no bias is left at the end.
    """
    m = sorted({m for m, _ in pools.budgets})
    if len(m) < 2:
        return pd.DataFrame(columns=["reward", "kind", "estimator", "N", "slope", "slope_se"])
    keys = ["reward", "kind", "estimator", "N", "pool"]
    bias = pools.table.pivot(index=keys, columns="m", values="relative_bias")
    with np.errstate(divide="ignore"):
        slope = np.log(bias[m[-1]] / bias[m[0]]) / np.log(m[-1] / m[0])
    over = slope.groupby(level=keys[:-1], sort=False)
    return over.agg(slope="mean", slope_se="sem").reset_index()


def rates(pools: Pools) -> str:
    """Return the slopes as a table: estimators, and rewards at the largest N."""
    rows = slopes(pools)
    if rows.empty:
        return "one m only"
    rows = rows[rows["N"] == rows["N"].max()]
    cells: dict[str, dict[str, str]] = {}
    for row in rows.itertuples():
        name = row.reward if row.kind != GAUSSIAN else f"{row.reward}, normal"
        text = _pm(row.slope, row.slope_se) if np.isfinite(row.slope) else "no bias"
        cells.setdefault(name, {})[row.estimator] = text
    order = [x for x in style.ordered(pools.options) if x in next(iter(cells.values()))]
    return f"N = {rows['N'].max()}\n{pd.DataFrame(cells).loc[order].to_string()}"


# --- the best estimators --------------------------------------------------------------------------


def findings(pools: Pools) -> list[str]:
    """Return the estimators nearest to the gradient for every reward, m and N."""
    lines = []
    for reward in pools.rewards:
        for m, N in pools.budgets:
            lines.append(f"{reward}, m = {m}, N = {N}")
            for metric, name in (("cosine", "best cosine"), ("scaled_nmse", "lowest error")):
                best, value, se, tied = nearest(pools, reward, m, N, metric)
                also = f"; not significantly better than {', '.join(tied)}" if tied else ""
                lines.append(f"  pools: {name} {best} ({value:.2f} ± {se:.2f}){also}")
            lines.append(f"  model: {_model(pools, reward, m, N)}")
    return lines


def nearest(
    pools: Pools, reward: str, m: int, N: int, metric: str
) -> tuple[str, float, float, list[str]]:
    """Return the best estimator on the pools, its number with standard error, and those tied.

    Tied are those whose paired difference from the best, over prompts, is within 2 standard errors
    of 0.
    """
    rows = pools.table[
        (pools.table["reward"] == reward)
        & (pools.table["kind"] == POOL)
        & (pools.table["m"] == m)
        & (pools.table["N"] == N)
    ]
    wide = rows.pivot(index="pool", columns="estimator", values=metric)
    best = wide.mean().idxmax() if metric == "cosine" else wide.mean().idxmin()
    gap = wide.sub(wide[best], axis=0)
    significant = gap.mean().abs() > SIGNIFICANT * gap.sem()
    others = [x for x in style.ordered(pools.options) if x in wide and x != best]
    tied = [x for x in others if not significant[x]]
    return best, float(wide[best].mean()), float(wide[best].sem()), tied


def _model(pools: Pools, reward: str, m: int, N: int) -> str:
    rows = pools.model[
        (pools.model["reward"] == reward)
        & (pools.model["kind"] == POOL)
        & (pools.model["m"] == m)
        & (pools.model["N"] == N)
    ].dropna()
    # the median error, not that of the best cosine: noise must not choose what is reported
    if rows.empty or rows["cosine_se"].median() > KNOWN:
        return "its gradient is not resolved"
    texts = [
        f"{x.estimator} {_pm(x.cosine, x.cosine_se)}"
        for x in rows.sort_values("cosine", ascending=False).itertuples()
    ]
    return f"cosine {', '.join([*texts[:3], '…', *texts[-2:]])}"
