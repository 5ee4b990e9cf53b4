"""`tea-stats predict`: what best-of-N would give, from a log of rewards."""

from __future__ import annotations

from tea_stats import reward_log
from tea_stats.command_line import _shared as shared


@shared.one_line_errors
def command(
    file: shared.File,
    prompt: shared.Prompt = "prompt",
    reward: shared.Reward = None,
    wide: shared.Wide = False,
    drop_missing: shared.DropMissing = False,
    as_json: shared.Json = False,
) -> None:
    """Predict what best-of-N would give."""
    log = reward_log.read(file, prompt=prompt, reward=reward, wide=wide, drop_missing=drop_missing)
    shared.print_json({"prompts": len(log)})
