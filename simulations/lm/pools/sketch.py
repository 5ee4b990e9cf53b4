"""Exact scores of a language model in a few of its parameters, by forward passes alone.

The parameters are the core A (a × b) of a low-rank change of the model's head, logits =
(W + U A Vᵀ) h with U and V fixed. The score of a completion y at A = 0 is, summed over its tokens,

    ∂ log π(y) / ∂A = Σ_t (U[y_t] − Σ_v p_t(v) U[v]) (Vᵀ h_t)ᵀ / τ,

with h_t the hidden state that the head reads and p_t the policy's distribution. Both are there
while the completion is drawn, so the score costs one product with U.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simulations.lm import engine, rewards
from simulations.lm.policies import Policy

#: tokens that U and V are chosen from, about
LOOKED_AT = 2048


@dataclass(frozen=True)
class Sketch:
    """The fixed maps of a low-rank change of the head.

    Random directions would miss every reward: 64 of them explain nothing of SmolLM2's tone. These
    are chosen from a short look at the policy, and at no reward of a completion.

    Attributes
    ----------
    U : Tensor, shape (vocabulary, a)
        First, given rewards of every token standing alone: drawing more or less of it is the most
        direct change of a policy that the reward can notice (the tone of tokens explains a fifth
        of the tone of completions). Then W Ω, with Ω the leading principal directions of
        W[y_t] − Σ_v p_t(v) W[v], in which the policy's choices differ most.
    V : Tensor, shape (hidden, b)
        The leading principal directions of hidden states about zero; the first is close to their
        mean, so its column of A favours tokens whatever went before.

    Every column is scaled so that its factor has size 1.
    """

    U: Tensor
    V: Tensor

    @property
    def columns(self) -> int:
        """Number of parameters, a · b."""
        return self.U.shape[1] * self.V.shape[1]


def token_values(policy: Policy, names: Sequence[str]) -> Tensor:
    """Return rewards of every token as a completion of its own, shape (vocabulary, k)."""
    count = policy.model.get_output_embeddings().weight.shape[0]
    known = min(count, len(policy.tokenizer))
    texts = [policy.tokenizer.decode([token]).strip() for token in range(known)]
    values = torch.zeros(count, len(names), dtype=torch.float64)
    for j, name in enumerate(names):
        values[:known, j] = torch.from_numpy(rewards.load(name, policy)([""] * known, texts))
    return values


def choose(
    policy: Policy,
    prompts: list[list[int]],
    core: tuple[int, int],
    seed: int,
    values: Tensor | None = None,
) -> Sketch:
    """Choose U and V for a policy, from a short look at its tokens and hidden states.

    `prompts` are the tokens of those it will answer, `core` is (a, b), and `values` holds the first
    columns of U, shape (vocabulary, k ≤ a), see `token_values`. The same arguments give the same
    sketch.
    """
    a, b = core
    head = policy.model.get_output_embeddings().weight.detach()
    count, hidden = head.shape
    given = head.new_empty(count, 0) if values is None else values.to(head)
    if max(a, b) > hidden or given.shape[1] > a:
        raise ValueError(
            f"core is {a} × {b}; give at most {hidden}, the width of a hidden state, and a at "
            f"least {given.shape[1]}, the number of token rewards"
        )
    wide = torch.cat([given, head], dim=1)
    states, surprises = _look(policy, prompts, wide, seed)
    k = given.shape[1]
    _, omega = torch.linalg.eigh(_moment(surprises[:, k:]))
    omega = omega[:, hidden - (a - k) :].flip(1)
    values_v, V = torch.linalg.eigh(_moment(states))
    V = V[:, -b:].flip(1) / values_v[-b:].flip(0).clamp(min=1e-12).sqrt()
    factors = torch.cat([surprises[:, :k], surprises[:, k:] @ omega], dim=1)
    size = factors.square().mean(dim=0).sqrt().clamp(min=1e-12)
    U = torch.cat([given.double().cpu(), head.double().cpu() @ omega], dim=1) / size
    return Sketch(U.to(head), V.to(head))


def _look(
    policy: Policy, prompts: list[list[int]], wide: Tensor, seed: int
) -> tuple[Tensor, Tensor]:
    """Return hidden states, and the surprises wide[y_t] − Σ_v p_t(v) wide[v], of some tokens."""
    T = 16
    n = max(1, LOOKED_AT // (T * len(prompts)))
    states: list[Tensor] = []
    surprises: list[Tensor] = []
    with _HeadInput(policy) as head_input:

        def look(probabilities: Tensor, token: Tensor, on: Tensor) -> None:
            if not states:
                _check_linear(policy, head_input.last, probabilities)
            states.append(head_input.last[on])
            surprises.append((wide[token] - probabilities.to(wide) @ wide)[on])

        draws = engine.uniforms(seed, (0,), (len(prompts), n, T))
        engine.sample(policy, prompts, draws, watcher=look)
    return torch.cat(states).double().cpu(), torch.cat(surprises).double().cpu()


def _moment(rows: Tensor) -> Tensor:
    return rows.T @ rows / len(rows)


def sample(
    policy: Policy, sketch: Sketch, prompts: list[list[int]], draws: Tensor
) -> tuple[engine.Rollouts, Tensor]:
    """Draw rollouts as `engine.sample` does, all side by side, with their scores.

    Scores are ∂ log π(y) / ∂A at A = 0, A read row by row, shape (prompts · n, a · b).
    """
    rows = draws.shape[0] * draws.shape[1]
    scores = torch.zeros(rows, sketch.U.shape[1], sketch.V.shape[1]).to(sketch.U)
    with _HeadInput(policy) as head_input:

        def add(probabilities: Tensor, token: Tensor, on: Tensor) -> None:
            expected = probabilities.to(sketch.U) @ sketch.U
            surprise = (sketch.U[token] - expected) * on[:, None]
            scores.add_(surprise[:, :, None] * (head_input.last @ sketch.V)[:, None, :])

        rollouts = engine.sample(policy, prompts, draws, watcher=add)
    return rollouts, scores.flatten(1) / policy.temperature


def _check_linear(policy: Policy, hidden: Tensor, probabilities: Tensor) -> None:
    """Raise ValueError for a model that does more to W h than divide it by the temperature."""
    head = policy.model.get_output_embeddings().weight
    plain = (hidden @ head.T).float() / policy.temperature
    if not torch.allclose(plain.softmax(dim=-1), probabilities.float(), atol=1e-3):
        raise ValueError(
            f"model {policy.name!r} caps, scales or shifts what its head gives, which this score "
            "does not follow; give another model"
        )


class _HeadInput:
    """Records what the head reads: the last token's hidden state, shape (rows, hidden)."""

    last: Tensor

    def __init__(self, policy: Policy):
        self.head = policy.model.get_output_embeddings()

    def __enter__(self) -> _HeadInput:
        self.hook = self.head.register_forward_pre_hook(self._see)
        return self

    def __exit__(self, *error: object) -> None:
        self.hook.remove()

    def _see(self, module: object, inputs: tuple[Tensor, ...]) -> None:
        self.last = inputs[0][:, -1]
