"""The numerical kernels: arrays and scalars in, arrays out, no checks, serial, GIL released.

This is the only folder with Numba. A formula stands here once, as a scalar function; the batch
kernels loop over groups whose rewards are sorted ascending. `fastmath` stays off so that results do
not depend on the machine's vector width.
"""

from tea_stats._kernels.batches import gather, merge_ties, scatter, scatter_parts
from tea_stats._kernels.field import (
    bon_max_mean,
    by_success_count,
    cat_bon,
    gap_linear,
    gap_linear_each,
    grpo,
    raw,
    rs_grpo,
)
from tea_stats._kernels.leave_one_out import entropic, grpo_z
from tea_stats._kernels.measurement import accumulate, contract, contract_parts, extrapolate
from tea_stats._kernels.spikes import log_tail, spikes
from tea_stats._kernels.tea import prefix_tea, tea

__all__ = [
    "accumulate",
    "bon_max_mean",
    "by_success_count",
    "cat_bon",
    "contract",
    "contract_parts",
    "entropic",
    "extrapolate",
    "gap_linear",
    "gap_linear_each",
    "gather",
    "grpo",
    "grpo_z",
    "log_tail",
    "merge_ties",
    "prefix_tea",
    "raw",
    "rs_grpo",
    "scatter",
    "scatter_parts",
    "spikes",
    "tea",
]
