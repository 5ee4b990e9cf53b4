"""Exact scores of a language model in a few of its parameters, by forward passes alone.

The parameters are the core A (a × b) of a low-rank change of the model's head, logits =
(W + U A Vᵀ) h with U and V fixed. The score of a completion y at A = 0 is, summed over its tokens,

    ∂ log π(y) / ∂A = Σ_t (U[y_t] − Σ_v p_t(v) U[v]) (Vᵀ h_t)ᵀ / τ,

with h_t the hidden state that the head reads and p_t the policy's distribution. Both are there
while the completion is drawn, so that the score costs one product with U.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from simulations.lm import rollouts
from simulations.lm.policies import Policy
from simulations.lm.rollouts import Rollouts

#: hidden states that V is chosen from
LOOKED_AT = 2048


@dataclass(frozen=True)
class Sketch:
    """The fixed maps of a low-rank change of the head.

    Attributes
    ----------
    U : Tensor, shape (vocabulary, a)
        W Ω with Ω a random orthonormal (hidden, a): directions of token space that a change of the
        hidden state can reach, h → h + Ω A Vᵀ h, rather than a change of some tokens' logits, which
        hardly any reward would notice.
    V : Tensor, shape (hidden, b)
        C^{−½} Q with C the second moment of hidden states (their b leading directions) and Q a
        random rotation: the b features Vᵀh are uncorrelated and of size 1. Hidden states have a few
        huge common directions; unscaled, these would be all that a random V sees.
    """

    U: Tensor
    V: Tensor

    @property
    def columns(self) -> int:
        """Number of parameters, a · b."""
        return self.U.shape[1] * self.V.shape[1]


def choose(policy: Policy, prompts: list[list[int]], a: int, b: int, seed: int) -> Sketch:
    """Choose U and V for a policy, from a short look at its hidden states.

    Parameters
    ----------
    policy : Policy
        The policy whose scores are wanted.
    prompts : list of list of int
        Tokens of the prompts that it will answer.
    a, b : int
        Size of the core A.
    seed : int
        Of the random directions and of the rollouts looked at.

    Returns
    -------
    Sketch
        The same for the same arguments; scaled so that a score's entry has size about 1.
    """
    generator = torch.Generator().manual_seed(seed)
    head = policy.model.get_output_embeddings().weight
    hidden, precise = head.shape[1], torch.float64
    if max(a, b) > hidden:
        raise ValueError(f"core is {a} × {b}; give at most {hidden}, the width of a hidden state")
    omega = torch.randn(hidden, a, generator=generator, dtype=precise)
    U = head.detach().to(precise).cpu() @ torch.linalg.qr(omega).Q
    T = 16
    n = max(1, LOOKED_AT // (T * len(prompts)))
    seen: list[Tensor] = []
    with _HeadInput(policy) as head_input:

        def look(probabilities: Tensor, token: Tensor, on: Tensor) -> None:
            if not seen:
                _check_linear(policy, head_input.last, probabilities)
            seen.append(head_input.last[on])

        draws = rollouts.uniforms(seed, (0,), (len(prompts), n, T))
        rollouts.sample_watched(policy, prompts, draws, look)
    states = torch.cat(seen).to(precise).cpu()
    values, vectors = torch.linalg.eigh(states.T @ states / len(states))
    mixing = torch.linalg.qr(torch.randn(b, b, generator=generator, dtype=precise)).Q
    V = vectors[:, -b:] / values[-b:].clamp(min=1e-12).sqrt() @ mixing
    U /= U.std(dim=0)
    return Sketch(U.to(head), V.to(head))


def sample(
    policy: Policy, sketch: Sketch, prompts: list[list[int]], draws: Tensor
) -> tuple[Rollouts, Tensor]:
    """Draw rollouts with their scores.

    Parameters
    ----------
    policy : Policy
        As it was given to `choose`.
    sketch : Sketch
        The parameters.
    prompts, draws
        As for `rollouts.sample`; all rollouts are computed side by side.

    Returns
    -------
    Rollouts
        What was drawn.
    Tensor, shape (prompts · n, a · b)
        Scores ∂ log π(y) / ∂A at A = 0, A read row by row.
    """
    rows = draws.shape[0] * draws.shape[1]
    scores = torch.zeros(rows, sketch.U.shape[1], sketch.V.shape[1]).to(sketch.U)
    with _HeadInput(policy) as head_input:

        def add(probabilities: Tensor, token: Tensor, on: Tensor) -> None:
            surprise = (sketch.U[token] - probabilities @ sketch.U) * on[:, None]
            scores.add_(surprise[:, :, None] * (head_input.last @ sketch.V)[:, None, :])

        drawn = rollouts.sample_watched(policy, prompts, draws, add)
    return drawn, scores.flatten(1) / policy.temperature


def _check_linear(policy: Policy, hidden: Tensor, probabilities: Tensor) -> None:
    """Refuse a model that does more to W h than to divide it by the temperature."""
    head = policy.model.get_output_embeddings().weight
    plain = (hidden @ head.T).float() / policy.temperature
    if not torch.allclose(plain.softmax(dim=-1), probabilities.float(), atol=1e-3):
        raise ValueError(
            f"model {policy.name!r} caps, scales or shifts what its head gives, which this score "
            "does not follow; give another model"
        )


class _HeadInput:
    """Sees what the head reads: the last token's hidden state, shape (rows, hidden)."""

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
