"""`tea-stats compare`: the difference of two policies' best-of-N."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tea_stats import comparison, reward_log
from tea_stats.command_line import compare_text, figures, report as _report, shared
from tea_stats.prediction import METHODS
from tea_stats.reward_log import RewardLog

First = Annotated[
    str, typer.Argument(metavar="A", show_default=False, help="Rewards of the first policy.")
]
Second = Annotated[
    str, typer.Argument(metavar="B", show_default=False, help="Rewards of the second policy.")
]


@shared.one_line_errors
def command(
    first: First,
    second: Second,
    N: Annotated[int, typer.Option("--N", "-N", min=1, help="Budget of best-of-N.")],
    level: Annotated[float, typer.Option(help="Nominal coverage of the interval.")] = 0.95,
    population: Annotated[
        bool | None,
        typer.Option(
            "--population/--these-prompts",
            help="Average over the population the prompts come from (the default, unless there is "
            "only one prompt), or over these prompts, where only the rollouts are random.",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help=f"One of {', '.join(METHODS)}. [default: unbiased max@k where every prompt has N "
            "rollouts; else linear, or beta_binomial for few-valued rewards]"
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="Draw the difference at each N (.png, .pdf, .svg).", show_default=False),
    ] = None,
    report: shared.Report = None,
    prompt: shared.Prompt = None,
    reward: shared.Reward = None,
    step: shared.Step = None,
    rollout: shared.Rollout = None,
    where: shared.Where = None,
    success: shared.Success = None,
    wide: shared.Wide = False,
    drop_missing: shared.DropMissing = False,
    as_json: shared.Json = False,
    seed: shared.Seed = 0,
) -> None:
    """Compare two policies, checkpoints or arms by best-of-N, with an interval.

    Prompts with the same label are pairs. Up to the number of rollouts the difference is unbiased;
    beyond, both logs are extrapolated by the same method.

    For example:

      tea-stats compare before.jsonl after.jsonl --N 16

      tea-stats compare a.csv b.csv --N 128 --prompt question --figure difference.png

      tea-stats compare a.parquet b.parquet --N 64 --these-prompts --report compare.html
    """
    figures.check(figure)
    _report.check(report)
    columns = shared.columns(prompt, reward, rollout, where, success, wide, drop_missing)
    logs = [reward_log.read(file, step=step, **columns) for file in (first, second)]
    target = None if population is None else ("population" if population else "these_prompts")
    result = comparison.compare(
        logs[0], logs[1], N, level=level, target=target, method=method, seed=seed
    )
    curve = along(logs[0], logs[1], result, seed)
    names = (first, second)
    parts = list(compare_text.parts(result, names, curve))
    read = [line for log in logs for line in shared.read_lines(log)]
    if figure is not None or report is not None:
        drawn = compare_text.draw(curve)
        if figure is not None:
            figures.save(drawn, figure)
        if report is not None:
            sections: list[tuple[str, list[shared.Part]]] = [
                ("", [*read, *parts[:3]]),
                ("Difference", parts[3:]),
            ]
            caption = "Difference of best-of-N, b − a, with its interval at each N"
            _report.write(report, f"Best-of-{N:,}: two policies compared", sections, drawn, caption)
    if as_json:
        shared.print_json("compare", compare_text.content(result, names, curve))
        return
    shared.show([*parts, *read])
    shared.show(shared.written(figure=figure, report=report))


def along(
    a: RewardLog, b: RewardLog, result: comparison.Comparison, seed: int
) -> list[comparison.Comparison]:
    """Return the unbiased differences at powers of two below N, and the one at N."""
    least = int(min(result.pairs.a.sizes.min(), result.pairs.b.sizes.min()))
    grid = [2**power for power in range(least.bit_length()) if 2**power <= min(least, result.N - 1)]
    within = [
        comparison.compare(
            a, b, N, level=result.level, target=result.target, method="max_at_k", seed=seed
        )
        for N in grid
    ]
    return [*within, result]
