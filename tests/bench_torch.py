"""Speed of the torch bridge, as ratios inside one run: `python -m tests.bench_torch`.

Each row times `torch_bridge.advantages` on 1024 × 64 rewards, on one thread, in turn with
`tea_stats.advantages` on the same numbers as an array (the cost of the bridge itself), and with
`torch.sort` of the same tensor (a yardstick that any machine has).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

import tea_stats
from tea_stats import torch_bridge
from tests.bench import Ratio, pairwise

SHAPE, N = (1024, 64), 128

#: estimator: highest ratio to torch.sort of float64
ESTIMATORS = {
    "tea": "≤ 1",
    "max_at_k": "≤ 1",
    "rloo": "≤ 1",
    "grpo": "≤ 1",
    "linear_tea": "≤ 1",
    "prefix_tea": "≤ 5",
    "auto_tea": "≤ 12",
    "beta_binomial": "≤ 5",
}


def ratios(name: str, rewards: torch.Tensor, pairs: int, repeats: int) -> list[Ratio]:
    """Time one estimator against the library and against sorting."""
    dtype = str(rewards.dtype).removeprefix("torch.")
    array = rewards.double().numpy()

    def repeated(function: Callable[[], object]) -> Callable[[], object]:
        return lambda: [function() for _ in range(repeats)]

    bridge = repeated(lambda: torch_bridge.advantages(name, rewards, N))
    library = repeated(lambda: tea_stats.advantages(name, array, N))
    sort = repeated(lambda: rewards.sort(dim=-1))
    return [
        pairwise(f"{name} / tea_stats.advantages, {dtype}", bridge, library, "≤ 1.5", pairs),
        pairwise(f"{name} / torch.sort, {dtype}", bridge, sort, ESTIMATORS[name], pairs),
    ]


def main() -> None:
    """Run all, print a table, and write it as JSON if a path is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="timed pairs per row")
    parser.add_argument("--repeats", type=int, default=10, help="calls per timing")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    rows: list[Ratio] = []
    for dtype in (torch.float32, torch.float64):
        for name in ESTIMATORS:
            rewards = normal.sign() if name == "beta_binomial" else normal
            result = ratios(name, rewards.to(dtype), arguments.pairs, arguments.repeats)
            rows += result
            print(*result, sep="\n", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
