"""prime-rl: an estimator as one of its algorithms.

prime-rl has no setting that names user code: an algorithm is a class in its source. Append to
`src/prime_rl/orchestrator/algo/__init__.py` of your checkout::

    from tea_stats.integrations import prime_rl

    ALGORITHM_CLASSES["grpo"] = prime_rl.algorithm("auto_tea", N=128)

and train with `type = "grpo"`, the default, in `[orchestrator.train.source.algo]`, and
`group_size = 16`. A `length_penalty` there is refused.

prime-rl scores each group as soon as it is complete. Estimators that learn from the batch see it
among the last 64 groups of its environment (`RecentGroups`). A trace is a rollout: its branches
share its advantage. Traces of agents of different names are different groups; traces with an error
do not count.

Written to prime-rl 0.8.1 (commit 559b447), whose package `prime_rl.orchestrator.algo` was run.
"""

from __future__ import annotations

from typing import Any

from tea_stats.integrations.recent import KEPT, RecentGroups


def algorithm(
    estimator: str, N: int, *, keep: int = KEPT, unit_rms: bool = False, **options: Any
) -> type[Any]:
    """Return a class for `ALGORITHM_CLASSES`.

    Parameters
    ----------
    estimator, N, keep, unit_rms, **options
        As in `RecentGroups`.

    Returns
    -------
    type
        A subclass of prime-rl's `Algorithm`, with a `score_group` of its own.

    Raises
    ------
    ValueError, TypeError
        For an unknown estimator, option, or an N out of range.
    """
    # prime-rl's own package may be half imported here: these two modules of it are not
    from prime_rl.orchestrator.algo.base import Algorithm, iter_trainable_traces
    from prime_rl.orchestrator.algo.routing import assign_advantages

    def fresh() -> RecentGroups:
        return RecentGroups(estimator, N, keep=keep, unit_rms=unit_rms, **options)

    fresh()

    class BestOfNAlgorithm(Algorithm):  # type: ignore[misc]  # prime-rl carries no types
        """An algorithm of prime-rl that trains for best-of-N; one object for each environment."""

        def __init__(self, config: Any, policy_pool: Any) -> None:
            super().__init__(config, policy_pool)
            if getattr(config, "length_penalty", None) is not None:
                raise ValueError(
                    f"length_penalty is set, which {estimator} does not know; leave it out, or "
                    "subtract it in the environment's reward"
                )
            self.agents: dict[str, RecentGroups] = {}

        async def score_group(self, episodes: list[Any]) -> None:
            of_agent: dict[str, list[Any]] = {}
            for _, trace in iter_trainable_traces(episodes):
                of_agent.setdefault(trace.agent.name, []).append(trace)
            for agent, traces in of_agent.items():
                recent = self.agents.setdefault(agent, fresh())
                values = recent.advantages([trace.reward for trace in traces])
                for trace, value in zip(traces, values.tolist(), strict=True):
                    assign_advantages(trace, value)

    return BestOfNAlgorithm
