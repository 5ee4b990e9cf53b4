"""Best-of-N, exactly: V_N, ∇V_N and the advantage function ψ_N of every law.

from tea_stats import best_of_n
best_of_n.value(law, N), best_of_n.gradient(law, N), best_of_n.advantage(law, N, r)
"""

from tea_stats.best_of_n.exact import (
    LARGEST_N,
    advantage,
    clear_cache,
    fisher_information,
    gradient,
    value,
)

__all__ = ["LARGEST_N", "advantage", "clear_cache", "fisher_information", "gradient", "value"]
