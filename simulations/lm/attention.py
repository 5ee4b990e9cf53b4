"""Attention in which many rollouts share the keys and values of their prompt.

transformers lets a model's attention be replaced by a registered function, and hands it every
extra keyword of the call. Ours receives a `rollouts` object: `Prompts` records keys and values of
prompts, `Continuations` attends to them and to a rollout's own tokens. The prompt is thus computed
once for all its rollouts, in sampling as in training, where the gradient flows back through it; and
the rest of the model is transformers' own, so that any architecture with a plain causal attention
will do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

NAME = "tea_stats_shared_prefix"
#: keywords of attentions that are not plain: soft caps, sinks
STRANGE = ("softcap", "s_aux")


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    rollouts: Prompts | Continuations | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attend as `rollouts` says; the signature is that of transformers' attention functions.

    Parameters
    ----------
    query : Tensor, shape (rows, heads, tokens, width)
        Queries; `key` and `value` may have fewer heads (grouped-query attention).

    Returns
    -------
    Tensor, shape (rows, tokens, heads, width)
        And None in place of the weights.
    """
    strange = [name for name in STRANGE if settings.get(name) is not None]
    if strange or rollouts is None:
        raise ValueError(f"attention with {', '.join(strange) or 'no rollouts'} is not plain")
    window = settings.get("sliding_window")
    if window is not None and rollouts.reach(query.shape[2]) > window:
        raise ValueError(f"the model attends to {window} tokens only; give shorter prompts")
    seen = rollouts.attend(module.layer_idx, query, key, value, scaling)
    return seen.transpose(1, 2), None


class Prompts:
    """The keys and values of prompts, padded on the right to one length.

    Parameters
    ----------
    lengths : Tensor, shape (prompts,)
        Tokens of each prompt that count.
    """

    def __init__(self, lengths: Tensor):
        self.lengths = lengths
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def reach(self, tokens: int) -> int:
        """Return how far back a query may look."""
        return tokens

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Record a layer, and attend causally: what pads a prompt comes after all that counts."""
        assert layer == len(self.keys), "layers come in order"
        self.keys.append(key)
        self.values.append(value)
        return functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=True
        )


class Continuations:
    """`count` continuations of each prompt, prompt by prompt: rows 0 … count − 1 are the first's.

    Parameters
    ----------
    prompts : Prompts
        Computed before.
    count : int
        Continuations of each prompt.
    room : int
        Tokens per continuation if they come one at a time (sampling); 0 if all come in one call,
        as in training, where nothing may be overwritten.
    """

    def __init__(self, prompts: Prompts, count: int, room: int = 0):
        self.prompts, self.count, self.room = prompts, count, room
        self.done = 0
        self.own: list[tuple[Tensor, Tensor]] = []
        places = torch.arange(prompts.keys[0].shape[2], device=prompts.lengths.device)
        #: what pads a prompt is not there to be attended to, shape (prompts, 1, 1, length)
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
        if layer == len(self.own):
            size = (*key.shape[:2], self.room, key.shape[3])
            self.own.append((key.new_empty(size), value.new_empty(size)))
        now = slice(self.done, self.done + key.shape[2])
        for held, new in zip(self.own[layer], (key, value), strict=True):
            held[:, :, now] = new
        return tuple(held[:, :, : now.stop] for held in self.own[layer])


def check(model: Any, name: str) -> None:
    """Compare a model under this attention with its own; ValueError if they disagree.

    One forward pass of twelve tokens: it finds what no list of architectures would.
    """
    from simulations.lm import rollouts

    tokens = torch.arange(12, device=model.device) * 7 % model.config.vocab_size
    try:
        with torch.no_grad():
            prompts = rollouts.read_prompts(model, [tokens[:7].tolist()])
            ours = rollouts.continue_prompts(model, Continuations(prompts, 1), tokens[None, 7:])
            model.set_attn_implementation("eager")
            theirs = model(tokens[None], use_cache=False).logits[:, 7:]
    except (ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"model {name!r} is of an unknown kind ({reason}); give another") from None
    finally:
        model.set_attn_implementation(NAME)
    wide = 0.1 if ours.dtype.itemsize < 4 else 1e-3
    apart = float((ours.float() - theirs.float()).abs().max())
    if not apart < wide * (1.0 + float(theirs.float().abs().max())):
        raise ValueError(
            f"model {name!r} has an attention that shared prefixes do not follow (its logits "
            f"differ by {apart:.2g}); give another model"
        )


def register() -> None:
    """Tell transformers about this attention."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
