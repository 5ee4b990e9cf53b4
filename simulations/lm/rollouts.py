"""Draw rollouts, and score them: the prompt once, its rollouts side by side.

A prompt is read up to its last but one token; the last one is the first token that every rollout
is fed, so that one call of the model gives the logits of every token of a completion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simulations.lm.attention import Continuations, Prompts
from simulations.lm.policies import Policy

#: called at each token with logits over τ, shape (rows, vocabulary), chosen tokens and who is on
Watcher = Callable[[Tensor, Tensor, Tensor], None]


@dataclass(frozen=True)
class Rollouts:
    """Completions of prompts, n of each, prompt by prompt.

    Attributes
    ----------
    prompts : list of list of int
        Tokens of each prompt.
    tokens : Tensor, shape (prompts · n, T)
        Tokens drawn, the one that ends a completion included.
    mask : Tensor of bool, shape (prompts · n, T)
        Tokens that count.
    logprobs : Tensor, shape (prompts · n, T)
        Their log-probabilities under the policy that drew them; 0 where the mask is.
    """

    prompts: list[list[int]]
    tokens: Tensor
    mask: Tensor
    logprobs: Tensor

    @property
    def n(self) -> int:
        """Rollouts per prompt."""
        return len(self.tokens) // len(self.prompts)

    def pieces(self, rows: int) -> Iterator[tuple[Rollouts, slice]]:
        """Split into parts of at most `rows` rollouts, each with its place among all rows."""
        n = self.n
        together = max(1, rows // n)
        for first in range(0, len(self.prompts), together):
            chosen = self.prompts[first : first + together]
            end = (first + len(chosen)) * n
            width = len(chosen) * n if len(chosen) * n <= rows else rows
            for start in range(first * n, end, width):
                place = slice(start, min(start + width, end))
                parts = (self.tokens[place], self.mask[place], self.logprobs[place])
                yield Rollouts(chosen, *parts), place


def uniforms(seed: int, key: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Return the uniform numbers that choose tokens: a function of (seed, key) alone."""
    sequence = np.random.SeedSequence(seed, spawn_key=tuple(key))
    return torch.from_numpy(np.random.default_rng(sequence).random(shape, dtype=np.float32))


def read_prompts(model: Any, prompts: Sequence[Sequence[int]]) -> Prompts:
    """Compute keys and values of prompts (token lists of any lengths)."""
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    padded = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
    for row, prompt in zip(padded, prompts, strict=True):
        row[: len(prompt)] = torch.tensor(prompt)
    read = Prompts(lengths)
    places = torch.arange(padded.shape[1], device=model.device)[None]
    model(
        padded.to(model.device),
        position_ids=places.expand(len(prompts), -1),
        use_cache=False,
        logits_to_keep=1,
        rollouts=read,
    )
    return read


def continue_prompts(model: Any, rows: Continuations, tokens: Tensor) -> Tensor:
    """Feed tokens (rows, t) to continuations; return logits, shape (rows, t, vocabulary)."""
    places = rows.positions(tokens.shape[1])
    logits = model(tokens, position_ids=places, use_cache=False, rollouts=rows).logits
    rows.done += tokens.shape[1]
    return logits


@torch.no_grad()
def sample(policy: Policy, prompts: list[list[int]], draws: Tensor, *, rows: int) -> Rollouts:
    """Draw rollouts by inversion: equal uniforms and equal policies give equal rollouts.

    Parameters
    ----------
    policy : Policy
        What answers.
    prompts : list of list of int
        Tokens of each prompt, see `encode`.
    draws : Tensor, shape (prompts, n, T)
        Uniform numbers; T is the most tokens of a completion.
    rows : int
        Rollouts that are computed side by side: memory goes with it.

    Returns
    -------
    Rollouts
        n of each prompt.
    """
    return _in_parts(policy, prompts, draws, rows, None)


@torch.no_grad()
def sample_watched(
    policy: Policy, prompts: list[list[int]], draws: Tensor, watcher: Watcher
) -> Rollouts:
    """Draw as `sample` does, all side by side, and show `watcher` every token's distribution."""
    return _draw(policy, prompts, draws, watcher)


