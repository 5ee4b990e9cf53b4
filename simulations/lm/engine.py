"""The engine: a batched decoder whose rollouts share the prompt they answer.

Training toward the best of N draws many rollouts of each prompt, which `attention` computes once. A
prompt is read up to its last token but one. That last token is the first one fed to each rollout,
so that a single call of the model gives the logits of every token of a completion.

Where adapters sit on the last layers alone, what enters the first of these is a constant of
training: sampling computes it and `score` begins there, for the policy as for its start. While the
policy is the one that drew, `score_drawn` ends before the head: sampling has computed that too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from simulations.lm import head as heads
from simulations.lm.attention import (
    Continuations,
    continue_prompts,
    continue_states,
    read_prompts,
    read_states,
)
from simulations.lm.head import Head
from simulations.lm.policies import Policy, decoder

#: called at each token with the probabilities (rows, vocabulary), the tokens drawn, and the rows
#: that have not ended
Watcher = Callable[[Tensor, Tensor, Tensor], None]


# --- rollouts -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entering:
    """What sampling leaves to the update, which then computes the trained layers alone.

    Attributes
    ----------
    prompts : list of Tensor, shape (tokens - 1, hidden)
        States that enter the first trained layer, of each prompt's tokens but the last.
    slopes : Tensor, shape (prompts · n, T, hidden)
        Gradient of each token's log-probability in the state that the head read.
    rollouts : Tensor, shape (prompts · n, T, hidden)
        States that enter the first trained layer, of the token that is fed to draw each token.
    """

    prompts: list[Tensor]
    slopes: Tensor
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
                    self.entering.prompts[first : first + together],
                    self.entering.slopes[place],
                    self.entering.rollouts[place],
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
    keep = entering and policy.first > 0
    watch = policy.watched if keep else nullcontext
    parts: list[list[Tensor]] = []
    read: list[Tensor] = []
    with policy.merged():
        for first in range(0, P, together):
            chosen = prompts[first : first + together]
            pieces = []
            for piece in draws[first : first + together].split(rows, dim=1):
                with watch() as states:
                    tensors = _decode(policy, chosen, piece, watcher, slopes=keep)
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
    policy: Policy,
    prompts: list[list[int]],
    draws: Tensor,
    watcher: Watcher | None,
    slopes: bool,
) -> list[Tensor]:
    """Return tokens, mask and log-probabilities of rollouts that are computed side by side.

    With `slopes`, also what `Entering.slopes` is.
    """
    P, n, T = draws.shape
    with memory_errors_explained():
        draws = draws.to(policy.device).view(P * n, T)
        ends = torch.tensor(policy.ends, device=policy.device)
        tokens = torch.full((P * n, T), policy.pad, device=policy.device)
        mask = torch.zeros(P * n, T, dtype=torch.bool, device=policy.device)
        logprobs = torch.zeros(P * n, T, device=policy.device)
        rising: list[Tensor] = []
        on = torch.ones(P * n, dtype=torch.bool, device=policy.device)
        head = head_of(policy)
        # who watches may have hooks on the head
        inner = decoder(policy) if head_is_plain(policy) and watcher is None else None
        cache = read_prompts(inner or policy.model, [x[:-1] for x in prompts])
        state = Continuations(cache, n, room=T)
        token = _last(policy, prompts, n)
        for t in range(T):
            if inner is not None:
                logits = head.logits(continue_states(inner, state, token[:, None])[:, 0])
            else:
                logits = head.tempered(continue_prompts(policy.model, state, token[:, None])[:, 0])
            p = head.probabilities(logits)
            token = heads.draw(p, draws[:, t])
            if watcher is not None:
                watcher(p, token, on)
            if slopes:
                rising.append(head.slopes(p, token))
            tokens[:, t] = torch.where(on, token, tokens[:, t])
            logprobs[:, t] = torch.where(on, heads.logprobs_of(logits, p, token), 0.0)
            mask[:, t] = on
            on = on & ~torch.isin(token, ends)
            if not on.any():
                break
    found = [tokens, mask, logprobs]
    return [*found, _padded(torch.stack(rising, dim=1), T)] if slopes else found


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
        head = head_of(policy)
        if head_is_plain(policy) and not head.trained:
            # applied to the places of tokens alone
            values = heads.logprobs(_states(policy, rollouts, T)[mask], tokens[mask], head)
            logprobs = _placed(values, mask)
        else:
            logits = head.tempered(_logits(policy, rollouts, T))
            logprobs = torch.where(mask, _logprobs(logits, tokens), 0.0)
        return _padded(logprobs, rollouts.tokens.shape[1])


def score_drawn(policy: Policy, rollouts: Rollouts) -> Tensor:
    """As `score`, under a policy that has not changed since it drew the rollouts.

    Their log-probabilities are known, and so is how they depend on what the head reads: only the
    trained layers are computed. The same up to rounding, which sampling with merged adapters has.
    """
    if rollouts.entering is None or policy.first == 0:
        return score(policy, rollouts)
    with memory_errors_explained():
        T = int(rollouts.mask.sum(dim=1).max())
        mask = rollouts.mask[:, :T]
        values, slopes = rollouts.logprobs[:, :T][mask], rollouts.entering.slopes[:, :T][mask]
        logprobs = _placed(heads.known(_states(policy, rollouts, T)[mask], values, slopes), mask)
        return _padded(logprobs, rollouts.tokens.shape[1])


def head_of(policy: Policy) -> Head:
    """Return the policy's head, with temporary memory of its own."""
    return Head(policy.model.get_output_embeddings().weight, policy.temperature)


