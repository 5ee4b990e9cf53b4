"""Score vectors of an enumerated prompt's leaves; with rewards they are a law, `Leaves`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, jvp

from simulations.core.leaves import Leaves as Leaves
from simulations.lm.pools.sketch import Sketch
from simulations.lm.tree import Ancestors, Array, Enumerated, Tree


def directions(model: Enumerated, count: int, seed: int) -> list[dict[str, Tensor]]:
    """Return random directions of the trained parameters, independent standard normal numbers.

    The mean square of a score along them estimates the square of its length.
    """
    generator = torch.Generator().manual_seed(seed)
    trained = {name: w for name, w in model.named_parameters() if w.requires_grad}
    return [
        {name: torch.randn(w.shape, generator=generator).to(w) for name, w in trained.items()}
        for _ in range(count)
    ]


def adapter_scores(model: Enumerated, tree: Tree, along: list[dict[str, Tensor]]) -> Array:
    """Return ∂ log p(y) along directions of the parameters, by forward mode; (leaves, directions).

    Scores are divided by the root of the number of directions: inner products then estimate those
    of whole scores.
    """
    at = {name: w.detach() for name, w in model.named_parameters() if w.requires_grad}

    def logprobs(weights: Mapping[str, Tensor]) -> Tensor:
        return functional_call(model, dict(weights), (tree,))

    with warnings.catch_warnings():
        # torch loads its rules of forward mode by a function that it deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        columns = [jvp(logprobs, (at,), (v,))[1] for v in along]
    return torch.stack(columns, dim=1).detach().numpy() / np.sqrt(max(1, len(along)))


@torch.no_grad()
def head_scores(model: Enumerated, tree: Tree, sketch: Sketch) -> Array:
    """Return scores in A at A = 0, the head being W + U A Vᵀ; shape (leaves, a · b)."""
    states = model.states(tree.rows(), Ancestors())
    a, b = sketch.U.shape[1], sketch.V.shape[1]
    total = torch.zeros(1, a * b, dtype=torch.float64)
    for depth, tokens in enumerate(tree.sets):
        rows = states[tree.first(depth) :][: len(tokens)]
        p = model.choices(rows, tokens).exp()
        U = sketch.U[tokens].double()
        surprise = U - torch.einsum("ps,psa->pa", p, U)[:, None]
        step = torch.einsum("psa,pb->psab", surprise, (rows @ sketch.V).double())
        total = (total[:, None] + step.flatten(2)).flatten(0, 1)
    return total.numpy() / model.temperature
