"""The article's numbers on completions of some length, whose gradients cannot be listed.

Three runs of an arm say little of seeds: a difference is told only where its interval, over prompts
and seeds resampled together, excludes zero and every run has its sign.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.core import style
from analysis.lm.training_figures import START, Training
from analysis.paper import latex
from analysis.paper.latex import count, decimal, power_of_ten
from analysis.paper.lm_exact import listed
from analysis.paper.studies import Studies


def numbers(studies: Studies) -> dict[str, str]:
    """Return the study's sizes and sentences by key."""
    study = studies.lm_training
    settings = study.manifest["configuration"]
    training, held_out = settings["training"], settings["evaluation"]
    return {
        "long/tokens": count(settings["new_tokens"]),
        "long/arms": count(len(settings["estimators"])),
        "long/seeds": count(settings["seeds"]),
        "long/steps": count(training["steps"]),
        "long/batch": count(training["batch"]),
        "long/rate": power_of_ten(settings["tuning"]["rates"][0]),
        "long/heldout": f"{count(held_out['count'])} held-out prompts",
        "long/gains": gains(study),
        "long/told": told(study),
        "long/cosine": cosine(study),
    }


def rows(studies: Studies) -> dict[str, list[str]]:
    """Return no table."""
    return {}


def gains(study: Training) -> str:
    """Write each arm's gain in the mean and in the best of the largest N, ± half its interval."""
    (scenario,) = study.scenarios
    both = [study.gains(scenario, N) for N in (1, study.most)]
    parts = []
    for label in style.ordered(study.options):
        written = [
            latex.number(f"{row['difference']:+.2f} ± {(row['high'] - row['low']) / 2.0:.2f}")
            for row in (table.loc[label] for table in both)
        ]
        parts.append(f"{latex.name(label)} {written[0]} and {written[1]}")
    return f"in the mean and in the best of {count(study.most)}: {'; '.join(parts)}"


def told(study: Training) -> str:
    """Say which arms are told apart, in the mean and in the best of the largest N."""
    (scenario,) = study.scenarios
    parts = []
    for N in (1, study.most):
        pairs = list(apart(study, scenario, N))
        what = "the mean" if N == 1 else f"the best of {count(N)}"
        better = [
            f"{latex.name(label)} is above {listed(under)}"
            for label in style.ordered(study.options)
            if (under := [latex.name(worse) for own, worse in pairs if own == label])
        ]
        parts.append(f"In {what}, {'; '.join(better) or 'no two arms are told apart'}.")
    return " ".join(parts)


def apart(study: Training, scenario: str, N: int) -> Iterator[tuple[str, str]]:
    """Yield the pairs (better arm, worse arm) that are told apart at one N."""
    runs = study.runs[(study.runs["scenario"] == scenario) & (study.runs["N"] == N)]
    values = runs.pivot(index="seed", columns="estimator", values="value")
    table = study.differences[
        (study.differences["scenario"] == scenario)
        & (study.differences["N"] == N)
        & (study.differences["against"] != START)
    ]
    for row in table.itertuples():
        by_run = values[row.estimator] - values[row.against]
        if row.low > 0.0 and (by_run > 0).all():
            yield str(row.estimator), str(row.against)
        if row.high < 0.0 and (by_run < 0).all():
            yield str(row.against), str(row.estimator)


def cosine(study: Training) -> str:
    """Say how near the mean's gradient is to best-of-N's before training, and how well known."""
    oracle, plan = study.oracle, study.manifest["configuration"]["oracle"]
    if oracle is None or "mean_cosine" not in oracle:
        return "is not known"
    row, N = oracle.iloc[0], count(plan["N"])
    value = row["mean_cosine"]
    if np.isnan(value):
        what = "cannot be told from noise"
    else:
        what = f"is {decimal(value)}"
    return (
        f"{what}, of {count(plan['count'])} prompts together, from products across halves of "
        f"{count(plan['rollouts'])} rollouts of each; the halves' own cosines are "
        f"{decimal(row['reliability'])} (best of {N}) and {decimal(row['mean_reliability'])} (mean)"
    )
