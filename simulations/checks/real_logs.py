"""Predictions of best-of-N on real rewards: `python -m simulations.real_logs`.

Aim: how well predictions from m rollouts a prompt hold on rewards that no model describes. Data:
pools of a language model's rollouts with their rewards, public counts of correct samples, and any
log that is given. Each split takes m rollouts of every prompt; the estimand is the best-of-N of the
same prompts, unbiased from the rollouts that are left (counts: from all samples). Methods: every
curve of `tea_stats.prediction`, the recommended one, the rule before it (`least error`: of the
three tails the one of least backtest error) and other packages (`simulations.checks.peers`), all on
the same splits. Performance: coverage of nominal 90 % intervals, mean width, root mean square
error, bias, each over splits, and the share of splits without a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from pydantic import Field

from simulations.checks import coverage, peers
from simulations.core import manifests, schema, store
from simulations.core.command import one_line_errors
from simulations.core.progress import track
from simulations.lm.pools.schema import read_pools
from tea_stats import prediction, reward_log
from tea_stats.prediction.max_at_k import weights
from tea_stats.prediction.u_statistic import log_choose

Array = NDArray[np.float64]
HERE = Path(__file__).parents[1]
COUNTS = HERE / "counts" / "monkey_business.csv"
DEFAULT = HERE / "grids" / "real_logs.toml"
#: the rule before the stack: of these, the one of least backtest error
BEFORE = ("gaussian_tail", "linear", "gen_pareto")
#: functionals of a rollout's score that serve as rewards nobody looked at
STATISTICS: dict[str, Callable[[Array], Array]] = {
    "score_norm": lambda scores: np.linalg.norm(scores, axis=1),
    "score_peak": lambda scores: scores.max(axis=1),
    "score_sum": lambda scores: scores.sum(axis=1),
    "score_first": lambda scores: scores[:, 0],
}


class Part(schema.Table):
    """Logs of one kind: names by the use made of them, rollouts predicted from, budgets."""

    development: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    reps: int = Field(ge=2)
    m: tuple[Annotated[int, Field(ge=2)], ...]
    N: tuple[Annotated[int, Field(ge=2)], ...]


class Laws(schema.Table):
    """Simulated logs: cases of `simulations.coverage`, or "copies", and their size."""

    names: tuple[str, ...] = ()
    prompts: int = Field(32, ge=2)
    reps: int = Field(ge=2)
    m: tuple[Annotated[int, Field(ge=2)], ...]
    N: tuple[Annotated[int, Field(ge=2)], ...]


class RealLogs(schema.Table):
    """The whole file."""

    seed: int = Field(ge=0)
    level: float = Field(0.9, gt=0.0, lt=1.0)
    #: splits of each log that each package sees, as some take seconds for one
    peers: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    pools: Part
    counts: Part
    laws: Laws


@dataclass(frozen=True)
class Log:
    """A log to split: rewards of shape (P, M), counts of M samples, or what draws logs."""

    name: str
    part: str
    reps: int
    m: tuple[int, ...]
    N: tuple[int, ...]
    rewards: Array | None = None
    successes: NDArray[np.int64] | None = None
    samples: int = 0
    drawn: Callable[[int, np.random.Generator], tuple[Array, Array]] | None = None

    @property
    def kind(self) -> str:
        """Return "tail", "0/1" or "simulated"."""
        return "simulated" if self.drawn else "tail" if self.successes is None else "0/1"

    def split(self, m: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return m rollouts of every prompt, and the unbiased best-of-N of the others."""
        budgets = np.array(self.N)
        if self.drawn is not None:
            return self.drawn(m, rng)
        if self.rewards is not None:
            mixed = rng.permuted(self.rewards, axis=1)
            rest = np.sort(mixed[:, m:], axis=1)
            return mixed[:, :m], (rest @ weights(rest.shape[1], budgets)).mean(axis=0)
        assert self.successes is not None
        wrong = self.samples - self.successes
        drawn = rng.hypergeometric(self.successes, wrong, m)
        fail = np.exp(log_choose(wrong[:, None], budgets) - log_choose(self.samples, budgets))
        return 1.0 * (np.arange(m) < drawn[:, None]), (1.0 - fail).mean(axis=0)


def logs(plan: RealLogs, given: Sequence[Path] = ()) -> Iterator[Log]:
    """Yield every log of the study, then those that are given."""
    pools = [*read_pools(HERE / "pools").values()]
    for part, names in (("development", plan.pools.development), ("held out", plan.pools.held_out)):
        for name in names:
            if name in STATISTICS:
                rewards = np.stack([STATISTICS[name](scores) for _, scores in pools])
            else:
                rewards = np.stack([own[name] for own, _ in pools])
            yield Log(name, part, plan.pools.reps, plan.pools.m, plan.pools.N, rewards)
    table = pd.read_csv(COUNTS)
    for part, names in (
        ("development", plan.counts.development),
        ("held out", plan.counts.held_out),
    ):
        for name in names:
            own = table[table["model"] == name]
            samples = int(own["samples"].iloc[0])
            successes = own["successes"].to_numpy()
            kind = plan.counts
            yield Log(name, part, kind.reps, kind.m, kind.N, successes=successes, samples=samples)
    laws = plan.laws
    for name in laws.names:
        drawn = partial(simulated, name, laws)
        yield Log(name, "simulated", laws.reps, laws.m, laws.N, drawn=drawn)
    for path in given:
        yield own_log(path, plan)


