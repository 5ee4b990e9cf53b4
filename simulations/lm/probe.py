"""Try on twelve tokens what the engine may leave out with a model, of whatever architecture."""

from __future__ import annotations

from dataclasses import replace

import torch

from simulations.lm.attention import (
    Continuations,
    continue_prompts,
    continue_states,
    read_prompts,
)
from simulations.lm.engine import sample, score
from simulations.lm.policies import Policy, decoder


def has_plain_head(policy: Policy) -> bool:
    """Return whether logits are a linear map of what the decoder gives; twelve tokens decide."""
    tokens = torch.arange(12, device=policy.device) * 7 % policy.model.config.vocab_size
    try:
        with torch.no_grad():
            cache = read_prompts(policy.model, [tokens[:7].tolist()])
            whole = continue_prompts(policy.model, Continuations(cache, 1), tokens[None, 7:])
            states = continue_states(decoder(policy), Continuations(cache, 1), tokens[None, 7:])
            ours = (states @ policy.model.get_output_embeddings().weight.T).float()
    except (ValueError, TypeError, AttributeError, IndexError, RuntimeError):
        return False
    tolerance = 0.1 if policy.model.dtype.itemsize < 4 else 1e-4
    return torch.allclose(ours, whole.float(), rtol=0.0, atol=tolerance * float(whole.abs().max()))


def first_trained(policy: Policy, first: int) -> int:
    """Return `first`, the first layer with adapters, if `score` may begin there; else 0.

    Twelve tokens are scored both ways: a model that does more with its input than to hand it to the
    first layer, or more with the head's output than to return it, is computed as a whole.
    """
    if not policy.plain_head:
        return 0
    prompt = (torch.arange(8) * 7 % policy.model.config.vocab_size).tolist()
    try:
        policy.first = first
        rollouts = sample(policy, [prompt], torch.full((1, 1, 4), 0.5), entering=True)
        with torch.no_grad():
            ours, whole = score(policy, rollouts), score(policy, replace(rollouts, entering=None))
    except (ValueError, TypeError, AttributeError, IndexError, RuntimeError):
        return 0
    finally:
        policy.first = 0
    tolerance = 0.1 if ours.dtype.itemsize < 4 or policy.model.dtype.itemsize < 4 else 1e-3
    same = rollouts.entering is not None and torch.allclose(ours, whole, rtol=0.0, atol=tolerance)
    return first if same else 0
