"""Logs of rewards: read from files of any usual format, or made from groups.

from tea_stats import reward_log
log = reward_log.read("rewards.jsonl")
log.sizes, log.matrix(), log.reading.summary()
"""

from tea_stats.reward_log.errors import LogError
from tea_stats.reward_log.log import RewardLog
from tea_stats.reward_log.parse import read, read_steps
from tea_stats.reward_log.reading import Reading

__all__ = ["LogError", "Reading", "RewardLog", "read", "read_steps"]
