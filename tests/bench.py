"""Speed, as ratios inside one run: `make bench`, or `python -m tests.bench`.

Each row times two things in turn (A B A B …) and prints the median of the pairwise ratios with its
range, next to the target. Absolute times differ between machines; these ratios hardly do.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import tea_stats
from simulations.grid.schema import read_grid
from tea_stats import Normal, best_of_n, monte_carlo
from tea_stats.estimators import ties
from tests.numpy_twin import measured, power_sums

PAPER = read_grid(Path(__file__).parent.parent / "simulations" / "grids" / "paper.toml")
TEA = {"TEA": ("tea", {})}

Requests = dict[str, tuple[str, dict[str, object]]]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Ratio:
    """One line of the benchmark: median ratio over pairs, its range, and what was aimed at."""

    what: str
    median: float
    low: float
    high: float
    target: str = ""

    def __str__(self) -> str:
        line = f"{self.what:<70} {self.median:7.2f}  [{self.low:.2f}, {self.high:.2f}]"
        if not self.target:
            return line
        bound = float(self.target.split()[1])
        met = self.median <= bound if self.target.startswith("≤") else self.median >= bound
        return f"{line}  {self.target:<8} {'ok' if met else 'MISSED'}"


def ratio(what: str, found: list[float], target: str = "") -> Ratio:
    """Summarise the ratios of the pairs."""
    return Ratio(what, float(np.median(found)), min(found), max(found), target)


def time_of(work: Callable[[], object], clock: Clock) -> float:
    """Return the seconds that the work takes."""
    start = clock()
    work()
    return clock() - start


def pairwise(
    what: str,
    top: Callable[[], object],
    bottom: Callable[[], object],
    target: str,
    pairs: int,
    clock: Clock = time.process_time,
) -> Ratio:
    """Time `top` and `bottom` in turn and compare pair by pair.

    Processor time is what a core spends, whatever else the machine does.
    """
    top(), bottom()  # compile, fill caches
    return ratio(what, [time_of(top, clock) / time_of(bottom, clock) for _ in range(pairs)], target)


def paper_estimators(*, prefixes: bool | None = None) -> Requests:
    """Return paper.toml's estimators for continuous laws: all, or with or without prefix forms."""
    return {
        label: (table.name, table.options)
        for label, table in PAPER.estimators.items()
        if not table.record().binary and prefixes in (None, table.record().needs_order)
    }


def draw(m: int, groups: int) -> None:
    """Draw the rewards of these groups, tile by tile, and nothing else."""
    rng = np.random.default_rng(0)
    for size in monte_carlo.tiles(Normal(), m, groups):
        Normal().sample((size, m), rng)


def simulate(requests: Requests, m: int, N: tuple[int, ...], groups: int) -> None:
    """Draw and measure: what a block of the grid does."""
    monte_carlo.simulate_block(Normal(), requests, m, N, groups, 0, 0)


def simulate_numpy(requests: Requests, m: int, N: tuple[int, ...], groups: int) -> None:
    """Do the same with vectorised NumPy."""
    rng = np.random.default_rng(0)
    sums: dict[object, list[np.ndarray]] = {}
    for size in monte_carlo.tiles(Normal(), m, groups):
        rewards = Normal().sample((size, m), rng)
        scores = np.moveaxis(Normal().score(rewards), -1, 0)
        for key, x in measured(rewards, scores, requests, N).items():
            new = power_sums(x)
            sums[key] = [a + b for a, b in zip(sums[key], new, strict=True)] if key in sums else new