def head_is_plain(policy: Policy) -> bool:
    """Return whether the head is the linear map that it was when the model was loaded."""
    return policy.plain_head and type(policy.model.get_output_embeddings()) is torch.nn.Linear


def _placed(values: Tensor, mask: Tensor) -> Tensor:
    """Return values where the mask is true, else 0."""
    return values.new_zeros(mask.shape).masked_scatter(mask, values)


def _logits(policy: Policy, rollouts: Rollouts, T: int) -> Tensor:
    """Return the logits of the first T tokens, by the whole model."""
    n = len(rollouts.tokens) // len(rollouts.prompts)
    cache = read_prompts(policy.model, [prompt[:-1] for prompt in rollouts.prompts])
    return continue_prompts(policy.model, Continuations(cache, n), _fed(policy, rollouts, T))


def _states(policy: Policy, rollouts: Rollouts, T: int) -> Tensor:
    """Return what the head reads to draw the first T tokens, by the trained layers if that does."""
    n = len(rollouts.tokens) // len(rollouts.prompts)
    if rollouts.entering is None or policy.first == 0:
        inner = decoder(policy)
        cache = read_prompts(inner, [prompt[:-1] for prompt in rollouts.prompts])
        return continue_states(inner, Continuations(cache, n), _fed(policy, rollouts, T))
    with policy.upper() as layers:
        cache = read_states(layers, rollouts.entering.prompts)
        return continue_states(layers, Continuations(cache, n), rollouts.entering.rollouts[:, :T])


def _fed(policy: Policy, rollouts: Rollouts, T: int) -> Tensor:
    """Return the tokens that are fed to draw the first T tokens, shape (rollouts, T)."""
    last = _last(policy, rollouts.prompts, len(rollouts.tokens) // len(rollouts.prompts))
    return torch.cat([last[:, None], rollouts.tokens[:, : T - 1]], dim=1)


def _last(policy: Policy, prompts: list[list[int]], n: int) -> Tensor:
    """Return each prompt's last token, the first to be fed to its n rollouts."""
    last = torch.tensor([prompt[-1] for prompt in prompts], device=policy.device)
    return last.repeat_interleave(n)


def _padded(values: Tensor, T: int) -> Tensor:
    """Return values with zeros up to T places along the second axis."""
    return functional.pad(values, (*(0, 0) * (values.dim() - 2), 0, T - values.shape[1]))


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
