"""The engine: a batched decoder whose rollouts share the prompt they answer.

Training toward the best of N draws many rollouts of each prompt. The prompt's keys and values are
computed once for all of them, in sampling as in training, where the gradient flows back through
them. Only attention is ours: transformers lets a registered function take its place, and hands it
every extra keyword of the model's call. Ours is a `PromptCache`, which records what a prompt
computes, or `Continuations`, whose rollouts attend to that and to their own tokens; the rest of
the model is transformers' own, so any architecture with plain causal attention will do.

A prompt is read up to its last token but one. That last token is the first one fed to each rollout,
so that a single call of the model gives the logits of every token of a completion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from simulations.lm import first_line
from simulations.lm.policies import Policy

NAME = "tea_stats_shared_prefix"
#: keyword arguments of attentions that are not plain: soft caps, sinks
UNSUPPORTED = ("softcap", "s_aux")
#: called at each token with the probabilities (rows, vocabulary), the tokens drawn, and the rows
#: that have not ended
Watcher = Callable[[Tensor, Tensor, Tensor], None]


# --- rollouts -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rollouts:
    """Completions of prompts, n of each, prompt by prompt.

    Attributes
    ----------
    prompts : list of list of int
        Tokens of each prompt.
    tokens : Tensor, shape (prompts · n, T)
        Tokens drawn, including the one that ends a completion.
    mask : Tensor of bool, shape (prompts · n, T)
        True for tokens, False for padding.
    logprobs : Tensor, shape (prompts · n, T)
        Their log-probabilities under the policy that drew them; 0 for padding.
    """

    prompts: list[list[int]]
    tokens: Tensor
    mask: Tensor
    logprobs: Tensor

    def pieces(self, rows: int) -> Iterator[tuple[Rollouts, slice]]:
        """Split into pieces of at most `rows` rollouts, each with its place among all rows."""
        n = len(self.tokens) // len(self.prompts)
        together = max(1, rows // n)
        for first in range(0, len(self.prompts), together):
            chosen = self.prompts[first : first + together]
            end = (first + len(chosen)) * n
            width = min(len(chosen) * n, rows)
            for start in range(first * n, end, width):
                place = slice(start, min(start + width, end))
                parts = (self.tokens[place], self.mask[place], self.logprobs[place])
                yield Rollouts(chosen, *parts), place


def uniforms(seed: int, key: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Return the uniform numbers that choose tokens: a function of (seed, key) alone."""
    sequence = np.random.SeedSequence(seed, spawn_key=tuple(key))
    return torch.from_numpy(np.random.default_rng(sequence).random(shape, dtype=np.float32))


