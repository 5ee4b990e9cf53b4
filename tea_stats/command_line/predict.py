"""`tea-stats predict`: best-of-N predicted from a log of rewards."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tea_stats import prediction, reward_log
from tea_stats._validation import as_real
from tea_stats.command_line import (
    figures,
    predict_figure,
    predict_steps,
    predict_text,
    report as _report,
    shared,
)
from tea_stats.prediction import METHODS, budget_for


@shared.one_line_errors
def command(
    files: shared.Files,
    N: Annotated[int, typer.Option("--N", "-N", min=1, help="Largest budget of best-of-N.")],
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", help=f"May be repeated: {', '.join(METHODS)}. [default: all that apply]"
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option(help="Share of the rollouts that count as the tail.")
    ] = 0.25,
    level: Annotated[float, typer.Option(help="Nominal coverage of the intervals.")] = 0.9,
    population: Annotated[
        bool | None,
        typer.Option(
            "--population/--these-prompts",
            help="Average over the population the prompts come from (the default, unless there is "
            "only one prompt), or over these prompts, where only the rollouts are random.",
        ),
    ] = None,
    target_reward: Annotated[
        float | None,
        typer.Option(help="Report the N that reaches this reward on average.", show_default=False),
    ] = None,
    per_prompt: Annotated[
        bool, typer.Option("--per-prompt", help="List each prompt with an interval of its own.")
    ] = False,
    extrapolation_error: Annotated[
        bool,
        typer.Option(
            "--extrapolation-error/--sampling-error-only",
            help="Whether intervals allow for the extrapolation error estimated by the backtest.",
        ),
    ] = True,
    figure: Annotated[
        Path | None, typer.Option(help="Draw the curves (.png, .pdf, .svg).", show_default=False)
    ] = None,
    report: shared.Report = None,
    prompt: shared.Prompt = None,
    reward: shared.Reward = None,
    step: shared.Step = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="COLUMN",
            help="A prediction for each value of a column: step is the training step.",
            show_default=False,
        ),
    ] = None,
    rollout: shared.Rollout = None,
    where: shared.Where = None,
    success: shared.Success = None,
    wide: shared.Wide = False,
    drop_missing: shared.DropMissing = False,
    as_json: shared.Json = False,
    seed: shared.Seed = 0,
) -> None:
    """Predict the reward of best-of-N, for N far beyond the rollouts in the file.

    Several methods extrapolate from the rollouts of each prompt; a backtest compares them.

    For example:

      tea-stats predict rewards.jsonl --N 1024

      tea-stats predict rewards.csv --N 256 --prompt question --reward score

      tea-stats predict run.parquet --N 4096 --target-reward 0.9 --these-prompts

      tea-stats predict matrix.csv --wide --reward 'r_*' --N 512 --per-prompt

      tea-stats predict rollouts/ --N 128 --reward 'format=.1,correct=1' --by step

      tea-stats predict rewards.jsonl --N 1024 --figure curve.png --report best.html
    """
    figures.check(figure)
    _report.check(report)
    if target_reward is not None:
        as_real("--target-reward", target_reward)
    columns = shared.columns(prompt, reward, rollout, where, success, wide, drop_missing)
    target = None if population is None else ("population" if population else "these_prompts")
    predict = functools.partial(
        prediction.predict,
        N=N,
        methods=method or None,
        alpha=alpha,
        level=level,
        target=target,
        prompt_intervals=per_prompt,
        extrapolation_error=extrapolation_error,
        seed=seed,
    )
    if by is not None:
        _refuse_with_by(step, target_reward, per_prompt, report)
        logs = reward_log.read_steps(files, by=by, **columns)
        forecasts = {value: predict(log) for value, log in logs.items()}
        every = predict_steps.level_of_all(level, len(logs))
        # all steps at once, by Bonferroni's inequality: steps share their prompts
        bands = (
            {value: predict(log, level=every) for value, log in logs.items()}
            if len(logs) > 1
            else forecasts
        )
        if figure is not None:
            figures.save(predict_steps.draw(forecasts, bands, by), figure)
        if as_json:
            content = predict_steps.content(forecasts, bands, shared.called(files), by)
            shared.print_json("steps", content)
        else:
            shared.show(predict_steps.tables(forecasts, bands, by))
        return
    log = reward_log.read(files, step=step, **columns)
    file = shared.called(files)
    forecast = predict(log)
    reaches = None
    if target_reward is not None:
        reaches = {name: budget_for(c, target_reward) for name, c in forecast.curves.items()}
    parts = list(predict_text.tables(forecast, file, target_reward, reaches))
    if figure is not None or report is not None:
        drawn = predict_figure.draw(forecast, target_reward)
        if figure is not None:
            figures.save(drawn, figure)
        if report is not None:
            sections: list[tuple[str, Sequence[shared.Part]]] = [
                ("", [parts[0], *shared.read_lines(log)]),
                ("Prediction", parts[1:]),
            ]
            caption = "Best-of-N by each method, and the backtest of the methods"
            _report.write(report, f"Best-of-{N:,} of {file}", sections, drawn, caption)
    if as_json:
        shared.print_json("predict", predict_text.content(forecast, file, target_reward, reaches))
        return
    shared.show([parts[0], *shared.read_lines(log), *parts[1:]])
    shared.show(shared.written(figure=figure, report=report))


def _refuse_with_by(
    step: str | None, target_reward: float | None, per_prompt: bool, report: Path | None
) -> None:
    given = {
        "--step": step is not None,
        "--target-reward": target_reward is not None,
        "--per-prompt": per_prompt,
        "--report": report is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise ValueError(f"{option} is given with --by; it is for one step: leave one out")
