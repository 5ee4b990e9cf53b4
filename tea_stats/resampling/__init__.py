"""The prompts of a log as laws: what is drawn from where a log itself is resampled.

::

    laws = resampling.prompt_laws(log, N=128, few=False, rng=np.random.default_rng(0))
    laws.value(128), laws.variance(16, 64)
"""

from tea_stats.resampling.laws import PromptLaws
from tea_stats.resampling.pilot import prompt_laws

__all__ = ["PromptLaws", "prompt_laws"]
