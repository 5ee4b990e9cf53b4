"""Which of TRL's losses keep the direction of the gradient: the table of docs/trainers.md."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

import torch

import tea_stats
from simulations.lm import models
from tests.trl_runs import Recorded, table, trainer

pytestmark = [
    pytest.mark.torch,
    pytest.mark.xdist_group("trl"),
    # warnings of TRL and transformers
    pytest.mark.filterwarnings("ignore"),
]

PAGE = (Path(__file__).parents[1] / "docs" / "trainers.md").read_text()
N, END, PROMPT = 32, 0, "a"

#: 12 rollouts of 1 to 25 tokens, in three groups of four; the longer ones have the better rewards
RNG = np.random.default_rng(4)
LENGTHS = RNG.permutation([1, 2, 3, 5, 7, 9, 11, 14, 17, 20, 23, 25])
REWARDS = (0.05 * LENGTHS + RNG.normal(size=12)).round(3)
SCRIPT = [[*RNG.integers(2, 250, size=length - 1).tolist(), END] for length in LENGTHS]


@pytest.fixture(scope="module")
def policy():
    return models.tiny()


@pytest.fixture(scope="module")
def exact(policy):
    """Return the gradient of Σ A_i log π(y_i), by hand."""
    model, tokenizer = policy
    advantages = tea_stats.advantages("linear_tea", REWARDS.reshape(3, 4), N).ravel()
    start = tokenizer(PROMPT)["input_ids"]
    total = 0.0
    for tokens, advantage in zip(SCRIPT, advantages, strict=True):
        logits = model(torch.tensor([start + tokens])).logits[0, len(start) - 1 : -1]
        chosen = logits.log_softmax(-1)[torch.arange(len(tokens)), tokens]
        total = total + advantage * chosen.sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, list(model.parameters()))])


def cosine(policy, exact, loss_type, parts):
    """Return the cosine of one step of plain gradient descent with the exact gradient."""
    model = models.tiny()[0]
    model.load_state_dict(policy[0].state_dict())
    sequence = {"importance_sampling_level": "sequence"} if loss_type == "luspo" else {}
    built = trainer(
        Recorded, table(REWARDS.tolist()), batch=12 // parts, script=SCRIPT, model=model,
        prompts=[PROMPT] * 3, N=N, estimator="linear_tea", loss_type=loss_type,
        gradient_accumulation_steps=parts, max_completion_length=32, optim="sgd",
        learning_rate=1.0, bf16=False, lr_scheduler_type="constant", max_grad_norm=0.0, **sequence,
    )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        built.train()
    # TRL shuffles rollouts among the parts
    new = dict(built.model.named_parameters())
    step = torch.cat(
        [(new[k].detach() - p.detach()).flatten() for k, p in policy[0].named_parameters()]
    )
    return torch.nn.functional.cosine_similarity(step.double(), exact.double(), dim=0).item()


def stated(pattern):
    """Return the number in the row of the page that a pattern finds."""
    (row,) = [line for line in PAGE.splitlines() if re.search(pattern, line)]
    return float(re.search(r"(?:kept: |changed, )([\d.]+)", row).group(1))


@pytest.mark.parametrize("loss_type", ["dr_grpo", "dapo", "cispo", "vespo", "luspo"])
def test_losses_that_keep_the_direction(loss_type, policy, exact):
    assert stated(rf"TRL.*`{loss_type}`.*kept") == 1.0
    assert cosine(policy, exact, loss_type, parts=3) > 0.99995


@pytest.mark.parametrize(("loss_type", "parts"), [("bnpo", 3), ("grpo", 1), ("sapo", 1)])
def test_losses_that_change_it(loss_type, parts, policy, exact):
    value = cosine(policy, exact, loss_type, parts)
    print(loss_type, value)
    assert value == pytest.approx(stated(rf"TRL.*`{loss_type}`.*changed"), abs=2e-4)
