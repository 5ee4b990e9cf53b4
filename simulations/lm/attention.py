"""Attention of rollouts that share the prompt they answer.

The prompt's keys and values are computed once for all its rollouts, in sampling as in training,
where the gradient flows back through them. transformers lets a registered function take the place
of a model's attention, and hands it every extra keyword of the model's call. Ours is a
`PromptCache`, which records what a prompt computes, or `Continuations`, whose rollouts attend to
that and to their own tokens. The rest of the model is transformers' own, so any architecture with
plain causal attention will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from simulations.lm import first_line

NAME = "tea_stats_shared_prefix"
#: keyword arguments of attentions that are not plain: soft caps, sinks
UNSUPPORTED = ("softcap", "s_aux")


class PromptCache:
    """Keys and values of prompts, padded on the right to one length; `lengths` without padding."""

    def __init__(self, lengths: Tensor):
        self.lengths = lengths
        # by layer: the first ones may be left out
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}

    def reach(self, tokens: int) -> int:
        """Return how far back a query may look."""
        return tokens

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Record a layer, and attend causally: a prompt's padding comes after all its tokens."""
        self.keys[layer], self.values[layer] = key, value
        return functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=True
        )


class Continuations:
    """`count` continuations of each prompt, prompt by prompt: rows 0 … count − 1 are the first's.

    `room` is the most tokens of a continuation if they come one at a time (sampling); 0 if all
    come in one call, as in training, where nothing may be overwritten.
    """

    def __init__(self, prompts: PromptCache, count: int, room: int = 0):
        self.prompts, self.count, self.room = prompts, count, room
        self.done = 0
        self.own: dict[int, tuple[Tensor, Tensor]] = {}
        length = next(iter(prompts.keys.values())).shape[2]
        places = torch.arange(length, device=prompts.lengths.device)
        #: True where a prompt is padded, shape (prompts, 1, 1, length)
        self.padding = (places >= prompts.lengths[:, None])[:, None, None]

    def reach(self, tokens: int) -> int:
        """Return how far back a query may look."""
        return int(self.prompts.lengths.max()) + self.done + tokens

    def positions(self, tokens: int) -> Tensor:
        """Return the positions of the next tokens, shape (rows, tokens)."""
        first = self.prompts.lengths.repeat_interleave(self.count) + self.done
        return first[:, None] + torch.arange(tokens, device=first.device)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Attend to the prompt and to the continuation's own tokens so far."""
        key, value = self._append(layer, key, value)
        rows, heads, tokens, width = query.shape
        groups, seen = key.shape[1], key.shape[2]
        P, n, share = rows // self.count, self.count, heads // groups
        # (P, n, groups, share, tokens, ·): rows of a prompt meet its keys in one product
        query = (query * scale).view(P, n, groups, share, tokens, width)
        prefix_key, prefix_value = self.prompts.keys[layer], self.prompts.values[layer]
        by_prompt = query.transpose(1, 2).reshape(P, groups, n * share * tokens, width)
        far = by_prompt @ prefix_key.transpose(2, 3)
        far = far.masked_fill(self.padding, -torch.inf)
        length = far.shape[-1]
        far = far.view(P, groups, n, share, tokens, length).transpose(1, 2)
        by_row = query.reshape(rows, groups, share * tokens, width)
        near = (by_row @ key.transpose(2, 3)).view(P, n, groups, share, tokens, seen)
        if tokens > 1:
            later = torch.ones(tokens, seen, dtype=torch.bool, device=near.device).triu(1)
            near = near.masked_fill(later, -torch.inf)
        precise = torch.promote_types(near.dtype, torch.float32)
        weights = torch.cat([far, near], dim=-1).softmax(dim=-1, dtype=precise)
        far, near = weights.to(value.dtype).split([length, seen], dim=-1)
        far = far.transpose(1, 2).reshape(P, groups, n * share * tokens, length) @ prefix_value
        far = far.view(P, groups, n, share, tokens, width).transpose(1, 2)
        near = near.reshape(rows, groups, share * tokens, seen) @ value
        return (far + near.view_as(far)).reshape(rows, heads, tokens, width)

    def _append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return a layer's keys and values of all tokens so far."""
        if not self.room:
            return key, value
        if layer not in self.own:
            size = (*key.shape[:2], self.room, key.shape[3])
            self.own[layer] = key.new_empty(size), value.new_empty(size)
        now = slice(self.done, self.done + key.shape[2])
        for kept, new in zip(self.own[layer], (key, value), strict=True):
            kept[:, :, now] = new
        return tuple(kept[:, :, : now.stop] for kept in self.own[layer])