def drawing_and_tea(pairs: int) -> list[Ratio]:
    """Compare drawing, TEA, its gradient and its moments with drawing alone."""
    return [
        pairwise(
            f"draw + TEA (to moments) / draw, m = {m}",
            lambda m=m: simulate(TEA, m, (128,), 2_000_000 // m),
            lambda m=m: draw(m, 2_000_000 // m),
            "≤ 2.2",
            pairs,
        )
        for m in (16, 64)
    ]


def further_estimators(pairs: int) -> list[Ratio]:
    """Compare each further (estimator, N) on the same sorted draw with drawing."""
    m, groups, rows = 64, 20_000, []
    for what, requests, target in (
        ("further (estimator, N)", paper_estimators(prefixes=False), "≤ 0.35"),
        ("further (prefix form, N)", TEA | paper_estimators(prefixes=True), ""),
    ):
        further = len(requests) * len(PAPER.N) - 1
        works = (
            lambda requests=requests: simulate(requests, m, PAPER.N, groups),
            lambda: simulate(TEA, m, PAPER.N[:1], groups),
            lambda: draw(m, groups),
        )
        found = []
        for _ in range(pairs + 1):
            whole, one, drawing = (time_of(work, time.process_time) for work in works)
            found.append((whole - one) / further / drawing)
        # the first one compiled
        rows.append(ratio(f"each {what} / draw, m = {m}, {further} of them", found[1:], target))
    return rows


def against_numpy(pairs: int) -> list[Ratio]:
    """Compare the vectorised NumPy twin with the package."""
    everything = paper_estimators()
    return [
        pairwise(
            "NumPy twin / tea_stats, TEA alone, m = 64",
            lambda: simulate_numpy(TEA, 64, (128,), 20_000),
            lambda: simulate(TEA, 64, (128,), 20_000),
            "≥ 1.8",
            pairs,
        ),
        pairwise(
            "NumPy twin / tea_stats, paper.toml's estimators and N, m = 64",
            lambda: simulate_numpy(everything, 64, PAPER.N, 1_000),
            lambda: simulate(everything, 64, PAPER.N, 1_000),
            "≥ 4",
            max(3, pairs // 3),
        ),
    ]


def two_cores(pairs: int) -> list[Ratio]:
    """Compare blocks on one worker process with the same blocks on two."""
    requests = paper_estimators()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as one, ProcessPoolExecutor(2, context) as two:

        def run(pool: ProcessPoolExecutor) -> None:
            jobs = [pool.submit(simulate, requests, 64, PAPER.N, 16_384) for _ in range(8)]
            for job in jobs:
                job.result()

        return [
            pairwise(
                "1 worker / 2 workers, 8 blocks of paper.toml's estimators",
                lambda: run(one),
                lambda: run(two),
                "≥ 1.8",
                max(3, pairs // 3),
                clock=time.perf_counter,
            )
        ]


def batch_calls(pairs: int) -> list[Ratio]:
    """Compare a public call on 4096 × 64 rewards with np.argsort of them."""
    rewards = np.random.default_rng(0).standard_normal((4096, 64))
    return [
        pairwise(
            f"tea_stats.{name}(4096 × 64) / np.argsort",
            lambda name=name: [tea_stats.advantages(name, rewards, 128) for _ in range(10)],
            lambda: [np.argsort(rewards, axis=-1) for _ in range(10)],
            "≤ 1.5" if name == "linear_tea" else "≤ 2.5",
            pairs,
        )
        for name in ("tea", "linear_tea", "max_at_k", "rloo", "grpo")
    ]


def tie_check(pairs: int) -> list[Ratio]:
    """Compare the search for rewards that are equal up to rounding with sorting them."""
    rewards = np.random.default_rng(0).standard_normal((4096, 64))
    ascending = np.sort(rewards, axis=-1)  # without a tie: nothing is changed in place
    return [
        pairwise(
            "ties.merge(4096 × 64) / np.sort",
            lambda: [ties.merge(ascending, ties.DOUBLE) for _ in range(100)],
            lambda: [np.sort(rewards, axis=-1) for _ in range(100)],
            "≤ 0.25",
            pairs,
        )
    ]


def import_time() -> str:
    """Time the import beyond NumPy, SciPy and Numba, in a fresh process."""
    code = (
        "import time, numpy, scipy.special, numba; start = time.perf_counter(); "
        "import tea_stats; print(time.perf_counter() - start)"
    )
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
        for _ in range(5)
    ]
    return f"import tea_stats beyond numpy, scipy, numba: {np.median(runs):.3f} s (target < 0.5)"


def exact_values() -> str:
    """Time one uncached exact value: the median over laws and N."""
    from tests.laws import CONTINUOUS, FINITE

    times = []
    for law in [*CONTINUOUS.values(), *FINITE.values()]:
        for N in (2, 128, 1024, 10**6):
            best_of_n.clear_cache()
            start = time.perf_counter()
            best_of_n.value(law, N)
            times.append(time.perf_counter() - start)
    return f"exact value, median over laws and N: {1e3 * np.median(times):.3f} ms (target < 1)"


def main() -> None:
    """Run all, print a table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="timed pairs per row")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    arguments = parser.parse_args()
    rows: list[Ratio] = []
    for part in (
        drawing_and_tea,
        further_estimators,
        against_numpy,
        two_cores,
        batch_calls,
        tie_check,
    ):
        found = part(arguments.pairs)
        rows += found
        print(*found, sep="\n", flush=True)
    print(import_time())
    print(exact_values())
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
