"""Score sketches: against autograd, and the properties their docstring claims."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from simulations.lm import engine, models
from simulations.lm.pools import sketch

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def policy():
    return models.load("tiny", dtype="float64", temperature=0.8)


@pytest.fixture(scope="module")
def encoded(policy):
    return policy.encode(["Hello", "A longer question?"], 8)


class Changed(torch.nn.Module):
    """A head with a low-rank change: h → W h + U A Vᵀ h."""

    def __init__(self, head, directions, A):
        super().__init__()
        self.head, self.directions, self.A = head, directions, A
        self.weight = head.weight

    def forward(self, hidden):
        change = hidden @ self.directions.V @ self.A.T @ self.directions.U.T
        return self.head(hidden) + change


@pytest.mark.parametrize(("core", "k"), [((3, 2), 0), ((1, 4), 1), ((8, 8), 1)])
def test_scores_are_autograds(policy, encoded, core, k):
    values = sketch.token_values(policy, ["letters"])
    directions = sketch.choose(policy, encoded, core, seed=1, values=values[:, :k])
    draws = engine.uniforms(2, (0,), (2, 3, 8))
    drawn, scores = sketch.sample(policy, directions, encoded, draws)
    assert scores.shape == (6, directions.columns) == (6, core[0] * core[1])
    plain = engine.sample(policy, encoded, draws, rows=100)
    assert torch.equal(plain.tokens, drawn.tokens)
    A = torch.zeros(core, dtype=torch.float64, requires_grad=True)
    head = policy.model.lm_head
    policy.model.lm_head = Changed(head, directions, A)
    try:
        logprobs = engine.score(policy, drawn).sum(dim=1)
    finally:
        policy.model.lm_head = head
    for logprob, result in zip(logprobs, scores, strict=True):
        (exact,) = torch.autograd.grad(logprob, A, retain_graph=True)
        assert torch.allclose(result, exact.flatten(), rtol=0.0, atol=1e-8)
        assert exact.abs().max() > 0.01


def test_directions_depend_on_the_seed_alone(policy, encoded):
    first, again = (sketch.choose(policy, encoded, (3, 2), seed=1) for _ in range(2))
    other = sketch.choose(policy, encoded, (3, 2), seed=2)
    assert torch.equal(first.U, again.U) and torch.equal(first.V, again.V)
    assert not torch.equal(first.U, other.U)


def test_token_values_are_the_rewards_of_single_tokens(policy):
    values = sketch.token_values(policy, ["letters", "one_sentence"])
    assert values.shape == (258, 2)
    a, exclamation = (policy.tokenizer(x)["input_ids"][0] for x in "a!")
    assert values[a].tolist() == [1.0, 0.0] and values[exclamation].tolist() == [0.0, 0.0]


def test_factors_have_size_one_and_the_token_column_tells_its_reward(policy, encoded):
    values = sketch.token_values(policy, ["letters"])
    directions = sketch.choose(policy, encoded, (3, 2), seed=1, values=values)
    draws = engine.uniforms(3, (0,), (1, 2000, 1))
    drawn, scores = sketch.sample(policy, directions, encoded[:1], draws)
    # one token: V's factor is the same for all, U's first column is the token's value less its mean
    tokens = drawn.tokens[:, 0]
    assert abs(torch.corrcoef(torch.stack([scores[:, 0], values[tokens, 0]]))[0, 1]) > 0.999
    size = scores.square().mean(dim=0).sqrt()
    assert (0.05 < size).all() and (size < 5.0).all()


def test_more_token_rewards_than_rows_are_refused(policy, encoded):
    values = sketch.token_values(policy, ["letters", "one_sentence"])
    with pytest.raises(ValueError, match="a at least 2, the number of token rewards"):
        sketch.choose(policy, encoded, (1, 2), seed=1, values=values)


def test_a_core_too_wide_is_refused(policy, encoded):
    with pytest.raises(ValueError, match="core is 33 × 2; give at most 32"):
        sketch.choose(policy, encoded, (33, 2), seed=1)


def test_a_head_that_is_not_linear_is_refused(policy, encoded, monkeypatch):
    plain = policy.model.forward

    def capped(*arguments, **settings):
        result = plain(*arguments, **settings)
        result.logits = 2.0 * torch.tanh(result.logits / 2.0)
        return result

    monkeypatch.setattr(policy.model, "forward", capped)
    with pytest.raises(ValueError, match="caps, scales or shifts"):
        sketch.choose(policy, encoded, (3, 2), seed=1)
