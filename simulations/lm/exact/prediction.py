"""Whether the quality of an estimator's first gradient predicts what it gains by training."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from simulations.lm.exact import quality
from simulations.lm.exact.schema import ExactStudy
from simulations.lm.tree import Array

#: what is known of an estimator before training, and its sign: an error should be small
FIGURES = {"gain": 1.0, "cosine": 1.0, "error": -1.0, "bias2": -1.0}
#: resamplings of arms and seeds
RESAMPLED = 2000


def predicted(before: pd.DataFrame, runs: pd.DataFrame, study: ExactStudy) -> pd.DataFrame:
    """Return rank correlations between figures before training and exact gains in V_N after it.

    Both are of the batch of trained prompts, the figures with as many groups as a training step
    has and along the adapters' directions.

    Returns
    -------
    DataFrame
        scenario, rate, step, split, figure, arms, seeds, correlation (Spearman's, over arms, of a
        figure with the mean gain over seeds), and its 95 % interval low, high, from resampling arms
        and seeds.
    """
    rows = []
    sampled = runs[runs["estimator"].isin(list(study.estimators))]
    for scenario, part in sampled.groupby("scenario", sort=False):
        known = _figures(before, scenario, study)
        N = study.scenarios[scenario].N
        steps = sorted({step for step in (10, study.training.steps) if step in set(part["step"])})
        for rate, step, split in product(part["rate"].unique(), steps, part["split"].unique()):
            kept = (part["rate"] == rate) & (part["step"] == step) & (part["split"] == split)
            wide = part[kept].pivot(index="estimator", columns="seed", values=f"V_{N}")
            # seeds that all arms have
            wide = wide.loc[wide.index.isin(known.index)].dropna(axis=1)
            if min(wide.shape) == 0 or len(wide) < 4:
                continue
            where = {"scenario": scenario, "rate": rate, "step": step, "split": split}
            for figure, sign in FIGURES.items():
                x = sign * known.loc[wide.index, figure].to_numpy()
                value, low, high = correlation(x, wide.to_numpy())
                rows.append(where | {"figure": figure, "arms": len(wide), "seeds": wide.shape[1]})
                rows[-1] |= {"correlation": value, "low": low, "high": high}
    columns = ["scenario", "rate", "step", "split", "figure", "arms", "seeds"]
    return pd.DataFrame(rows, columns=[*columns, "correlation", "low", "high"])


def _figures(before: pd.DataFrame, scenario: str, study: ExactStudy) -> pd.DataFrame:
    m, N = study.scenarios[scenario].m, study.scenarios[scenario].N
    kept = (before["scenario"] == scenario) & (before["prompt"] == quality.ALL)
    kept &= (before["scores"] == quality.ADAPTER) & (before["m"] == m) & (before["N"] == N)
    kept &= before["groups"] == study.training.batch
    return before[kept].set_index("estimator")


def correlation(x: Array, gains: Array, seed: int = 0) -> tuple[float, float, float]:
    """Return Spearman's correlation of x[arm] with the mean of gains[arm, seed], and 95 % limits.

    Examples
    --------
    >>> correlation(np.arange(5.0), np.arange(5.0)[:, None] ** 3)[0]
    1.0
    """
    rng, resampled = np.random.default_rng(seed), []
    for _ in range(RESAMPLED):
        arms = rng.integers(len(x), size=len(x))
        seeds = rng.integers(gains.shape[1], size=gains.shape[1])
        mean = gains[arms][:, seeds].mean(axis=1)
        if len(set(arms)) > 2:
            resampled.append(_spearman(x[arms], mean))
    low, high = np.quantile(resampled, [0.025, 0.975])
    return _spearman(x, gains.mean(axis=1)), float(low), float(high)


def _spearman(x: Array, y: Array) -> float:
    """Return the correlation of ranks; faster than scipy's, which also finds p-values."""
    one, two = (stats.rankdata(values) - (len(x) + 1) / 2 for values in (x, y))
    return float(one @ two / np.sqrt((one @ one) * (two @ two)))
