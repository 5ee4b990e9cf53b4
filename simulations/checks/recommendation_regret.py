"""The recommendation of `tea-stats diagnose` from a log, measured on the law of the log.

python -m simulations.recommendation_regret --out analysis/summaries/recommendation_regret.csv
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from simulations.core.command import one_line_errors
from simulations.core.progress import track
from tea_stats import RECOMMENDED, monte_carlo
from tea_stats.diagnosis import candidates, few_valued, recommend
from tea_stats.diagnosis.simulation import ratio
from tea_stats.families import (
    Affine,
    Beta,
    Gamma,
    GaussianTail,
    Law,
    LogNormal,
    NormalMixture,
    StudentT,
    Weibull,
)
from tea_stats.reward_log import RewardLog

#: none is in the library of laws that logs are fitted with
LAWS: dict[str, Law] = {
    "GaussianTail": GaussianTail(),
    "Gamma(2.5) moved": Affine(Gamma(2.5)),
    "Weibull(2.2) moved": Affine(Weibull(2.2)),
    "LogNormal(0.35) moved": Affine(LogNormal(0.0, 0.35)),
    "Student t(6)": StudentT(6.0),
    "Beta(8, 2.5) moved": Affine(Beta(8.0, 2.5)),
    "left skew moved": Affine(NormalMixture(0.3, 0.0, 1.0, -2.0, 2.0)),
    "15 % outliers moved": Affine(NormalMixture(0.15, 0.0, 1.0, 0.0, 2.5)),
    "5 % good mode moved": Affine(NormalMixture(0.05, 0.0, 1.0, 3.0, 1.2)),
}
#: verifiers: success rates of prompts from Beta(a, b)
VERIFIERS = ((0.3, 2.0), (1.0, 20.0), (0.2, 0.2), (2.0, 200.0))
PROMPTS, M, BATCH, BATCHES = 256, 16, 64, 256


def of_law(law: Law, N: int, seed: int) -> dict[str, Any]:
    """Return the recommendation for a log of a law, and the errors under the law itself."""
    rng = np.random.default_rng([seed, law.stable_id])
    advice = recommend(RewardLog.from_groups(law.sample((PROMPTS, M), rng)), N, m=M, seed=seed)
    compared = candidates.estimators(M, N, values=None, binary=False)
    table = monte_carlo.measure(law, compared, M, N, BATCH * BATCHES, seed, prompts=BATCH)
    errors = table[table["parameter"] == "all"].set_index("estimator")["nmse"]
    return row(advice.estimator, advice.score(advice.estimator).error, errors.to_dict(), N)


def of_verifier(a: float, b: float, N: int, seed: int) -> dict[str, Any]:
    """Return the recommendation for a log of a verifier, and the errors on its true prompts."""
    rng = np.random.default_rng([seed, int(1000 * a), int(1000 * b)])
    p = rng.beta(a, b, PROMPTS).clip(1e-12, 1.0 - 1e-12)
    log = RewardLog.from_groups((rng.random((PROMPTS, M)) < p[:, None]).astype(float))
    advice = recommend(log, N, m=M, seed=seed)
    values, chances = np.array([0.0, 1.0]), np.column_stack([1.0 - p, p])
    measured = few_valued.measure(
        values,
        chances,
        few_valued.truths(values, chances, N),
        candidates.estimators(M, N, values=2, binary=True),
        M,
        N,
        prompts=BATCH,
        batches=BATCHES,
        rng=rng,
    )
    square, _ = measured.pop("exact")
    errors = {label: ratio(error, square)[0] for label, (error, _) in measured.items()}
    return row(advice.estimator, advice.score(advice.estimator).error, errors, N)


def row(chosen: str, predicted: float, errors: dict[str, float], N: int) -> dict[str, Any]:
    """Return a row of the table."""
    best = min(errors, key=lambda label: errors[label])
    return {
        "N": N,
        "chosen": chosen,
        "foretold": predicted,
        "error": errors[chosen],
        "default": errors[RECOMMENDED],
        "best": best,
        "least": errors[best],
        "regret": errors[chosen] / errors[best],
    }


@one_line_errors()
def main(
    budget: Annotated[int, typer.Option("--N", min=1, help="Deployment budget.")] = 512,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the table there (.csv).")] = None,
) -> None:
    """Compare the recommendation with the best estimator, law by law: some 40 seconds."""
    rows = [
        {"law": label, **of_law(law, budget, seed)} for label, law in track(LAWS.items(), "laws")
    ] + [
        {"law": f"verifier, Beta({a}, {b})", **of_verifier(a, b, budget, seed)}
        for a, b in track(VERIFIERS, "verifiers")
    ]
    table = pd.DataFrame(rows)
    if out is not None:
        table.to_csv(out, index=False, float_format="%.3g")
    typer.echo(table.to_string(index=False, float_format="{:.3g}".format))
