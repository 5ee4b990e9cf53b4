"""Speed of the torch bridge, as ratios inside one run: `python -m tests.bench_torch`.

Each row times `torch_bridge.advantages` on 1024 × 64 rewards and `torch.sort` of the same tensor in
turn, on one thread and on as many as there are cores. The prefix form does many sorts' work; its
row is for information.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import tea_stats
from tea_stats import torch_bridge
from tests.bench import Ratio, pairwise

SHAPE, N, TARGET = (1024, 64), 128, "≤ 3"

#: label: estimator, options, target
ROWS: dict[str, tuple[str, dict[str, Any], str]] = {
    "tea": ("tea", {}, TARGET),
    "tea, centred": ("tea", {"centred": True}, TARGET),
    "max_at_k": ("max_at_k", {}, TARGET),
    "rloo": ("rloo", {}, TARGET),
    "grpo": ("grpo", {}, TARGET),
    "linear_tea": ("linear_tea", {}, TARGET),
    "prefix_tea": ("prefix_tea", {}, "≤ 40"),
}


def against_sort(rewards: torch.Tensor, pairs: int, repeats: int) -> list[Ratio]:
    """Time each row of the table against sorting the rewards."""
    threads, dtype = torch.get_num_threads(), str(rewards.dtype).removeprefix("torch.")

    def repeated(function: Callable[[], object]) -> Callable[[], object]:
        return lambda: [function() for _ in range(repeats)]

    def evaluate(name: str, options: dict[str, Any]) -> Callable[[], object]:
        return repeated(lambda: torch_bridge.advantages(name, rewards, N, **options))

    return [
        pairwise(
            f"{label} / torch.sort, {dtype}, {threads} thread(s)",
            evaluate(name, options),
            repeated(lambda: rewards.sort(dim=-1)),
            target,
            pairs,
        )
        for label, (name, options, target) in ROWS.items()
        if name in tea_stats.ESTIMATORS
    ]


def main() -> None:
    """Run all, print a table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="timed pairs per row")
    parser.add_argument("--repeats", type=int, default=10, help="calls per timing")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    arguments = parser.parse_args()
    rows: list[Ratio] = []
    generator = torch.Generator().manual_seed(0)
    for threads in dict.fromkeys((1, os.cpu_count() or 1)):
        torch.set_num_threads(threads)
        for dtype in (torch.float32, torch.float64):
            rewards = torch.randn(SHAPE, generator=generator, dtype=torch.float64).to(dtype)
            found = against_sort(rewards, arguments.pairs, arguments.repeats)
            rows += found
            print(*found, sep="\n", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
