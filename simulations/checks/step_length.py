"""What the unit of the rewards, and `unit_rms`, do to a tuned learning rate.

python -m simulations.step_length --out analysis/summaries/step_length.csv

The policy of `docs/trainers.md` (a table of bigram logits, 16 prompts, m = 16, N = 128) is trained
for 30 steps with Adam or SGD, the gradient clipped at norm 1 as trainers do, at each learning rate
of a grid; the score is best-of-256 of its rewards afterwards, in the reward's first unit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from torch import Tensor

from simulations.core.command import one_line_errors
from simulations.core.progress import track
from tea_stats import torch_bridge

PROMPTS, m, N, LENGTH, LETTERS, STEPS = 16, 16, 128, 12, 26, 30
OPTIMISERS = {
    "adam": (torch.optim.Adam, (0.03, 0.1, 0.3, 1.0)),
    "sgd": (torch.optim.SGD, (1.0, 3.0, 10.0, 30.0)),
}
#: estimator, `unit_rms`
ARMS = (("grpo", False), ("auto_tea", False), ("auto_tea", True))
#: factors on a reward whose standard deviation is about 1 in the first step
UNITS = (1.0, 5.0)
LARGEST_NORM = 1.0


def draw(policy: torch.nn.Module, rollouts: int) -> Tensor:
    """Return the letters of that many rollouts of each prompt, the first letter its own."""
    tokens = [torch.arange(PROMPTS)[:, None].expand(-1, rollouts)]
    with torch.no_grad():
        for _ in range(LENGTH):
            tokens.append(torch.distributions.Categorical(logits=policy(tokens[-1])).sample())
    return torch.stack(tokens, dim=-1)


def reward(tokens: Tensor) -> Tensor:
    """Return the mean place in the alphabet, in units of about its standard deviation."""
    return tokens[..., 1:].float().mean(-1) / 2.0


def train(
    optimiser: str, rate: float, estimator: str, unit_rms: bool, unit: float, seed: int
) -> dict[str, float]:
    """Return best-of-256 after training, the first gradients' norm, and the share clipped."""
    torch.manual_seed(seed)
    policy = torch.nn.Embedding(LETTERS, LETTERS)
    torch.nn.init.normal_(policy.weight, std=0.1)
    step = OPTIMISERS[optimiser][0](policy.parameters(), lr=rate)
    norms = []
    for _ in range(STEPS):
        tokens = draw(policy, m)
        a = torch_bridge.advantages(estimator, unit * reward(tokens), N, unit_rms=unit_rms)
        logits = policy(tokens[..., :-1]).log_softmax(-1)
        logprobs = logits.gather(-1, tokens[..., 1:, None])[..., 0]
        step.zero_grad()
        torch_bridge.policy_gradient_loss(logprobs, a).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(policy.parameters(), LARGEST_NORM)))
        step.step()
    return {
        "best_of_256": float(reward(draw(policy, 256)).amax(-1).mean()),
        "first_norm": sum(norms[:5]) / 5,
        "clipped": sum(norm > LARGEST_NORM for norm in norms) / STEPS,
    }


@one_line_errors()
def main(
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each setting.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Write the table there (.csv).")] = None,
) -> None:
    """Train at every learning rate, with each estimator and unit of the rewards."""
    settings = [
        (optimiser, rate, *arm, unit)
        for optimiser, (_, rates) in OPTIMISERS.items()
        for arm in ARMS
        for unit in UNITS
        for rate in rates
    ]
    heads = ["optimiser", "rate", "estimator", "unit_rms", "unit"]
    rows = [
        dict(zip(heads, setting, strict=True), seed=seed) | train(*setting, seed)
        for setting in track(settings, "settings")
        for seed in range(seeds)
    ]
    table = pd.DataFrame(rows).groupby(heads, sort=False).mean().drop(columns="seed").reset_index()
    table["runs"] = seeds
    if out is not None:
        table.to_csv(out, index=False, float_format="%.4g")
    typer.echo(table.to_string(index=False))
