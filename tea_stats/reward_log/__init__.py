"""Logs of rewards: read from a file, or made from groups.

from tea_stats import reward_log
log = reward_log.read("rewards.jsonl")
log.sizes, log.matrix()
"""

from tea_stats.reward_log.files import LogError
from tea_stats.reward_log.log import RewardLog, read

__all__ = ["LogError", "RewardLog", "read"]
