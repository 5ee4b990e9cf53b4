"""False alarms and power of `tea-stats diagnose`: how often it gives each verdict on known laws.

python -m simulations.verdict_rates --out analysis/summaries/verdict_rates.csv
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from simulations.core.command import one_line_errors
from simulations.core.progress import track
from tea_stats.diagnosis import Verdict, diagnose
from tea_stats.families import Beta, GaussianTail, GenPareto, Gumbel, Law, Normal, StudentT
from tea_stats.reward_log import RewardLog

LAWS: dict[str, Law] = {
    "Normal": Normal(),
    "GaussianTail": GaussianTail(),
    "GenPareto(0)": GenPareto(0.0),
    "Gumbel": Gumbel(),
    "Student t(5)": StudentT(5.0),
    "GenPareto(-0.25)": GenPareto(-0.25),
    "GenPareto(0.4)": GenPareto(0.4),
    "uniform": Beta(1.0, 1.0),
}
#: prompts and rollouts of a log
SHAPES = ((16, 16), (64, 8), (64, 16), (64, 64), (512, 16), (512, 64), (4, 512))
#: standard deviation of the log of the prompts' scales
UNEVEN = 0.5
ASSUMPTIONS = ("gaussian_shape", "straight_plot", "finite_variance", "stable_shape")


def log(law: Law, prompts: int, m: int, rng: np.random.Generator) -> RewardLog:
    """Return a log whose prompts differ in location and scale."""
    scale = np.exp(UNEVEN * rng.standard_normal((prompts, 1)))
    place = 10.0 * rng.standard_normal((prompts, 1))
    return RewardLog.from_groups(place + scale * law.sample((prompts, m), rng))


def rates(law: Law, prompts: int, m: int, logs: int, seed: int) -> pd.DataFrame:
    """Return the share of logs that get each verdict, one row per assumption."""
    counts = {name: dict.fromkeys(Verdict, 0) for name in ASSUMPTIONS}
    for place in range(logs):
        rng = np.random.default_rng([seed, law.stable_id, prompts, m, place])
        for finding in diagnose(log(law, prompts, m, rng)).findings:
            if finding.name in counts:
                counts[finding.name][finding.verdict] += 1
    table = pd.DataFrame(counts).T.div(logs)
    return table.rename_axis("assumption").reset_index().assign(prompts=prompts, m=m, logs=logs)


@one_line_errors()
def main(
    logs: Annotated[int, typer.Option(min=1, help="Logs of each law and shape.")] = 400,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the table there (.csv).")] = None,
) -> None:
    """Measure how often each verdict is given; the standard error is at most 0.5/√logs."""
    tables = [
        rates(law, *shape, logs, seed).assign(law=label)
        for label, law in track(LAWS.items(), "laws")
        for shape in SHAPES
    ]
    heads = ["law", "prompts", "m", "assumption", "logs"]
    table = pd.concat(tables, ignore_index=True).set_index(heads).rename(columns=str).reset_index()
    if out is not None:
        table.to_csv(out, index=False, float_format="%.4g")
    typer.echo(table.to_string(index=False))
