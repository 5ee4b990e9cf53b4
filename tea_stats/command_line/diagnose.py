"""`tea-stats diagnose`: which assumptions a log of rewards supports, and what to train with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tea_stats import BatchReport, diagnosis, reward_log
from tea_stats.command_line import diagnose_text, figures, report as _report, shared
from tea_stats.diagnosis import ASSUMPTIONS, Diagnosis, Recommendation, Trouble
from tea_stats.reward_log import RewardLog

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
    report: shared.Report = None,
    as_json: shared.Json = False,
    seed: shared.Seed = 0,
) -> None:
    """Test the assumptions of best-of-N estimators on a log, and recommend one to train with.

    A verdict on each assumption, with estimate, 95 % confidence interval and tolerance; troubles
    by name, and what each costs a batch; then estimator, alpha and m for best-of-N, from batches
    drawn from the log itself and from laws fitted to it.

    For example:

      tea-stats diagnose rewards.jsonl --N 1024

      tea-stats diagnose rewards.csv --prompt question --reward score --figure tail.png

      tea-stats diagnose rewards.parquet --N 256 --m 16 --report diagnosis.html
    """
    figures.check(figure)
    _report.check(report)
    log = reward_log.read(
        files,
        step=step,
        **shared.columns(prompt, reward, rollout, where, success, wide, drop_missing),
    )
    file = shared.called(files)
    result = diagnosis.diagnose(log, seed=seed)
    drawn = _draw(result, figure, report)
    named: tuple[Trouble, ...] = ()
    advice, believed = None, None
    if not verdicts_only:
        m = sizes[0] if sizes else None
        named = diagnosis.troubles(log, m=m, prompts=prompts, seed=seed)
        believed = diagnosis.trust(log, budget, m=m)
        advice = diagnosis.recommend(
            log, budget, m=sizes or None, prompts=prompts, batches=batches, seed=seed
        )
    head = [*diagnose_text.headline(file, result), *shared.read_lines(log)]
    body = [*diagnose_text.verdicts(result), *diagnose_text.costs(named)]
    last = list(diagnose_text.advice(advice, believed)) if advice is not None else []
    if report is not None:
        sections: list[tuple[str, list[shared.Part]]] = [("", head), ("Verdicts", body)]
        sections += [("Recommendation", last)] if last else []
        caption = "The upper tail of the log, beside that of normal rewards"
        _report.write(report, f"Diagnosis of {file}", sections, drawn, caption)
    if as_json:
        shared.print_json("diagnose", content(file, log, result, named, advice, believed))
        return
    shared.show(["", *head])
    shared.show(body, indent=2)
    if last:
        shared.show(["", last[0]])
        shared.show(last[1:], indent=2)
    shared.show(shared.written(figure=figure, report=report))


def _draw(result: Diagnosis, figure: Path | None, report: Path | None) -> Any:
    """Return the figure, written where it is wanted; a report may do without."""
    if figure is None and (report is None or result.tail is None):
        return None
    from tea_stats.command_line import diagnose_figure

    drawn = diagnose_figure.draw(result)
    if figure is not None:
        figures.save(drawn, figure)
    return drawn


def content(
    file: str,
    log: RewardLog,
    result: Diagnosis,
    named: Sequence[Trouble],
    advice: Recommendation | None,
    believed: BatchReport | None,
) -> dict[str, Any]:
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
        "reading": shared.read_content(log),
        "findings": findings,
        **whole,
        "trust": believed.metrics() if believed else None,
        "troubles": [dataclasses.asdict(trouble) for trouble in named],
        "recommendation": dataclasses.asdict(advice) if advice else None,
    }
