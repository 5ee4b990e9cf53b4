"""`tea-stats simulate`: one estimator on one law, against the exact gradient."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tea_stats import monte_carlo
from tea_stats.command_line import shared
from tea_stats.command_line.laws import parse_law, parse_options
from tea_stats.estimators import lookup

LawText = Annotated[
    str,
    typer.Argument(
        metavar="LAW", show_default=False, help="Normal, 'GenPareto(-.25)', 'Affine(Beta(5, 3))' …"
    ),
]
Name = Annotated[
    str,
    typer.Argument(metavar="ESTIMATOR", show_default=False, help="See `tea-stats estimators`."),
]
Size = Annotated[int, typer.Option("--m", min=2, help="Rollouts per prompt.")]
Budget = Annotated[int, typer.Option("--N", min=1, help="Deployment budget of best-of-N.")]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        show_default=False,
        help="Option of the estimator; may be repeated.",
    ),
]
Prompts = Annotated[
    int, typer.Option("--prompts", min=1, help="Prompts in a batch, whose gradients are averaged.")
]
Batches = Annotated[int, typer.Option("--batches", min=2, help="Batches to simulate.")]

#: columns printed for each parameter; measures of the gradient as a whole
BY_PARAMETER = ("exact", "mean", "bias", "variance", "mse")
WHOLE = {
    "nmse": "error, E‖ĝ − ∇V_N‖²/‖∇V_N‖²",
    "cosine": "cosine with ∇V_N",
    "efficiency": "efficiency",
    "advantage_square": "E[A²]",
}


@shared.one_line_errors
def command(
    law: LawText,
    estimator: Name,
    m: Size = 16,
    budget: Budget = 128,
    option: Options = None,
    prompts: Prompts = 64,
    batches: Batches = 1000,
    as_json: shared.Json = False,
    seed: shared.Seed = 0,
) -> None:
    """Measure an estimator on a law, against the exact gradient of best-of-N.

    Every number comes with its Monte Carlo standard error. Variance and error are those of a
    batch's gradient; --prompts 1 gives those of one group.

    For example:

      tea-stats simulate Normal tea --m 16 --N 128

      tea-stats simulate "GenPareto(-.25)" tea --option alpha=.5 --N 512

      tea-stats simulate "Discrete([0, 1], probabilities=[.99, .01])" auto_tea --json
    """
    options = parse_options(option or ())
    lookup(estimator, options)
    table = monte_carlo.measure(
        parse_law(law),
        {estimator: (estimator, options)},
        m,
        budget,
        reps=prompts * batches,
        seed=seed,
        prompts=prompts,
    )
    rows: dict[str, Any] = {
        str(name): row for name, row in table.set_index("parameter").to_dict("index").items()
    }
    whole = rows.pop("all")
    if as_json:
        shared.print_json(
            "simulate",
            {
                "law": whole["law"],
                "estimator": estimator,
                "options": options,
                **{"m": m, "N": budget, "prompts": prompts, "batches": batches, "seed": seed},
                "parameters": {
                    name: {key: row[key] for key in (*BY_PARAMETER, *_errors(BY_PARAMETER[2:]))}
                    for name, row in rows.items()
                },
                "gradient": {key: whole[key] for key in (*WHOLE, *_errors(WHOLE))},
                "degenerate": whole["degenerate"],
                "finite_second_moment": whole["finite_second_moment"],
            },
        )
        return
    console = shared.console()
    title = f"{estimator} on {whole['law']}, m = {m}, N = {budget}, batches of {prompts}"
    by_parameter = shared.table("parameter", *BY_PARAMETER, title=title)
    for name, row in rows.items():
        by_parameter.add_row(name, f"{row['exact']:.4g}", f"{row['mean']:.4g}", *_pairs(row))
    console.print(by_parameter)
    for key, words in WHOLE.items():
        console.print(f"  {words}: {_with_error(whole, key)}")
    groups = prompts * batches
    console.print(f"  groups with zero gradient: {whole['degenerate']:,} of {groups:,}")
    if not whole["finite_second_moment"]:
        console.print("  The variance is infinite; its estimates are meaningless.")


def _errors(keys: Any) -> list[str]:
    return [f"{key}_mcse" for key in keys]


def _pairs(row: dict[str, Any]) -> list[str]:
    return [_with_error(row, key) for key in BY_PARAMETER[2:]]


def _with_error(row: dict[str, Any], key: str) -> str:
    return f"{row[key]:.4g} ± {row[f'{key}_mcse']:.1g}"
