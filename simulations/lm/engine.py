"""The engine: a batched decoder whose rollouts share the prompt they answer.

Training toward the best of N draws many rollouts of each prompt, which `attention` computes once. A
prompt is read up to its last token but one. That last token is the first one fed to each rollout,
so that a single call of the model gives the logits of every token of a completion.

Where adapters sit on the last layers alone, what enters the first of these is a constant of
training: sampling computes it and `score` begins there, for the policy as for its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from simulations.lm.attention import (
    Continuations,
    continue_prompts,
    continue_states,
    read_prompts,
    read_states,
)
from simulations.lm.policies import Policy

#: called at each token with the probabilities (rows, vocabulary), the tokens drawn, and the rows
#: that have not ended
Watcher = Callable[[Tensor, Tensor, Tensor], None]


# --- rollouts -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entering:
    """States that enter the first trained layer.

    Attributes
    ----------
    prompts : list of Tensor, shape (tokens - 1, hidden)
        Of each prompt's tokens but the last.
    rollouts : Tensor, shape (prompts · n, T, hidden)
        Of the token that is fed to draw each token.
    """

    prompts: list[Tensor]
    rollouts: Tensor


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
    entering : Entering or None
        What `score` can begin with.
    """

    prompts: list[list[int]]
    tokens: Tensor
    mask: Tensor
    logprobs: Tensor
    entering: Entering | None = None

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
                entering = self.entering and Entering(
                    self.entering.prompts[first : first + together], self.entering.rollouts[place]
                )
                yield Rollouts(chosen, *parts, entering), place


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
    entering: bool = False,
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
    entering : bool
        Keep what enters the first trained layer, where the layers below are constant.
    """
    P, n, T = draws.shape
    rows = rows or P * n
    together = max(1, rows // n)
    parts: list[list[Tensor]] = []
    read: list[Tensor] = []
    watch = policy.watched if entering and policy.first > 0 else nullcontext
    with policy.merged():
        for first in range(0, P, together):
            chosen = prompts[first : first + together]
            pieces = []
            for piece in draws[first : first + together].split(rows, dim=1):
                with watch() as states:
                    tensors = _decode(policy, chosen, piece, watcher)
                if states:
                    # a call that reads the prompts, then one for each token
                    tensors.append(_padded(torch.cat(states[1:], dim=1), T))
                pieces.append(tensors)
            if states:
                read += [x[: len(prompt) - 1] for x, prompt in zip(states[0], chosen, strict=True)]
            # pieces have different rollouts of the same prompts
            split = [[x.view(len(chosen), -1, *x.shape[1:]) for x in piece] for piece in pieces]
            parts.append([torch.cat(x, dim=1).flatten(0, 1) for x in zip(*split, strict=True)])
    tokens, mask, logprobs, *kept = (torch.cat(x) for x in zip(*parts, strict=True))
    return Rollouts(prompts, tokens, mask, logprobs, Entering(read, *kept) if kept else None)


def _decode(
    policy: Policy, prompts: list[list[int]], draws: Tensor, watcher: Watcher | None
) -> list[Tensor]:
    """Return tokens, mask and log-probabilities of rollouts that are computed side by side."""
    P, n, T = draws.shape
    with memory_errors_explained():
        draws = draws.to(policy.device).view(P * n, T)
        ends = torch.tensor(policy.ends, device=policy.device)
        tokens = torch.full((P * n, T), policy.pad, device=policy.device)
        mask = torch.zeros(P * n, T, dtype=torch.bool, device=policy.device)
        logprobs = torch.zeros(P * n, T, device=policy.device)
        on = torch.ones(P * n, dtype=torch.bool, device=policy.device)
        state = Continuations(read_prompts(policy.model, [x[:-1] for x in prompts]), n, room=T)
        token = _last(policy, prompts, n)
        for t in range(T):
            logits = _tempered(continue_prompts(policy.model, state, token[:, None])[:, 0], policy)
            highest = logits.amax(dim=-1, keepdim=True)
            # float32 sums of a vocabulary are exact enough: torch accumulates them in double
            weights = (logits - highest).exp_()
            below = weights.cumsum(dim=-1)
            total = below[:, -1:]
            token = torch.searchsorted(below, draws[:, t, None] * total, right=True)
            token = token.clamp_(max=logits.shape[-1] - 1)
            chosen = (logits.gather(-1, token) - highest - total.log())[:, 0]
            token = token[:, 0]
            if watcher is not None:
                watcher(weights / total, token, on)
            tokens[:, t] = torch.where(on, token, tokens[:, t])
            logprobs[:, t] = torch.where(on, chosen, 0.0)
            mask[:, t] = on
            on = on & ~torch.isin(token, ends)
            if not on.any():
                break
    return [tokens, mask, logprobs]


def score(policy: Policy, rollouts: Rollouts) -> Tensor:
    """Return the log-probabilities of given completions, with the gradient through the prompts.

    Returns
    -------
    Tensor, shape (prompts · n, T)
        As `Rollouts.logprobs`, under the policy as it is now.
    """
    with memory_errors_explained():
        # places that no completion reaches cost nothing
        T = int(rollouts.mask.sum(dim=1).max())
        tokens, mask = rollouts.tokens[:, :T], rollouts.mask[:, :T]
        if rollouts.entering is not None and policy.first > 0:
            # the head is applied to the places of tokens alone
            logits = policy.model.get_output_embeddings()(_upper(policy, rollouts, T)[mask])
            values = _logprobs(_tempered(logits, policy), tokens[mask])
            logprobs = torch.zeros(mask.shape, dtype=values.dtype, device=values.device)
            logprobs = logprobs.masked_scatter(mask, values)
        else:
            logits = _tempered(_whole(policy, rollouts, T), policy)
            logprobs = torch.where(mask, _logprobs(logits, tokens), 0.0)
        return _padded(logprobs, rollouts.tokens.shape[1])


def _whole(policy: Policy, rollouts: Rollouts, T: int) -> Tensor:
    """Return the logits of the first T tokens, by the whole model."""
    n = len(rollouts.tokens) // len(rollouts.prompts)
    cache = read_prompts(policy.model, [prompt[:-1] for prompt in rollouts.prompts])
    last = _last(policy, rollouts.prompts, n)
    fed = torch.cat([last[:, None], rollouts.tokens[:, : T - 1]], dim=1)
    return continue_prompts(policy.model, Continuations(cache, n), fed)


def _upper(policy: Policy, rollouts: Rollouts, T: int) -> Tensor:
    """Return what the head reads to draw the first T tokens, by the trained layers alone."""
    assert rollouts.entering is not None
    n = len(rollouts.tokens) // len(rollouts.prompts)
    with policy.upper() as layers:
        cache = read_states(layers, rollouts.entering.prompts)
        return continue_states(layers, Continuations(cache, n), rollouts.entering.rollouts[:, :T])


def first_trained(policy: Policy, first: int) -> int:
    """Return `first`, the first layer with adapters, if `score` may begin there; else 0.

    Twelve tokens are scored both ways: a model that does more with its input than to hand it to the
    first layer, or more with the head's output than to return it, is computed as a whole.
    """
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


def _last(policy: Policy, prompts: list[list[int]], n: int) -> Tensor:
    """Return each prompt's last token, the first to be fed to its n rollouts."""
    last = torch.tensor([prompt[-1] for prompt in prompts], device=policy.device)
    return last.repeat_interleave(n)


def _padded(values: Tensor, T: int) -> Tensor:
    """Return values with zeros up to T places along the second axis."""
    return functional.pad(values, (*(0, 0) * (values.dim() - 2), 0, T - values.shape[1]))


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
