"""`tea-stats diagnose`: which assumptions a log of rewards supports, and what to train with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from tea_stats import diagnosis, reward_log
from tea_stats.command_line import diagnose_text, predict_figure, shared
from tea_stats.diagnosis import ASSUMPTIONS, Diagnosis, Recommendation

N = Annotated[int, typer.Option("--N", min=1, help="Deployment budget of best-of-N.")]
Sizes = Annotated[
    list[int] | None,
    typer.Option(
        "--m",
        min=2,
        show_default=False,
        help="Rollouts per prompt in training; may be repeated, the first counts (default: as in "
        "the log, with 8, 16, 32, 64).",
    ),
]
Prompts = Annotated[int, typer.Option("--prompts", min=2, help="Prompts in a training batch.")]
Batches = Annotated[int, typer.Option("--batches", min=2, help="Batches to simulate.")]
VerdictsOnly = Annotated[bool, typer.Option("--verdicts-only", help="Simulate nothing.")]
Figure = Annotated[
    Path | None,
    typer.Option(
        "--figure",
        metavar="PATH",
        show_default=False,
        help="Draw QQ plot, threshold stability and mean excess (.png, .pdf or .svg).",
    ),
]


@shared.one_line_errors
def command(
    files: shared.Files,
    budget: N = 1024,
    prompt: shared.Prompt = None,
    reward: shared.Reward = None,
    step: shared.Step = None,
    rollout: shared.Rollout = None,
    where: shared.Where = None,
    success: shared.Success = None,
    wide: shared.Wide = False,
    drop_missing: shared.DropMissing = False,
    sizes: Sizes = None,
    prompts: Prompts = 64,
    batches: Batches = 256,
    verdicts_only: VerdictsOnly = False,
    figure: Figure = None,
    as_json: shared.Json = False,
    seed: shared.Seed = 0,
) -> None:
    """Test the assumptions of best-of-N estimators on a log, and recommend one to train with.

    A verdict on each assumption, with estimate, 95 % confidence interval and tolerance; then
    estimator, alpha and m for best-of-N, from a simulation of laws fitted to the log.

    For example:

      tea-stats diagnose rewards.jsonl --N 1024

      tea-stats diagnose rewards.csv --prompt question --reward score --figure tail.png

      tea-stats diagnose rewards.parquet --N 256 --m 16 --json
    """
    if figure is not None:
        predict_figure.check(figure)
    log = reward_log.read(
        files,
        prompt=prompt,
        reward=reward,
        step=step,
        rollout=rollout,
        where=where or (),
        success=success,
        wide=wide,
        drop_missing=drop_missing,
    )
    file = shared.called(files)
    result = diagnosis.diagnose(log, seed=seed)
    if figure is not None:
        from tea_stats.command_line import diagnose_figure

        diagnose_figure.draw(result, figure)
    advice = None
    if not verdicts_only:
        advice = diagnosis.recommend(
            log, budget, m=sizes or None, prompts=prompts, batches=batches, seed=seed
        )
    if as_json:
        read = log.reading.content() if log.reading is not None else None
        shared.print_json({**content(file, result, advice), "reading": read})
        return
    console = shared.console()
    diagnose_text.verdicts(console, file, result, log.reading)
    if advice is not None:
        diagnose_text.advice(console, advice)


def content(file: str, result: Diagnosis, advice: Recommendation | None) -> dict[str, Any]:
    """Return everything, for JSON."""
    findings = {
        f.name: {
            "verdict": f.verdict,
            **f.interval._asdict(),
            "quantity": ASSUMPTIONS[f.name].quantity,
            "tolerated": ASSUMPTIONS[f.name].tolerated,
            "note": f.note,
        }
        for f in result.findings
    }
    whole = dataclasses.asdict(result)
    del whole["findings"]
    return {
        "file": file,
        "findings": findings,
        **whole,
        "recommendation": dataclasses.asdict(advice) if advice else None,
    }
