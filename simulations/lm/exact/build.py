"""Build trees of responses from a frozen model, within the memory there is."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simulations.lm import tree
from simulations.lm.policies import Policy
from simulations.lm.tree import Ancestors, Enumerated, Rows, Tree, decoder, first_layer

#: copies of a row's largest array that a backward pass keeps, about
COPIES = 4


@torch.no_grad()
def build(policy: Policy, prompt: str, sizes: Sequence[int], layers: int) -> Tree:
    """Enumerate the responses to a prompt: at each prefix the frozen model's most likely tokens.

    Parameters
    ----------
    policy : Policy
        Adapted or not: it is read as it was loaded.
    prompt : str
        A text to be continued, without chat format.
    sizes : sequence of int
        Tokens of a set, by depth; special tokens are in no set.
    layers : int
        Layers that are trained, the last of the model.

    Raises
    ------
    ValueError
        If the vocabulary or the memory is too small for `sizes`, the prompt is shorter than two
        tokens, or the model has no such layers.
    """
    prompted = torch.tensor(policy.tokenizer(prompt)["input_ids"])
    if len(prompted) < 2:
        raise ValueError(f"prompt {prompt!r} has {len(prompted)} tokens; give at least 2")
    allowed = _ordinary_tokens(policy)
    for depth, size in enumerate(sizes, 1):
        if not 1 <= size <= int(allowed.sum()):
            raise ValueError(
                f"tree.sizes asks for {size} tokens at depth {depth} and model {policy.name!r} has "
                f"{int(allowed.sum())} that are not special; give fewer"
            )
    _check_memory(policy, len(prompted), sizes)
    first = first_layer(policy, layers)
    tokens, sets = prompted, []
    for depth, size in enumerate(sizes):
        places = tree.places(len(prompted), sizes[:depth])
        entering, logits = _read(policy, tokens, places, first)
        prefixes = math.prod(sizes[:depth])
        ranked = logits[-prefixes:].masked_fill(~allowed, -torch.inf)
        sets.append(ranked.topk(size, dim=-1).indices)
        tokens = torch.cat([tokens, sets[-1].flatten()])
    grown = Tree(prompt, len(prompted), tuple(sets), entering, np.empty(0))
    with policy.as_loaded() as start:
        return replace(grown, start=Enumerated(start, layers)(grown).numpy())


def _read(
    policy: Policy, tokens: Tensor, places: tuple[Tensor, Tensor, Tensor], first: int
) -> tuple[Tensor, Tensor]:
    """Return what enters a layer at each row, and the logits there, of the frozen model."""
    seen, entered = Ancestors(), []
    seen.add(Rows(tokens, *places))

    def see(module: Any, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        entered.append(inputs[0] if inputs else named["hidden_states"])

    hook = decoder(policy).layers[first].register_forward_pre_hook(see, with_kwargs=True)
    try:
        with policy.as_loaded() as start:
            logits = start.model(
                tokens[None], position_ids=places[0][None], use_cache=False, rollouts=seen
            ).logits
    finally:
        hook.remove()
    return entered[0][0].clone(), logits[0]


def _ordinary_tokens(policy: Policy) -> Tensor:
    """Return which of the head's tokens spell text, shape (vocabulary,)."""
    count = policy.model.get_output_embeddings().weight.shape[0]
    special = {*policy.tokenizer.all_special_ids, *policy.ends}
    special |= {i for i, token in policy.tokenizer.added_tokens_decoder.items() if token.special}
    allowed = torch.arange(count) < len(policy.tokenizer)
    allowed[[token for token in special if token < count]] = False
    return allowed


def memory(policy: Policy, length: int, sizes: Sequence[int]) -> int:
    """Return about how many bytes one gradient of a tree needs."""
    head, config = policy.model.get_output_embeddings().weight, policy.model.config
    rows = length + sum(math.prod(sizes[:d]) for d in range(1, len(sizes)))
    prefixes = math.prod(sizes[:-1])
    gathered = prefixes * sizes[-1] * head.shape[1]
    attention = rows * rows * config.num_attention_heads
    ranked = rows * head.shape[0]
    return head.element_size() * COPIES * max(gathered + attention, ranked)


def _check_memory(policy: Policy, length: int, sizes: Sequence[int]) -> None:
    needed = memory(policy, length, sizes)
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > free:
        fits = list(sizes)
        while max(fits) > 1 and memory(policy, length, fits) > free:
            fits[fits.index(max(fits))] //= 2
        raise ValueError(
            f"tree.sizes is {list(sizes)}, which needs about {needed / 2**30:.3g} GiB, and "
            f"{free / 2**30:.3g} are free; {fits} fits"
        )
