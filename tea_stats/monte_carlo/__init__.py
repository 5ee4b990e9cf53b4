"""Estimators measured by simulation: bias, variance and error, each with its standard error.

from tea_stats import monte_carlo
monte_carlo.measure(law, ["tea", "max_at_k"], m=16, N=[128, 512])
"""

from tea_stats.monte_carlo.batch_measurement import batch_records, measure_batch, summarize_batch
from tea_stats.monte_carlo.batches import Batch
from tea_stats.monte_carlo.blocks import block_sizes, simulate_block, tiles
from tea_stats.monte_carlo.gain import one_step_gain
from tea_stats.monte_carlo.measurement import measure, summarize
from tea_stats.monte_carlo.moments import Moments
from tea_stats.monte_carlo.passes import Pass, Requests, passes, requests
from tea_stats.monte_carlo.response import advantage_response

__all__ = [
    "Batch",
    "Pass",
    "Moments",
    "Requests",
    "advantage_response",
    "batch_records",
    "block_sizes",
    "passes",
    "measure",
    "measure_batch",
    "one_step_gain",
    "requests",
    "simulate_block",
    "summarize",
    "summarize_batch",
    "tiles",
]
