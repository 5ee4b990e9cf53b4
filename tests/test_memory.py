"""Memory: what it is worth for few prompts, that it forgets, and its state."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tea_stats import (
    Gumbel,
    Logistic,
    Memory,
    Normal,
    NormalMixture,
    Recorded,
    auto_tea,
    batch_report,
    max_at_k,
    monte_carlo,
)

N = 128
CHECK_AND_SCORE = NormalMixture(0.35, 0.0, 0.1, 1.0, 0.1)


def errors(law, prompts, m, runs, steps, before=None, before_steps=0, skip=20):
    """Errors of a batch's gradient with and without a memory, after `skip` steps of each run."""
    exact = monte_carlo.batches.truth(law, N)
    found = {"memory": [], "alone": []}
    for seed in range(runs):
        rng, memory = np.random.default_rng(seed), Memory()
        for _ in range(before_steps):
            memory.advantages(before.sample((prompts, m), rng), N)
        for step in range(steps):
            outcomes = getattr(law, "base", law).sample((prompts, m), rng)
            rewards = law.record(outcomes) if isinstance(law, Recorded) else outcomes
            scores = getattr(law, "base", law).score(outcomes)
            for name, a in (
                ("memory", memory.advantages(rewards, N)),
                ("alone", auto_tea(rewards, N)),
            ):
                if step >= skip:
                    found[name].append((a[..., None] * scores).mean(axis=(0, 1)) @ exact.frame)
    result = {}
    for name, gradients in found.items():
        mean = np.mean(gradients, axis=0)
        variance = ((np.array(gradients) - mean) ** 2).sum(axis=1).mean() * prompts / 64
        result[name] = (((mean - exact.gradient) ** 2).sum() + variance) / exact.unit**2
    return result


@pytest.mark.parametrize(
    ("law", "prompts", "m", "times"),
    [
        (Normal(), 1, 16, 4.0),
        (Gumbel(), 1, 16, 2.5),
        (Logistic(), 1, 8, 3.0),
        (Normal(), 2, 16, 2.0),
        (Gumbel(), 4, 16, 1.3),
    ],
)
def test_few_prompts_with_a_memory_have_a_fraction_of_the_error(law, prompts, m, times):
    """Issue 12: one prompt is max@m by itself, with earlier ones it is near 64 of them."""
    error = errors(law, prompts, m, runs=20, steps=60)
    assert times * error["memory"] < error["alone"]


@pytest.mark.parametrize(
    ("before", "after", "most"),
    [
        (Normal(), Gumbel(), 1.0),
        (CHECK_AND_SCORE, Normal(), 1.5),
        (Normal(), CHECK_AND_SCORE, 8.0),
    ],
)
def test_another_law_does_not_ruin_it(before, after, most):
    """In the 30 steps after the change; a normal design alone errs 250 times there."""
    error = errors(after, 1, 16, 20, 30, before, 80, skip=0)
    assert error["memory"] < most * error["alone"]


def test_it_forgets():
    """Four half-lives after the change, the old law is gone to the bit."""
    rng = np.random.default_rng(0)
    fresh, used = Memory(8.0), Memory(8.0)
    for _ in range(50):
        used.advantages(CHECK_AND_SCORE.sample((1, 16), rng), N)
    for _ in range(40):
        rewards = Gumbel().sample((1, 16), rng)
        a, b = fresh.advantages(rewards, N), used.advantages(rewards, N)
    assert np.array_equal(a, b)
    assert len(used) == len(fresh) <= 33


def test_a_ceiling_of_earlier_steps_is_remembered():
    law = Recorded(Normal(), high=2.0)
    error = errors(law, 2, 16, runs=15, steps=50)
    assert 4.0 * error["memory"] < error["alone"]


def test_it_stands_for_groups_beside_the_batch():
    rng = np.random.default_rng(1)
    first, second = Gumbel().sample((8, 16), rng), Gumbel().sample((4, 16), rng)
    memory = Memory(1e9)
    assert np.array_equal(memory.advantages(first, N), auto_tea(first, N))
    beside = auto_tea(np.vstack([second, first]), N)[:4]
    np.testing.assert_allclose(memory.advantages(second, N), beside, rtol=1e-9, atol=1e-9)