def _in_parts(
    policy: Policy, prompts: list[list[int]], draws: Tensor, rows: int, watcher: Watcher | None
) -> Rollouts:
    P, n, _ = draws.shape
    together = max(1, rows // n)
    parts = []
    for first in range(0, P, together):
        chosen = prompts[first : first + together]
        pieces = [
            _draw(policy, chosen, piece, watcher)
            for piece in draws[first : first + together].split(rows, dim=1)
        ]
        parts.append(_side_by_side(chosen, pieces))
    joined = [torch.cat([getattr(p, x) for p in parts]) for x in ("tokens", "mask", "logprobs")]
    return Rollouts(prompts, *joined)


def _side_by_side(prompts: list[list[int]], pieces: list[Rollouts]) -> Rollouts:
    """Join parts that hold different rollouts of the same prompts."""
    joined = []
    for name in ("tokens", "mask", "logprobs"):
        arrays = [getattr(p, name) for p in pieces]
        arrays = [a.view(len(prompts), -1, a.shape[-1]) for a in arrays]
        joined.append(torch.cat(arrays, dim=1).flatten(0, 1))
    return Rollouts(prompts, *joined)


def _draw(
    policy: Policy, prompts: list[list[int]], draws: Tensor, watcher: Watcher | None
) -> Rollouts:
    P, n, T = draws.shape
    with explained_memory():
        draws = draws.to(policy.device).view(P * n, T)
        read = read_prompts(policy.model, [prompt[:-1] for prompt in prompts])
        state = Continuations(read, n, room=T)
        last = torch.tensor([prompt[-1] for prompt in prompts], device=policy.device)
        token = last.repeat_interleave(n)
        ends = torch.tensor(policy.ends, device=policy.device)
        tokens = torch.full((P * n, T), policy.pad, device=policy.device)
        mask = torch.zeros(P * n, T, dtype=torch.bool, device=policy.device)
        logprobs = torch.zeros(P * n, T, device=policy.device)
        on = torch.ones(P * n, dtype=torch.bool, device=policy.device)
        for t in range(T):
            logits = _tempered(continue_prompts(policy.model, state, token[:, None])[:, 0], policy)
            probabilities = logits.softmax(dim=-1)
            # float32 sums of a vocabulary are exact enough: torch accumulates them in double
            below = probabilities.cumsum(dim=-1)
            token = torch.searchsorted(below, draws[:, t, None] * below[:, -1:], right=True)[:, 0]
            token = token.clamp(max=logits.shape[-1] - 1)
            if watcher is not None:
                watcher(probabilities, token, on)
            chosen = _chosen(logits, token)
            tokens[:, t] = torch.where(on, token, tokens[:, t])
            logprobs[:, t] = torch.where(on, chosen, 0.0)
            mask[:, t] = on
            on = on & ~torch.isin(token, ends)
            if not on.any():
                break
    return Rollouts(prompts, tokens, mask, logprobs)


def score(policy: Policy, drawn: Rollouts) -> Tensor:
    """Return the log-probabilities of given completions, with the gradient through the prompts.

    Returns
    -------
    Tensor, shape (prompts · n, T)
        As `Rollouts.logprobs`, under the policy as it is now.
    """
    with explained_memory():
        read = read_prompts(policy.model, [prompt[:-1] for prompt in drawn.prompts])
        last = torch.tensor([prompt[-1] for prompt in drawn.prompts], device=policy.device)
        first = last.repeat_interleave(drawn.n)[:, None]
        # places that nobody's completion reaches cost nothing
        T = int(drawn.mask.sum(dim=1).max())
        fed = torch.cat([first, drawn.tokens[:, : T - 1]], dim=1)
        logits = continue_prompts(policy.model, Continuations(read, drawn.n), fed)
        chosen = _chosen(_tempered(logits, policy), drawn.tokens[:, :T])
        kept = torch.where(drawn.mask[:, :T], chosen, 0.0)
        return torch.nn.functional.pad(kept, (0, drawn.tokens.shape[1] - T))


def _tempered(logits: Tensor, policy: Policy) -> Tensor:
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    return logits if policy.temperature == 1.0 else logits / policy.temperature


def _chosen(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return log-probabilities of tokens; no table of the whole vocabulary is kept twice."""
    return logits.gather(-1, tokens[..., None])[..., 0] - logits.logsumexp(dim=-1)


def encode(policy: Policy, prompts: Sequence[str], new_tokens: int) -> list[list[int]]:
    """Return prompts as tokens; ValueError for one that leaves no room for its answer."""
    encoded = [policy.tokens(prompt) for prompt in prompts]
    for prompt, tokens in zip(prompts, encoded, strict=True):
        if len(tokens) < 2:
            raise ValueError(f"prompt {prompt!r} has {len(tokens)} tokens; give at least 2")
        if len(tokens) + new_tokens > policy.longest:
            raise ValueError(
                f"prompt {prompt[:40]!r}… has {len(tokens)} tokens, and with {new_tokens} new ones "
                f"that is more than the model's {policy.longest}; shorten it, or give fewer "
                "new_tokens"
            )
    return encoded


@contextmanager
def explained_memory() -> Iterator[None]:
    """Turn an out-of-memory error into a ValueError that says which flag halves the need."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        short = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not short and "allocate memory" not in str(error):
            raise
        raise ValueError("out of memory; halve --rows (rollouts computed side by side)") from None
