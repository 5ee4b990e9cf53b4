"""The machine's limit has the products of a step: counted, not timed."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import torch
from torch.utils.flop_counter import FlopCounterMode

from simulations.lm import engine, limit, models, train

pytestmark = pytest.mark.torch
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def multiplications(act):
    """Return the floating-point operations of an act's products of two matrices."""
    with FlopCounterMode(display=False) as counter:
        act()
    counts = counter.get_flop_counts()["Global"]
    return sum(n for op, n in counts.items() if op in (torch.ops.aten.mm, torch.ops.aten.addmm))


def test_the_products_are_those_of_a_step():
    policy = models.load("tiny")
    models.adapt(policy, 1, 1, TARGETS, seed=0)
    encoded = policy.encode(["Hi", "No"], 5)
    # the tokens drawn end no completion
    policy.ends = (-1,)
    draws = engine.uniforms(0, (1,), (2, 16, 5))
    drawn = engine.sample(policy, encoded, draws, entering=True)
    alone = limit.products(policy, [len(x) for x in encoded], 16, 5, rows=16)

    def merge():
        with policy.merged():
            pass

    merging = multiplications(merge)
    sampled = multiplications(lambda: engine.sample(policy, encoded, draws, entering=True))
    assert multiplications(alone["sample"]) == sampled - merging
    A = torch.linspace(-1.0, 1.0, 32).view(2, 16)
    updated = multiplications(lambda: train.backward(policy, drawn, A, 0.0, 16))
    # of a prompt in the last layer, keys and values alone have a gradient: 4 of 164 rows
    assert updated <= multiplications(alone["update"]) < 1.03 * updated