# --- calls of the model ---------------------------------------------------------------------------


def read_prompts(model: Any, prompts: Sequence[Sequence[int]]) -> PromptCache:
    """Compute keys and values of prompts (token lists of any lengths)."""
    cache, places = _places([len(prompt) for prompt in prompts], model.device)
    padded = torch.zeros(places.shape, dtype=torch.long)
    for row, prompt in zip(padded, prompts, strict=True):
        row[: len(prompt)] = torch.tensor(prompt)
    tokens = padded.to(model.device)
    model(tokens, position_ids=places, use_cache=False, rollouts=cache, logits_to_keep=1)
    return cache


def continue_prompts(model: Any, rows: Continuations, tokens: Tensor) -> Tensor:
    """Feed tokens (rows, t) to continuations; return logits, shape (rows, t, vocabulary)."""
    places = rows.positions(tokens.shape[1])
    logits = model(tokens, position_ids=places, use_cache=False, rollouts=rows).logits
    rows.done += tokens.shape[1]
    return logits


def read_states(inner: Any, prompts: Sequence[Tensor]) -> PromptCache:
    """As `read_prompts`, by upper layers alone, from what enters them: shapes (tokens, hidden)."""
    cache, places = _places([len(states) for states in prompts], prompts[0].device)
    padded = pad_sequence(list(prompts), batch_first=True)
    inner(inputs_embeds=padded, position_ids=places, use_cache=False, rollouts=cache)
    return cache


def continue_states(inner: Any, rows: Continuations, fed: Tensor) -> Tensor:
    """As `continue_prompts`, by the decoder alone; return what the head reads.

    `fed` are tokens (rows, t), or what enters the layers, shape (rows, t, hidden).
    """
    places = rows.positions(fed.shape[1])
    kind = "inputs_embeds" if fed.is_floating_point() else "input_ids"
    done = inner(**{kind: fed}, position_ids=places, use_cache=False, rollouts=rows)
    rows.done += fed.shape[1]
    return done.last_hidden_state


def _places(lengths: Sequence[int], device: torch.device) -> tuple[PromptCache, Tensor]:
    """Return an empty cache of prompts, and the positions of their tokens, (prompts, longest)."""
    places = torch.arange(max(lengths), device=device).expand(len(lengths), -1)
    return PromptCache(torch.tensor(lengths, device=device)), places


# --- the attention transformers calls -------------------------------------------------------------


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    rollouts: PromptCache | Continuations | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attend as `rollouts` does; the signature is that of transformers' attention functions.

    `query` has shape (rows, heads, tokens, width), `key` and `value` may have fewer heads
    (grouped-query attention); returns (rows, tokens, heads, width), and None for the weights.
    """
    strange = [name for name in UNSUPPORTED if settings.get(name) is not None]
    if strange or rollouts is None:
        raise ValueError(f"attention with {', '.join(strange) or 'no rollouts'} is not plain")
    window = settings.get("sliding_window")
    if window is not None and rollouts.reach(query.shape[2]) > window:
        raise ValueError(f"the model attends to {window} tokens only; give shorter prompts")
    output = rollouts.attend(module.layer_idx, query, key, value, scaling)
    return output.transpose(1, 2), None


def install(model: Any, name: str) -> None:
    """Give a model this attention, and compare it with the model's own on twelve tokens.

    One forward pass finds what no list of architectures would; ValueError if the two disagree.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    model.set_attn_implementation(NAME)
    tokens = torch.arange(12, device=model.device) * 7 % model.config.vocab_size
    try:
        with torch.no_grad():
            cache = read_prompts(model, [tokens[:7].tolist()])
            ours = continue_prompts(model, Continuations(cache, 1), tokens[None, 7:])
            model.set_attn_implementation("eager")
            theirs = model(tokens[None], use_cache=False).logits[:, 7:]
    except (ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        raise ValueError(
            f"model {name!r} is of an unknown kind ({first_line(error)}); give another"
        ) from None
    finally:
        model.set_attn_implementation(NAME)
    tolerance = 0.1 if ours.dtype.itemsize < 4 else 1e-3
    gap = float((ours.float() - theirs.float()).abs().max())
    if not gap < tolerance * (1.0 + float(theirs.float().abs().max())):
        raise ValueError(
            f"model {name!r} has an attention that shared prefixes do not follow (its logits "
            f"differ by {gap:.2g}); give another model"
        )
