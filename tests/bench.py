"""Speed, as ratios inside one run: `make bench`, or `python -m tests.bench`.

Each row times two things in turn (A B A B …) and prints the median of the pairwise ratios with its
range, next to the target. Absolute times differ between machines; these ratios hardly do.
"""

from __future__ import annotations

import os

# one core for each side of a ratio; must be set before NumPy loads its libraries
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse
import json
import multiprocessing
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import tea_stats
from tea_stats import ESTIMATORS, Normal, best_of_n, monte_carlo
from tests.numpy_twin import measured, power_sums

PAPER_GRID = Path(__file__).parent.parent / "simulations" / "grids" / "paper.toml"


@dataclass(frozen=True)
class Ratio:
    """One line of the benchmark: median ratio over pairs, its range, and what was aimed at."""

    what: str
    median: float
    low: float
    high: float
    target: str

    def __str__(self) -> str:
        bound = float(self.target.split()[1])
        met = self.median <= bound if self.target.startswith("≤") else self.median >= bound
        verdict = "ok" if met else "MISSED"
        return (
            f"{self.what:<74} {self.median:7.2f}  [{self.low:.2f}, {self.high:.2f}]"
            f"  {self.target:<8} {verdict}"
        )


def pairwise(
    what: str, top: Callable[[], object], bottom: Callable[[], object], target: str, pairs: int
) -> Ratio:
    """Time `top` and `bottom` in turn and compare pair by pair."""
    top(), bottom()  # compile, fill caches
    ratios = []
    for _ in range(pairs):
        start = time.perf_counter()
        top()
        middle = time.perf_counter()
        bottom()
        ratios.append((middle - start) / (time.perf_counter() - middle))
    return Ratio(what, float(np.median(ratios)), min(ratios), max(ratios), target)


def paper_estimators(*, prefixes: bool) -> dict[str, tuple[str, dict[str, object]]]:
    """Return paper.toml's estimators for a continuous law, with or without the prefix forms."""
    listed = tomllib.loads(PAPER_GRID.read_text())["estimators"]
    chosen = {}
    for label, entry in listed.items():
        options = {key: value for key, value in entry.items() if key not in ("name", "laws")}
        estimator = ESTIMATORS[entry["name"]]
        if not estimator.binary and (prefixes or not estimator.needs_order):
            chosen[label] = (entry["name"], options)
    return chosen


def draw(m: int, groups: int) -> None:
    """Draw the rewards of these groups, tile by tile, and nothing else."""
    rng = np.random.default_rng(0)
    for size in monte_carlo.tiles(Normal(), m, groups):
        Normal().sample((size, m), rng)


def simulate(requests: object, m: int, N: tuple[int, ...], groups: int) -> None:
    """Draw and measure: what a block of the grid does."""
    monte_carlo.simulate_block(Normal(), requests, m, N, groups, 0, 0)  # type: ignore[arg-type]


def simulate_numpy(
    requests: dict[str, tuple[str, dict[str, object]]], m: int, N: tuple[int, ...], groups: int
) -> None:
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
    """Drawing, TEA, its gradient and its moments, against drawing alone."""
    tea = {"TEA": ("tea", {})}
    return [
        pairwise(
            f"draw + TEA (to moments) / draw, m = {m}",
            lambda m=m: simulate(tea, m, (128,), 2_000_000 // m),
            lambda m=m: draw(m, 2_000_000 // m),
            "≤ 2.2",
            pairs,
        )
        for m in (16, 64)
    ]


def further_estimators(pairs: int) -> list[Ratio]:
    """Each further (estimator, N) on the same sorted draw, against drawing."""
    N, m, groups = (16, 32, 64, 128, 256, 512, 1024), 64, 20_000
    requests = paper_estimators(prefixes=False)
    tea = {"TEA": ("tea", {})}
    further = len(requests) * len(N) - 1
    simulate(requests, m, N, groups), simulate(tea, m, (128,), groups), draw(m, groups)
    ratios = []
    for _ in range(pairs):
        times = [time.perf_counter()]
        for work in (
            lambda: simulate(requests, m, N, groups),
            lambda: simulate(tea, m, (128,), groups),
            lambda: draw(m, groups),
        ):
            work()
            times.append(time.perf_counter())
        whole, one, drawing = np.diff(times)
        ratios.append((whole - one) / further / drawing)
    what = f"each further (estimator, N) / draw, m = 64, {further} of them"
    return [Ratio(what, float(np.median(ratios)), min(ratios), max(ratios), "≤ 0.35")]


def against_numpy(pairs: int) -> list[Ratio]:
    """The vectorised NumPy twin against the package."""
    N = (16, 32, 64, 128, 256, 512, 1024)
    tea, everything = {"TEA": ("tea", {})}, paper_estimators(prefixes=True)
    return [
        pairwise(
            "NumPy twin / tea_stats, TEA alone, m = 64",
            lambda: simulate_numpy(tea, 64, (128,), 20_000),
            lambda: simulate(tea, 64, (128,), 20_000),
            "≥ 1.8",
            pairs,
        ),
        pairwise(
            "NumPy twin / tea_stats, paper.toml's estimators and N, m = 64",
            lambda: simulate_numpy(everything, 64, N, 1_000),
            lambda: simulate(everything, 64, N, 1_000),
            "≥ 4",
            max(3, pairs // 3),
        ),
    ]


def two_cores(pairs: int) -> list[Ratio]:
    """Blocks on one worker process against the same blocks on two."""
    requests = paper_estimators(prefixes=True)
    blocks = range(8)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as one, ProcessPoolExecutor(2, context) as two:

        def run(pool: ProcessPoolExecutor) -> None:
            jobs = [pool.submit(simulate, requests, 64, (128, 1024), 16_384) for _ in blocks]
            [job.result() for job in jobs]

        return [
            pairwise(
                "1 worker / 2 workers, 8 blocks",
                lambda: run(one),
                lambda: run(two),
                "≥ 1.8",
                max(3, pairs // 3),
            )
        ]


def batch_calls(pairs: int) -> list[Ratio]:
    """A public call on 4096 × 64 rewards against np.argsort of them."""
    rewards = np.random.default_rng(0).standard_normal((4096, 64))
    return [
        pairwise(
            f"tea_stats.{name}(4096 × 64) / np.argsort",
            lambda name=name: [tea_stats.advantages(name, rewards, 128) for _ in range(20)],
            lambda: [np.argsort(rewards, axis=-1) for _ in range(20)],
            "≤ 2.5",
            pairs,
        )
        for name in ("tea", "max_at_k", "rloo", "grpo")
    ]


def import_time() -> str:
    """Import time beyond NumPy, SciPy and Numba, in a fresh process."""
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
    """Median time of one uncached exact value, over laws and N."""
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
    for part in (drawing_and_tea, further_estimators, against_numpy, two_cores, batch_calls):
        found = part(arguments.pairs)
        rows += found
        print(*found, sep="\n", flush=True)
    print(import_time())
    print(exact_values())
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