@torch.no_grad()
def sample(
    policy: Policy,
    prompts: list[list[int]],
    draws: Tensor,
    *,
    rows: int | None = None,
    watcher: Watcher | None = None,
) -> Rollouts:
    """Draw n rollouts of each prompt by inversion: equal uniforms and policies, equal rollouts.

    Parameters
    ----------
    policy : Policy
        What answers.
    prompts : list of list of int
        Tokens of each prompt, as `Policy.encode` returns them.
    draws : Tensor, shape (prompts, n, T)
        Uniform numbers; T is the most tokens of a completion.
    rows : int, optional
        Rollouts computed side by side; memory grows with it. Default: all.
    watcher : callable, optional
        Shown every token's distribution.
    """
    P, n, T = draws.shape
    rows = rows or P * n
    together = max(1, rows // n)
    parts = []
    for first in range(0, P, together):
        chosen = prompts[first : first + together]
        pieces = [
            _decode(policy, chosen, piece, watcher)
            for piece in draws[first : first + together].split(rows, dim=1)
        ]
        # pieces have different rollouts of the same prompts
        split = [[x.view(len(chosen), -1, T) for x in piece] for piece in pieces]
        parts.append([torch.cat(x, dim=1).flatten(0, 1) for x in zip(*split, strict=True)])
    return Rollouts(prompts, *(torch.cat(x) for x in zip(*parts, strict=True)))


def _decode(
    policy: Policy, prompts: list[list[int]], draws: Tensor, watcher: Watcher | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens, mask and log-probabilities of rollouts that are computed side by side."""
    P, n, T = draws.shape
    with memory_errors_explained():
        draws = draws.to(policy.device).view(P * n, T)
        ends = torch.tensor(policy.ends, device=policy.device)
        tokens = torch.full((P * n, T), policy.pad, device=policy.device)
        mask = torch.zeros(P * n, T, dtype=torch.bool, device=policy.device)
        logprobs = torch.zeros(P * n, T, device=policy.device)
        on = torch.ones(P * n, dtype=torch.bool, device=policy.device)
        token, state = _prefill(policy, prompts, n, room=T)
        for t in range(T):
            logits = _tempered(continue_prompts(policy.model, state, token[:, None])[:, 0], policy)
            probabilities = logits.softmax(dim=-1)
            # float32 sums of a vocabulary are exact enough: torch accumulates them in double
            below = probabilities.cumsum(dim=-1)
            token = torch.searchsorted(below, draws[:, t, None] * below[:, -1:], right=True)[:, 0]
            token = token.clamp(max=logits.shape[-1] - 1)
            if watcher is not None:
                watcher(probabilities, token, on)
            tokens[:, t] = torch.where(on, token, tokens[:, t])
            logprobs[:, t] = torch.where(on, _logprobs(logits, token), 0.0)
            mask[:, t] = on
            on = on & ~torch.isin(token, ends)
            if not on.any():
                break
    return tokens, mask, logprobs


def score(policy: Policy, rollouts: Rollouts) -> Tensor:
    """Return the log-probabilities of given completions, with the gradient through the prompts.

    Returns
    -------
    Tensor, shape (prompts · n, T)
        As `Rollouts.logprobs`, under the policy as it is now.
    """
    with memory_errors_explained():
        n = len(rollouts.tokens) // len(rollouts.prompts)
        last, state = _prefill(policy, rollouts.prompts, n)
        # places that no completion reaches cost nothing
        T = int(rollouts.mask.sum(dim=1).max())
        fed = torch.cat([last[:, None], rollouts.tokens[:, : T - 1]], dim=1)
        logits = _tempered(continue_prompts(policy.model, state, fed), policy)
        logprobs = _logprobs(logits, rollouts.tokens[:, :T])
        kept = torch.where(rollouts.mask[:, :T], logprobs, 0.0)
        return functional.pad(kept, (0, rollouts.tokens.shape[1] - T))


def _prefill(
    policy: Policy, prompts: list[list[int]], n: int, room: int = 0
) -> tuple[Tensor, Continuations]:
    """Return each rollout's first token to be fed, the prompt's last, and the state before it."""
    cache = read_prompts(policy.model, [prompt[:-1] for prompt in prompts])
    last = torch.tensor([prompt[-1] for prompt in prompts], device=policy.device)
    return last.repeat_interleave(n), Continuations(cache, n, room)


def _tempered(logits: Tensor, policy: Policy) -> Tensor:
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    return logits if policy.temperature == 1.0 else logits / policy.temperature


def _logprobs(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return log-probabilities of tokens, without a second table of the whole vocabulary."""
    return logits.gather(-1, tokens[..., None])[..., 0] - logits.logsumexp(dim=-1)


@contextmanager
def memory_errors_explained() -> Iterator[None]:
    """Turn an out-of-memory error into a ValueError that names the flag to halve."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        short = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not short and "allocate memory" not in str(error):
            raise
        raise ValueError("out of memory; halve --rows (rollouts computed side by side)") from None


# --- attention ------------------------------------------------------------------------------------


def read_prompts(model: Any, prompts: Sequence[Sequence[int]]) -> PromptCache:
    """Compute keys and values of prompts (token lists of any lengths)."""
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    padded = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
    for row, prompt in zip(padded, prompts, strict=True):
        row[: len(prompt)] = torch.tensor(prompt)
    cache = PromptCache(lengths)
    places = torch.arange(padded.shape[1], device=model.device)[None]
    model(
        padded.to(model.device),
        position_ids=places.expand(len(prompts), -1),
        use_cache=False,
        logits_to_keep=1,
        rollouts=cache,
    )
    return cache


def continue_prompts(model: Any, rows: Continuations, tokens: Tensor) -> Tensor:
    """Feed tokens (rows, t) to continuations; return logits, shape (rows, t, vocabulary)."""
    places = rows.positions(tokens.shape[1])
    logits = model(tokens, position_ids=places, use_cache=False, rollouts=rows).logits
    rows.done += tokens.shape[1]
    return logits


class PromptCache:
    """Keys and values of prompts, padded on the right to one length; `lengths` without padding."""

    def __init__(self, lengths: Tensor):
        self.lengths = lengths
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def reach(self, tokens: int) -> int:
        """Return how far back a query may look."""
        return tokens

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Record a layer, and attend causally: a prompt's padding comes after all its tokens."""
        assert layer == len(self.keys), "layers come in order"
        self.keys.append(key)
        self.values.append(value)
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
        self.own: list[tuple[Tensor, Tensor]] = []
        places = torch.arange(prompts.keys[0].shape[2], device=prompts.lengths.device)
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
        if layer == len(self.own):
            size = (*key.shape[:2], self.room, key.shape[3])
            self.own.append((key.new_empty(size), value.new_empty(size)))
        now = slice(self.done, self.done + key.shape[2])
        for kept, new in zip(self.own[layer], (key, value), strict=True):
            kept[:, :, now] = new
        return tuple(kept[:, :, : now.stop] for kept in self.own[layer])


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
