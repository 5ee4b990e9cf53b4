"""Checks of an enumerated policy that share no code with it, kept in the study's manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from simulations.lm import attention, tree as trees
from simulations.lm.exact.train import Rated
from simulations.lm.policies import Policy
from simulations.lm.train import put
from simulations.lm.tree import Array, Enumerated, Tree
from tea_stats import best_of_n

#: leaves that are compared, and the N of the value that is differentiated
LEAVES, BUDGET = 64, 128


@torch.no_grad()
def plain_logprobs(policy: Policy, tree: Tree, leaves: Array) -> Array:
    """Return log-probabilities of leaves by transformers' own attention, one sequence each."""
    model = policy.model
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    prompt = torch.tensor(policy.tokenizer(tree.prompt)["input_ids"])
    answers = tree.responses()[leaves]
    sequences = torch.cat([prompt.expand(len(answers), -1), answers], dim=1)
    model.set_attn_implementation("eager")
    try:
        logits = model(sequences, use_cache=False).logits[:, tree.length - 1 : -1]
    finally:
        model.set_attn_implementation(attention.NAME)
    total = torch.zeros(len(answers), dtype=torch.float64)
    prefix = torch.zeros(len(answers), dtype=torch.long)
    for depth, tokens in enumerate(tree.sets):
        sets = tokens[prefix]
        allowed = logits[:, depth].gather(1, sets).double() / policy.temperature
        place = (sets == answers[:, depth, None]).long().argmax(dim=1)
        total += allowed.log_softmax(dim=1).gather(1, place[:, None])[:, 0]
        prefix = prefix * tokens.shape[1] + place
    return total.numpy()


def slopes(
    model: Enumerated, tree: Tree, rewards: Array, N: int, h: float = 1e-3
) -> tuple[float, float]:
    """Return ∇V_N · v and the central difference of V_N along v.

    v is half the gradient's direction and half a random one: along a random direction alone the
    derivative is so small that the float32 inside the model's norms drowns it.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    start = [weight.detach().clone() for weight in weights]
    gradient = torch.autograd.grad(trees.surrogate(model(tree), rewards, N), weights)
    generator = torch.Generator().manual_seed(0)
    random = [torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in weights]
    halves = zip(_unit(gradient), _unit(random), strict=True)
    v = _unit([ahead + aside for ahead, aside in halves])
    along = float(sum((g * part).sum() for g, part in zip(gradient, v, strict=True)))

    def value(step: float) -> float:
        put(weights, [w + step * part for w, part in zip(start, v, strict=True)])
        with torch.no_grad():
            return best_of_n.value(trees.law_of(model(tree), rewards), N)

    difference = (value(h) - value(-h)) / (2.0 * h)
    put(weights, start)
    return along, difference


def _unit(parts: Sequence[Tensor]) -> list[Tensor]:
    size = torch.stack([part.square().sum() for part in parts]).sum().sqrt()
    return [part / size for part in parts]


def measure(policy: Policy, model: Enumerated, rated: Rated) -> dict[str, float]:
    """Return the largest error of log-probabilities, and the relative error of a derivative."""
    tree = rated.tree
    leaves = np.linspace(0, tree.leaves - 1, LEAVES).astype(np.intp)
    with torch.no_grad():
        gap = np.abs(model(tree).numpy()[leaves] - plain_logprobs(policy, tree, leaves)).max()
    kind = policy.model.dtype
    policy.model.double()
    try:
        precise = replace(tree, entering=tree.entering.double())
        along, difference = slopes(model, precise, rated.rewards, BUDGET)
    finally:
        policy.model.to(kind)
    return {
        "logprob_error": float(gap),
        "derivative": along,
        "derivative_error": abs(along - difference) / abs(difference),
    }
