"""The head: log-probabilities and their known gradient, and drawing in two levels."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from simulations.lm import head as heads

pytestmark = pytest.mark.torch
GENERATOR = np.random.default_rng(0)


def random(*shape):
    return torch.from_numpy(GENERATOR.normal(size=shape))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("rows", [1, heads.ROWS, 2 * heads.ROWS + 3])
def test_logprobs_and_their_gradient_are_those_of_autograd(temperature, rows):
    weight, tokens = random(300, 5), torch.arange(rows) * 7 % 300
    states = random(rows, 5).requires_grad_(True)
    ours = heads.logprobs(states, tokens, heads.Head(weight, temperature))
    theirs = (states @ weight.T / temperature).log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
    assert torch.allclose(ours, theirs, rtol=0.0, atol=1e-12)
    upstream = random(rows)
    (gradient,) = torch.autograd.grad(ours @ upstream, states)
    (exact,) = torch.autograd.grad(theirs @ upstream, states)
    assert torch.allclose(gradient, exact, rtol=0.0, atol=1e-12)


def test_without_a_gradient_no_slopes_are_computed(monkeypatch):
    monkeypatch.setattr(heads.Head, "slopes", None)
    states, tokens = random(3, 5).requires_grad_(True), torch.tensor([0, 1, 2])
    with torch.no_grad():
        assert not heads.logprobs(states, tokens, heads.Head(random(9, 5), 1.0)).requires_grad


def test_a_probability_too_small_for_float32_has_a_finite_logarithm():
    weight = torch.tensor([[0.0], [300.0]])
    values = heads.logprobs(torch.ones(1, 1), torch.tensor([0]), heads.Head(weight, 1.0))
    assert values.item() == pytest.approx(-300.0)


def test_memory_is_used_again_and_grows():
    head = heads.Head(random(9, 5), 1.0)
    first = head.logits(random(4, 5)).data_ptr()
    assert head.logits(random(3, 5)).data_ptr() == first
    assert head.logits(random(8, 5)).shape == (8, 9)


@pytest.mark.parametrize("vocabulary", [2, heads.BLOCK, 5 * heads.BLOCK, 5 * heads.BLOCK + 3])
def test_draws_are_those_of_inversion_over_the_whole_vocabulary(vocabulary):
    p = random(400, vocabulary).mul(2.0).softmax(-1)
    u = torch.from_numpy(GENERATOR.random(400))
    below = p.cumsum(-1)
    whole = torch.searchsorted(below, u[:, None] * below[:, -1:], right=True)[:, 0]
    assert torch.equal(heads.draw(p, u), whole)
    # in float32, where sums round in another order, too (an edge within 1e-6 of u is left out)
    edges = torch.nn.functional.pad(below, (1, 0)) - u[:, None]
    clear = edges.abs().amin(-1) > 1e-6
    assert clear.sum() > 350
    assert torch.equal(heads.draw(p.float(), u.float())[clear], whole[clear])


def test_no_token_of_probability_0_is_drawn():
    # the first and the last block, and the ends of the others, have none
    p = torch.zeros(4, 5 * heads.BLOCK)
    p[:, heads.BLOCK + 5 : 4 * heads.BLOCK - 5] = torch.rand(1, 3 * heads.BLOCK - 10)
    p[:, 2 * heads.BLOCK - 9 : 2 * heads.BLOCK + 9] = 0.0
    p /= p.sum(-1, keepdim=True)
    for u in (0.0, 1e-30, 0.3, 1.0 - 2.0**-24, 1.0):
        assert (p[0, heads.draw(p, torch.full((4,), u))] > 0.0).all(), u
    assert heads.draw(p, torch.zeros(4)).tolist() == [heads.BLOCK + 5] * 4
    assert heads.draw(p, torch.ones(4)).tolist() == [4 * heads.BLOCK - 6] * 4
