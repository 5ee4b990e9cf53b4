r"""The head: from states to tokens, their log-probabilities, and the gradient of these.

Where logits are W h / τ, W being frozen,

.. math:: ∂ \log π(y) / ∂h = (W_y − Σ_v p_v W_v) / τ,

which is known with the probabilities p. So whoever has these needs one product more, and neither a
table (tokens, vocabulary) that is kept for the backward pass, nor the head once more: what sampling
computes serves the update too. Tables are made for a few rows at a time, in memory that is used
again.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

#: rows whose logits are computed side by side, where all rows are at hand
ROWS = 128
#: tokens of a block, the first level of drawing
BLOCK = 128


class Head:
    """A linear map from states (rows, hidden) to logits, and temporary memory; it has no gradient.

    `trained` is true if it should have one.
    """

    def __init__(self, weight: Tensor, temperature: float):
        self.weight, self.temperature = weight.detach(), temperature
        self.trained = weight.requires_grad
        self.room: tuple[Tensor, ...] = ()

    def logits(self, states: Tensor) -> Tensor:
        """Return logits (rows, vocabulary), in float32 or better; the next call overwrites them."""
        if states.dtype.itemsize < 4:
            return self.tempered(states @ self.weight.T)
        logits = torch.mm(states, self.weight.T, out=self._room(states)[0])
        return logits if self.temperature == 1.0 else logits.div_(self.temperature)

    def tempered(self, logits: Tensor) -> Tensor:
        """Return a model's logits in float32 or better, divided by the temperature."""
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        return logits if self.temperature == 1.0 else logits / self.temperature

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the softmax of what `logits` returned; the next call overwrites it."""
        return torch.softmax(logits, dim=-1, out=self._room(logits)[1])

    def slopes(self, probabilities: Tensor, tokens: Tensor) -> Tensor:
        """Return the gradient of the tokens' log-probabilities in the states, (rows, hidden)."""
        expected = probabilities.to(self.weight.dtype) @ self.weight
        return (self.weight[tokens] - expected).div_(self.temperature)

    def _room(self, like: Tensor) -> tuple[Tensor, ...]:
        """Return two tables (rows, vocabulary) whose content does not matter."""
        if not self.room or len(self.room[0]) < len(like):
            size = len(like), len(self.weight)
            self.room = like.new_empty(size), like.new_empty(size)
        return tuple(table[: len(like)] for table in self.room)


def logprobs(states: Tensor, tokens: Tensor, head: Head) -> Tensor:
    """Return log-probabilities of tokens (k,) after states (k, hidden), with their gradient."""
    differentiable = torch.is_grad_enabled() and states.requires_grad
    values, slopes = [], []
    with torch.no_grad():
        for some, drawn in zip(states.split(ROWS), tokens.split(ROWS), strict=True):
            logits = head.logits(some)
            p = head.probabilities(logits)
            values.append(logprobs_of(logits, p, drawn))
            if differentiable:
                slopes.append(head.slopes(p, drawn))
    return known(states, torch.cat(values), torch.cat(slopes) if slopes else None)


def known(states: Tensor, values: Tensor, slopes: Tensor | None) -> Tensor:
    """Return known log-probabilities (…,) with known gradients (…, hidden) in the states."""
    if slopes is None:
        return values
    change = (states * slopes).sum(dim=-1)
    # of no size: the gradient alone
    return values + (change - change.detach())


def logprobs_of(logits: Tensor, probabilities: Tensor, tokens: Tensor) -> Tensor:
    """Return log-probabilities of tokens (rows,), finite where a probability is too small to be."""
    # the sum over the vocabulary, from the likeliest token's logit and probability
    total = logits.amax(dim=-1) - probabilities.amax(dim=-1).log()
    return logits.gather(-1, tokens[:, None])[:, 0] - total


def draw(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Draw tokens (rows,) by inversion: a block of the vocabulary, then a token of the block.

    Sums are needed over the blocks and over one block, instead of over the whole vocabulary. No
    token of probability 0 is drawn.
    """
    rows, vocabulary = probabilities.shape
    if vocabulary % BLOCK:
        probabilities = functional.pad(probabilities, (0, -vocabulary % BLOCK))
    blocks = probabilities.view(rows, -1, BLOCK)
    below = blocks.sum(dim=-1).cumsum(dim=-1)
    target = uniforms[:, None].to(below) * below[:, -1:]
    block = _first_above(below, target)
    start = functional.pad(below, (1, 0)).gather(-1, block)
    within = blocks[torch.arange(rows, device=block.device), block[:, 0]].cumsum(dim=-1)
    return (block * BLOCK + _first_above(within, target - start))[:, 0]


def _first_above(below: Tensor, target: Tensor) -> Tensor:
    """Return where sums of weights (rows, k) first exceed targets (rows, 1)."""
    total = below[:, -1:]
    # rounding leads neither before the first weight that is not 0 nor past the last
    target = target.clamp(min=0.0).minimum(total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(below, target, right=True)
