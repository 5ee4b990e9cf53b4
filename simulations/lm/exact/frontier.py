"""What a gain costs: exact gains at equal divergence from the start, with both intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from simulations.lm.exact.schema import ExactStudy
from simulations.lm.tree import Array

#: divergences from the start, in nats, at which arms are compared
KL = (0.5, 1.0, 2.0)


def frontier(gain: pd.DataFrame, study: ExactStudy) -> pd.DataFrame:
    """Return every arm's gain in the scenario's V_N where its mean divergence is that of `KL`.

    Along each run, divergence (mean over prompts) and gains are interpolated between evaluations;
    a run that never diverges so far has no value.

    Returns
    -------
    DataFrame
        scenario, rate, split, estimator, kl, gain, seeds (runs that get there), and half a 95 %
        t interval over seeds and over prompts.
    """
    rows = []
    key = ["scenario", "rate", "split", "estimator"]
    for names, part in gain.groupby(key, sort=False):
        N = study.scenarios[names[0]].N
        found = [_along(run, f"V_{N}") for _, run in part.groupby("seed")]
        for place, kl in enumerate(KL):
            at = np.array([run[place] for run in found if not np.isnan(run[place]).any()])
            row = dict(zip(key, names, strict=True)) | {"N": N, "kl": kl, "seeds": len(at)}
            row["gain"] = float(at.mean()) if at.size else np.nan
            row["half_seeds"] = half_width(at.mean(axis=1)) if at.size else np.nan
            row["half_prompts"] = half_width(at.mean(axis=0)) if at.size else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


def _along(run: pd.DataFrame, value: str) -> Array:
    """Return one run's gain at each of `KL`, by prompt; shape (len(KL), prompts)."""
    wide = run.pivot(index="step", columns="prompt", values=value).to_numpy()
    kl = np.concatenate([[0.0], run.groupby("step")["kl"].mean().to_numpy()])
    wide = np.concatenate([np.zeros((1, wide.shape[1])), wide])
    # the first time that the divergence is reached; later it may fall again
    climbed = np.maximum.accumulate(kl)
    points = np.array(KL)
    at = np.column_stack([np.interp(points, climbed, column) for column in wide.T])
    at[points > climbed[-1]] = np.nan
    return at


def half_width(values: Array) -> float:
    """Return half the 95 % t interval of a mean; nan for a single value.

    Examples
    --------
    >>> round(half_width(np.array([1.0, 2.0, 3.0])), 3)
    2.484
    """
    n = len(values)
    if n < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
