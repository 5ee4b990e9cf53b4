"""The machine's limit: the matrix products of a training step, and nothing else.

The same weights in the same order of memory, the same numbers of rows and threads; what remains of
a step's time is attention, norms, activations, the vocabulary's softmax, tokens and bookkeeping.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from simulations.lm import engine
from simulations.lm.policies import Policy, decoder

#: maps that read what enters a layer, which needs no gradient in the first trained one
ENTERED = ("q_proj", "k_proj", "v_proj")


def weights(layers: Sequence[nn.Module], adapters: bool) -> list[Tensor]:
    """Return the weights of the layers' linear maps: the model's own, or those of adapters."""
    return [
        module.weight.detach()
        for layer in layers
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear) and ("lora_" in name) == adapters
    ]


def entered(layer: nn.Module) -> list[Tensor]:
    """Return those weights, adapters included, that read what enters a layer."""
    return [
        module.weight.detach()
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear) and "lora_B" not in name
        if any(part in ENTERED for part in name.split("."))
    ]


def products(
    policy: Policy, lengths: Sequence[int], m: int, T: int, rows: int
) -> dict[str, Callable[[], None]]:
    """Return functions that compute the products of sampling and of the update, and drop them.

    Parameters
    ----------
    policy : Policy
        With adapters, which sampling adds to the maps and the update computes apart.
    lengths : sequence of int
        Tokens of the prompts.
    m, T, rows : int
        Rollouts of each prompt, tokens of each, rollouts side by side in the update.
    """
    layers = decoder(policy).layers
    upper, adapters = layers[policy.first :], weights(layers[policy.first :], adapters=True)
    head = engine.head_of(policy)
    whole, trained = weights(layers, adapters=False), weights(upper, adapters=False)
    constant = {w.data_ptr() for w in entered(upper[0])}
    passed = [w for w in trained + adapters if w.data_ptr() not in constant]
    together = max(1, rows // m)
    # rows of each pass of the update: rollouts, and the prompts that they share
    passes = [
        size
        for first in range(0, len(lengths), together)
        for shared in [lengths[first : first + together]]
        for size in (len(shared) * m * T, len(shared) * (max(shared) - 1))
    ]

    def forward(some: list[Tensor], count: int) -> None:
        inputs = {w.shape[1]: w.new_ones(count, w.shape[1]) for w in some}
        for w in some:
            inputs[w.shape[1]] @ w.T

    def backward(some: list[Tensor], count: int) -> None:
        outputs = {w.shape[0]: w.new_ones(count, w.shape[0]) for w in some}
        for w in some:
            outputs[w.shape[0]] @ w

    def own(some: list[Tensor], count: int) -> None:
        for w in some:
            torch.ones(w.shape[0], count, dtype=w.dtype) @ torch.ones(
                count, w.shape[1], dtype=w.dtype
            )

    def sampling() -> None:
        forward(whole, len(lengths) * (max(lengths) - 1))
        states = head.weight.new_ones(len(lengths) * m, head.weight.shape[1])
        for _ in range(T):
            forward(whole, len(states))
            table = head.logits(states)
            if policy.first:
                table @ head.weight

    def update() -> None:
        for count in passes:
            forward(trained + adapters, count)
            backward(passed, count)
            own(adapters, count)

    return {"sample": sampling, "update": update}


@torch.no_grad()
def fastest(act: Callable[[], None], repeats: int = 3) -> float:
    """Return the least of the seconds that a function takes."""
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        act()
        times.append(time.perf_counter() - begun)
    return min(times)
