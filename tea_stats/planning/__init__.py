"""How large a study must be: prompts and rollouts from a pilot log, replications of a grid.

::

    from tea_stats import planning, reward_log

    pilot = reward_log.read("pilot.jsonl")
    planning.plan(pilot, N=64, half_width=0.05).best
    planning.plan(pilot, N=64, difference=0.1, against=reward_log.read("other.jsonl")).best
    planning.replications(value=0.31, mcse=0.02, reps=2000, error=0.01)
"""

from tea_stats.planning.plan import Design, Plan, plan
from tea_stats.planning.replications import replications
from tea_stats.planning.sizes import prompts_for_power, prompts_for_width

__all__ = [
    "Design",
    "Plan",
    "plan",
    "prompts_for_power",
    "prompts_for_width",
    "replications",
]