def test_a_prompt_has_its_own_unit_and_location():
    rng = np.random.default_rng(2)
    memory = Memory()
    memory.advantages(np.minimum(Normal().sample((40, 16), rng), 1.5), N)
    state = memory.state_dict()
    rewards = np.minimum(Normal().sample((2, 16), rng), 1.5)
    plain = Memory.from_state_dict(state).advantages(rewards, N)
    moved = rewards.copy()
    moved[0] = 256.0 * (rewards[0] - 3.0)
    found = Memory.from_state_dict(state).advantages(moved, N)
    np.testing.assert_allclose(found[0], 256.0 * plain[0], rtol=1e-9, atol=1e-9)


def test_the_state_survives_json():
    rng = np.random.default_rng(3)
    memory = Memory(20.0)
    for m in (8, 16, 8):
        memory.advantages(rng.standard_normal((3, m)), N)
    again = Memory.from_state_dict(json.loads(json.dumps(memory.state_dict())))
    assert again.state_dict() == memory.state_dict()
    rewards = rng.standard_normal((2, 16))
    assert np.array_equal(memory.advantages(rewards, N), again.advantages(rewards, N))
    assert again.state_dict() == memory.state_dict()


def test_masks_and_torch():
    torch = pytest.importorskip("torch")
    from tea_stats import torch_bridge

    rng = np.random.default_rng(4)
    ours, theirs = Memory(), Memory()
    for _ in range(4):
        rewards = rng.gumbel(size=(2, 16))
        mask = np.arange(16) < np.array([[16], [12]])
        mask = rng.permuted(mask, axis=1)
        filled = np.where(mask, rewards, np.nan)
        expected = ours.advantages(filled, N, mask)
        found = torch_bridge.advantages(
            "auto_tea", torch.tensor(filled), N, mask=torch.tensor(mask), memory=theirs
        )
        assert np.array_equal(found.numpy(), expected)
        assert not expected[~mask].any()
    assert ours.state_dict() == theirs.state_dict()
    assert all(np.isfinite(group).all() for group in ours.state_dict()["groups"])


def test_the_report_has_it_and_does_not_change_it():
    rng, memory = np.random.default_rng(5), Memory()
    rewards = rng.standard_normal((1, 16))
    assert batch_report(rewards, N, memory=memory).laws["none"] == 1.0
    for _ in range(40):
        memory.advantages(rng.standard_normal((1, 16)), N)
    state = memory.state_dict()
    report = batch_report(rewards, N, memory=memory)
    assert report.groups == 1
    assert 20.0 < report.others < 40.0
    assert report.laws["none"] < 0.3
    assert memory.state_dict() == state


def test_an_empty_memory_changes_nothing():
    group = np.random.default_rng(6).standard_normal((1, 16))
    assert np.array_equal(Memory().advantages(group, N), max_at_k(group, N))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: Memory(0.0), ValueError, "half_life is 0.0"),
        (lambda m: m.advantages([[1.0, np.nan]], N), ValueError, "nan"),
        (lambda m: m.advantages([[1.0, 2.0]], 0), ValueError, "N is 0"),
        (lambda m: m.advantages([[1.0, 2.0]], N, [[1, 0]]), ValueError, "mask has dtype int64"),
        (lambda m: m.advantages([[1.0, 2.0]], N, k=3), TypeError, "no option 'k'"),
        (lambda m: m.load_state_dict({}), ValueError, "state lacks ages, groups"),
        (lambda m: m.load_state_dict({**m.state_dict(), "version": 9}), ValueError, "is 9"),
        (lambda m: m.load_state_dict({**m.state_dict(), "ages": [1, 2]}), ValueError, "one age"),
    ],
)
def test_bad_input_leaves_it_as_it_was(call, error, message):
    memory = Memory()
    memory.advantages([[0.0, 1.0, 3.0]], N)
    before = memory.state_dict()
    with pytest.raises(error, match=message):
        call(memory)
    assert memory.state_dict() == before


def test_other_estimators_have_no_memory():
    torch = pytest.importorskip("torch")
    from tea_stats import torch_bridge

    with pytest.raises(TypeError, match="memory is given with tea, which learns from no earlier"):
        torch_bridge.advantages("tea", torch.tensor([[0.0, 1.0, 2.0]]), N, memory=Memory())