def simulated(name: str, laws: Laws, m: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return a log of a known law and the exact best-of-N of its prompts.

    "copies" is a normal log of m/4 rollouts with every row four times.
    """
    copies = 4 if name == "copies" else 1
    case = next(c for c in coverage.CASES if c.name == ("Normal" if copies > 1 else name))
    log, truth = next(coverage.logs(case, laws.prompts, m // copies, rng))
    places = np.searchsorted(coverage.GRID, laws.N)
    return np.repeat(log.matrix(), copies, axis=1), truth["these_prompts"][places]


def own_log(path: Path, plan: RealLogs) -> Log:
    """Return a log from a file, cut to prompts and rollouts that make a matrix."""
    log = reward_log.read(path)
    M = int(np.quantile(log.sizes, 0.25, method="lower"))
    rewards = np.stack([group[:M] for group in log if len(group) >= M])
    m = tuple(m for m in plan.pools.m if 2 * m <= M)
    N = tuple(N for N in plan.pools.N if m and N <= M - max(m))
    if not N:
        raise ValueError(
            f"{path} has {M} rollouts a prompt; to split it takes {2 * min(plan.pools.m)} at least "
            f"and {min(plan.pools.N)} beside the m predicted from: give a log of more rollouts"
        )
    return Log(path.name, "given", plan.pools.reps, m, N, rewards)


def predictions(log: Log, m: int, plan: RealLogs) -> pd.DataFrame:
    """Return a row for each method and N: performance over all splits."""
    rows: list[dict[str, Any]] = []
    budgets = list(log.N)
    # rewards of pools in standard deviations within a prompt
    unit = 1.0 if log.rewards is None else float(log.rewards.std(axis=1).mean())
    for rep in range(log.reps):
        rng = np.random.default_rng([plan.seed, int(store.digest(log.name), 16), m, rep])
        rewards, truth = log.split(m, rng)
        for name, lines in answers(rewards, budgets, plan, rep).items():
            value, low, high = lines
            rows += [
                {
                    "method": name,
                    "N": N,
                    "error": (value[k] - truth[k]) / unit,
                    "covered": np.nan if np.isnan(low[k]) else low[k] <= truth[k] <= high[k],
                    "width": (high[k] - low[k]) / unit,
                }
                for k, N in enumerate(budgets)
            ]
    table = pd.DataFrame(rows)
    table["covered"] = table["covered"].astype(float)
    groups = table.groupby(["method", "N"], sort=False)
    result = groups.agg(
        coverage=("covered", "mean"),
        width=("width", "mean"),
        bias=("error", "mean"),
        rmse=("error", lambda error: float(np.sqrt(np.mean(error**2)))),
        splits=("error", "count"),
        asked=("error", "size"),
    ).reset_index()
    result["coverage_mcse"] = np.sqrt(
        result["coverage"] * (1.0 - result["coverage"]) / np.maximum(result["splits"], 1)
    )
    head = {"log": log.name, "part": log.part, "kind": log.kind}
    return result.assign(**head, m=m, unit=unit)


def answers(rewards: Array, budgets: list[int], plan: RealLogs, rep: int) -> dict[str, Array]:
    """Return value, low and high at the budgets, shape (3, K), by method and peer."""
    binary = bool(np.isin(rewards, (0.0, 1.0)).all())
    methods = ("max_at_k", "stack") if binary else ("max_at_k", *BEFORE, "lognormal_tail", "stack")
    forecast = prediction.predict(
        rewards, max(budgets), methods=methods, level=plan.level, target="these_prompts", seed=rep
    )
    lines = {name: _at(curve, budgets) for name, curve in forecast.curves.items()}
    found = {name: line for name, line in lines.items() if name != "max_at_k"}
    if forecast.backtest is not None and all(name in lines for name in BEFORE):
        errors = forecast.backtest.errors
        found["least error"] = lines[min(BEFORE, key=lambda name: errors[name])]
    found["recommended"] = lines[forecast.recommended]
    for name in peers.installed(binary):
        if rep < plan.peers.get(name, 0):
            found[name] = peers.predict(name, rewards, budgets, plan.level)
    return found


def _at(curve: prediction.Curve, budgets: list[int]) -> Array:
    """Return value, low and high at budgets, between points of the grid linearly in log N."""
    at, grid = np.log(budgets), np.log(curve.grid)
    return np.stack([np.interp(at, grid, line) for line in (curve.value, curve.low, curve.high)])


@one_line_errors()
def main(
    config: Annotated[Path, typer.Argument(help="A TOML file.")] = DEFAULT,
    out: Annotated[Path, typer.Option(help="Results folder.")] = Path("results/real_logs"),
    log: Annotated[
        list[Path] | None, typer.Option(help="A log of your own to split as well; repeatable.")
    ] = None,
) -> None:
    """Split real logs and predict; what is finished already is kept."""
    plan = schema.read(RealLogs, config)
    jobs = [(own, m) for own in logs(plan, log or ()) for m in own.m]
    there = [*peers.installed(True), *peers.installed(False)]
    used = {name: splits for name, splits in plan.peers.items() if name in there}
    described = plan.model_dump(mode="json") | {"peers": used, "given": [str(p) for p in log or ()]}
    tables = []
    with manifests.run(out, manifests.describe(described)):
        for own, m in track(jobs, "real logs"):
            path = out / "jobs" / f"{store.slug(own.name)}-m{m}.parquet"
            job = store.digest([plan.seed, plan.level, used, own.name, own.reps, own.N, m])
            tables.append(store.once(path, partial(predictions, own, m, plan), job=job))
        table = pd.concat(tables, ignore_index=True)
        store.write(table, out / "table.parquet")
    best = table[(table["method"] == "recommended") & (table["kind"] == "tail")]
    typer.echo(f"tails, recommended: coverage {best['coverage'].mean():.3f}")
