"""A policy whose every response is enumerated: exact best-of-N values and gradients.

A response is a path through a tree: at each prefix one token of a fixed set, those that the frozen
model finds most likely there. Logits are renormalised over the set, so the tree's leaves are all
the responses there are, and

    p(y) = Π_t π(y_t | y_<t),   ∇V_N = Σ_y p(y) ψ_N(R(y)) ∇ log p(y),

sums over leaves, hold for whatever is trained. Every prefix of every prompt is one row of a single
forward pass, in which a row attends to its ancestors. What enters the first trained layer is a
constant of the tree and is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from simulations.lm.policies import Policy, decoder, first_layer
from tea_stats import SoftmaxBandit, best_of_n

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Places of a forward pass: tokens of a prompt, or prefixes of responses to it.

    Attributes
    ----------
    entering : Tensor, shape (rows, hidden)
        Hidden states that enter the first trained layer.
    position : Tensor of int, shape (rows,)
        Place in the sequence.
    low, high : Tensor of int, shape (rows,)
        The leaves below a row are low … high − 1; below a prompt's tokens all of them.
    """

    entering: Tensor
    position: Tensor
    low: Tensor
    high: Tensor

    def visible(self, others: Rows) -> Tensor:
        """Return which of the others each row attends to, shape (rows, others): its ancestors."""
        below = (others.low <= self.low[:, None]) & (self.low[:, None] < others.high)
        return below & (others.position <= self.position[:, None])

    def pick(self, rows: Any) -> Rows:
        """Return some of the rows."""
        return Rows(self.entering[rows], self.position[rows], self.low[rows], self.high[rows])

    @staticmethod
    def join(parts: Sequence[Rows]) -> Rows:
        """Return the rows of all parts, one after the other."""
        names = ("entering", "position", "low", "high")
        return Rows(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class Tree:
    """The responses to one prompt.

    Attributes
    ----------
    prompt : str
        The text that responses continue.
    length : int
        Its tokens.
    sets : tuple of Tensor
        At depth d the token sets of all prefixes, shape (prefixes, sizes[d]), in the order of the
        frozen model's logits.
    entering : Tensor, shape (rows, hidden)
        Hidden states that enter the first trained layer: the prompt's tokens, then the prefixes
        of depth 1, 2, …. A leaf is no row: nothing follows it.
    start : ndarray, shape (leaves,)
        Log-probabilities under the frozen model.
    """

    prompt: str
    length: int
    sets: tuple[Tensor, ...]
    entering: Tensor
    start: Array

    @property
    def sizes(self) -> tuple[int, ...]:
        """Tokens of a set, by depth."""
        return tuple(tokens.shape[1] for tokens in self.sets)

    @property
    def leaves(self) -> int:
        """Number of responses."""
        return math.prod(self.sizes)

    def rows(self) -> Rows:
        """Return every place of the forward pass."""
        return Rows(self.entering, *places(self.length, self.sizes[:-1], self.sizes[-1]))

    def first(self, depth: int) -> int:
        """Return the row of the first prefix of a depth; prefix 0 of depth 0 is the prompt."""
        above = sum(math.prod(self.sizes[:d]) for d in range(1, depth))
        return self.length - 1 if depth == 0 else self.length + above

    def responses(self) -> Tensor:
        """Return the tokens of every response, shape (leaves, depth)."""
        columns = [
            tokens.flatten().repeat_interleave(self.leaves // tokens.numel())
            for tokens in self.sets
        ]
        return torch.stack(columns, dim=1)


def places(length: int, sizes: Sequence[int], below: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Return position, low and high of a prompt's tokens and of all prefixes."""
    leaves = math.prod(sizes) * below
    position, low = [torch.arange(length)], [torch.zeros(length, dtype=torch.long)]
    high = [torch.full((length,), leaves)]
    for depth in range(1, len(sizes) + 1):
        count = math.prod(sizes[:depth])
        span = leaves // count
        position.append(torch.full((count,), length - 1 + depth))
        low.append(torch.arange(count) * span)
        high.append(low[-1] + span)
    return torch.cat(position), torch.cat(low), torch.cat(high)


# --- the forward pass -----------------------------------------------------------------------------


class Ancestors:
    """Attention of rows to their ancestors, those of earlier calls included."""

    def __init__(self) -> None:
        self.known: list[Rows] = []
        self.mask = torch.empty(0)
        self.cache: dict[int, tuple[Tensor, Tensor]] = {}

    def add(self, rows: Rows) -> None:
        """Take up the rows of the next call."""
        self.known.append(rows)
        self.mask = rows.visible(Rows.join(self.known))

    def reach(self, tokens: int) -> int:
        """Return how far back a query may look."""
        return 1 + int(max(rows.position.max() for rows in self.known))

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Attend, for the engine: shapes (1, heads, rows, width)."""
        if layer in self.cache:
            key = torch.cat([self.cache[layer][0], key], dim=2)
            value = torch.cat([self.cache[layer][1], value], dim=2)
        self.cache[layer] = key, value
        share = query.shape[1] // key.shape[1]
        weights = (query * scale) @ key.repeat_interleave(share, dim=1).transpose(2, 3)
        weights = weights.masked_fill(~self.mask, -torch.inf).softmax(dim=-1)
        return weights @ value.repeat_interleave(share, dim=1)


class Enumerated(nn.Module):
    """The trained layers of a policy, applied to rows of trees.

    Parameters
    ----------
    policy : Policy
        Already adapted, if it is to be trained.
    layers : int
        Trained layers, the last of the model: what comes before them is a constant.
    """

    def __init__(self, policy: Policy, layers: int):
        super().__init__()
        inner = decoder(policy)
        self.layers = inner.layers[first_layer(policy, layers) :]
        self.norm, self.rotary = inner.norm, inner.rotary_emb
        self.head = policy.model.get_output_embeddings()
        self.temperature = policy.temperature

    def states(self, rows: Rows, seen: Ancestors) -> Tensor:
        """Return what the head reads at each row, shape (rows, hidden)."""
        seen.add(rows)
        states, places = rows.entering[None], rows.position[None]
        rotary = self.rotary(states, position_ids=places)
        for layer in self.layers:
            states = layer(states, position_ids=places, position_embeddings=rotary, rollouts=seen)
        return self.norm(states)[0]

    def choices(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Return log-probabilities of each prefix's tokens, shape (prefixes, size), float64."""
        logits = torch.einsum("ph,psh->ps", states, self.head.weight[tokens])
        return (logits.double() / self.temperature).log_softmax(dim=-1)

    def forward(self, tree: Tree) -> Tensor:
        """Return the log-probability of every leaf, shape (leaves,), float64."""
        states = self.states(tree.rows(), Ancestors())
        total = torch.zeros(1, dtype=torch.float64)
        for depth, tokens in enumerate(tree.sets):
            first = tree.first(depth)
            choices = self.choices(states[first : first + len(tokens)], tokens)
            total = (total[:, None] + choices).flatten()
        return total

    def draw(self, trees: Sequence[Tree], draws: Tensor) -> tuple[Tensor, Tensor]:
        """Draw m responses to each of P prompts by inversion, visiting their prefixes alone.

        Parameters
        ----------
        trees : sequence of Tree
            All of the same sizes.
        draws : Tensor, shape (P, m, depth)
            Uniform numbers in [0, 1).

        Returns
        -------
        leaves : Tensor of int, shape (P, m)
        logprobs : Tensor, shape (P, m)
            Their log-probabilities, with gradients.
        """
        P, m, depth = draws.shape
        sizes, leaves = trees[0].sizes, trees[0].leaves
        forest = [_shifted(tree.rows(), p * leaves) for p, tree in enumerate(trees)]
        rows = Rows.join(forest)
        begins = torch.tensor([0] + [len(part.position) for part in forest[:-1]]).cumsum(0)
        lengths = torch.tensor([tree.length for tree in trees])
        uniform = draws.reshape(P * m, depth).double()
        prompts = [slice(b, b + n) for b, n in zip(begins.tolist(), lengths.tolist(), strict=True)]
        seen = Ancestors()
        states = self.states(Rows.join([rows.pick(place) for place in prompts]), seen)
        states = states[lengths.cumsum(0) - 1]
        # each rollout's tree and prefix; the distinct ones, and which of them a rollout is at
        owner, prefix = torch.arange(P).repeat_interleave(m), torch.zeros(P * m, dtype=torch.long)
        tree_of, prefix_of, at = torch.arange(P), torch.zeros(P, dtype=torch.long), owner
        logprobs = torch.zeros(P * m, dtype=torch.float64)
        for d, size in enumerate(sizes):
            if d > 0:
                first = torch.tensor([tree.first(d) for tree in trees])
                states = self.states(rows.pick((begins + first)[tree_of] + prefix_of), seen)
            tokens = torch.stack([tree.sets[d] for tree in trees])[tree_of, prefix_of]
            choices = self.choices(states, tokens)[at]
            below = choices.detach().exp().cumsum(dim=-1)
            chosen = torch.searchsorted(below, uniform[:, d, None] * below[:, -1:], right=True)
            chosen = chosen.clamp(max=size - 1)
            logprobs = logprobs + choices.gather(1, chosen)[:, 0]
            prefix = prefix * size + chosen[:, 0]
            width = math.prod(sizes[: d + 1])
            distinct, at = torch.unique(owner * width + prefix, return_inverse=True)
            tree_of, prefix_of = distinct // width, distinct % width
        return prefix.view(P, m), logprobs.view(P, m)


def _shifted(rows: Rows, by: int) -> Rows:
    """Return rows whose leaves are numbered from `by`: trees side by side do not see each other."""
    return Rows(rows.entering, rows.position, rows.low + by, rows.high + by)


# --- exact quantities -----------------------------------------------------------------------------


def law_of(logprobs: Tensor | Array, rewards: Array) -> SoftmaxBandit:
    """Return the reward's law: leaves with their probabilities."""
    values = logprobs.detach().numpy() if isinstance(logprobs, Tensor) else logprobs
    return SoftmaxBandit(rewards, logits=values)


def surrogate(logprobs: Tensor, rewards: Array, N: int) -> Tensor:
    """Return Σ_y p ψ_N log p with p and ψ_N constants: its gradient is ∇V_N."""
    psi = best_of_n.advantage(law_of(logprobs, rewards), N, rewards)
    return logprobs.detach().exp() @ (torch.from_numpy(psi) * logprobs)


def summary(tree: Tree, logprobs: Array, rewards: Array, N: Sequence[int]) -> dict[str, float]:
    """Return exact V_N, the divergence from the start and the entropy of responses, in nats."""
    law, p = law_of(logprobs, rewards), np.exp(logprobs)
    values = {f"V_{budget}": best_of_n.value(law, budget) for budget in N}
    return values | {"kl": float(p @ (logprobs - tree.start)), "entropy": float(-p @ logprobs)}
