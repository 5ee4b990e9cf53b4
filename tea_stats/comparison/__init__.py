"""Compare two policies by best-of-N, from a log of each: paired by prompt, with an interval.

::

    from tea_stats import comparison, reward_log

    before, after = reward_log.read("before.jsonl"), reward_log.read("after.jsonl")
    result = comparison.compare(before, after, N=128)
    result.difference, result.low, result.high
"""

from tea_stats.comparison.compare import Comparison, compare
from tea_stats.comparison.pairs import Pairs, pair

__all__ = ["Comparison", "Pairs", "compare", "pair"]
