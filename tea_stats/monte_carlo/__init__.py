"""Estimators measured by simulation: bias, variance and error, each with its standard error.

from tea_stats import monte_carlo
monte_carlo.measure(law, ["tea", "max_at_k"], m=16, N=[128, 512])
"""

from tea_stats.monte_carlo.blocks import block_sizes, simulate_block, tiles
from tea_stats.monte_carlo.measurement import measure, summarize
from tea_stats.monte_carlo.moments import Moments
from tea_stats.monte_carlo.passes import Pass, Requests, passes, requests
from tea_stats.monte_carlo.response import advantage_response

__all__ = [
    "Pass",
    "Moments",
    "Requests",
    "advantage_response",
    "block_sizes",
    "passes",
    "measure",
    "requests",
    "simulate_block",
    "summarize",
    "tiles",
]
