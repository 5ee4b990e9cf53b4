"""What a policy is worth: rewards on held-out prompts, best-of-N curves, paired differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import special

from simulations.lm import rewards, rollouts
from simulations.lm.policies import Policy
from simulations.lm.prompts import Prompt

Array = NDArray[np.float64]


def evaluate(
    policy: Policy,
    prompts: Sequence[Prompt],
    draws: torch.Tensor,
    reward: tuple[str, rewards.Reward],
    *,
    rows: int,
    after: Callable[[int, int], None] = lambda rollouts, tokens: None,
) -> pd.DataFrame:
    """Draw rollouts on prompts and rate them.

    Parameters
    ----------
    policy : Policy
        As it is now.
    prompts : sequence of Prompt
        What it is asked.
    draws : Tensor, shape (prompts, n, T)
        Uniform numbers; equal ones for every arm.
    reward : (name, function)
        See `simulations.lm.rewards`.
    rows : int
        Rollouts computed side by side.
    after : callable
        Told after each prompt how many rollouts and tokens it had.

    Returns
    -------
    DataFrame
        One row per rollout: prompt, rollout, reward, tokens, logprob (summed over tokens),
        logprob_start (the same under the policy as loaded), completion.
    """
    encoded = rollouts.encode(policy, [prompt.text for prompt in prompts], draws.shape[2])
    tables = []
    for prompt, asked, numbers in zip(prompts, encoded, draws, strict=True):
        drawn = rollouts.sample(policy, [asked], numbers[None], rows=rows)
        completions = policy.texts(drawn.tokens, drawn.mask)
        rated = rewards.rate(reward[0], reward[1], [prompt.text] * len(completions), completions)
        with torch.no_grad(), policy.as_loaded() as start:
            before = [rollouts.score(start, piece) for piece, _ in drawn.pieces(rows)]
        table = pd.DataFrame({"prompt": prompt.id, "rollout": np.arange(len(rated))})
        table["reward"] = rated
        table["tokens"] = drawn.mask.sum(dim=1).cpu().numpy()
        table["logprob"] = drawn.logprobs.sum(dim=1).double().cpu().numpy()
        table["logprob_start"] = torch.cat(before).sum(dim=1).double().cpu().numpy()
        table["completion"] = completions
        tables.append(table)
        after(len(table), int(drawn.mask.sum()))
    return pd.concat(tables, ignore_index=True)


def best_of(rewards: Array, N: int) -> Array:
    """Return the unbiased estimate of V_N from n ≥ N rollouts: the mean maximum of N-subsets.

    Parameters
    ----------
    rewards : ndarray, shape (..., n)
        Rewards of independent rollouts.
    N : int
        Between 1 and n.

    Returns
    -------
    ndarray, shape (...)
        Σ_i C(i − 1, N − 1) / C(n, N) r_(i).

    Examples
    --------
    >>> best_of(np.array([1.0, 2.0, 4.0]), 2).round(6).item()
    3.333333
    """
    n = rewards.shape[-1]
    if not 1 <= N <= n:
        raise ValueError(f"N is {N} and there are {n} rollouts; give N from 1 to {n}")
    rank = np.arange(N, n + 1)
    # C(i − 1, N − 1) / C(n, N), in logarithms
    log_weight = (
        special.gammaln(rank)
        - special.gammaln(rank - N + 1)
        - special.gammaln(N)
        - (special.gammaln(n + 1) - special.gammaln(n - N + 1) - special.gammaln(N + 1))
    )
    return np.sort(rewards, axis=-1)[..., N - 1 :] @ np.exp(log_weight)


def budgets(n: int, most: int = 256) -> list[int]:
    """Return the N of a best-of-N curve that n rollouts allow: powers of 2."""
    return [N for N in (2**j for j in range(most.bit_length())) if N <= min(n, most)]


def by_prompt(table: pd.DataFrame) -> Array:
    """Return the rewards of an evaluation as an array, shape (prompts, n)."""
    order = table.drop_duplicates("prompt")["prompt"]
    wide = table.pivot(index="prompt", columns="rollout", values="reward")
    return wide.loc[order].to_numpy(dtype=np.float64)


def difference(
    ours: Array, theirs: Array, resamples: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return the mean difference of two arms with its 95 % bootstrap interval.

    Parameters
    ----------
    ours, theirs : ndarray, shape (seeds, prompts)
        One number for each training seed and prompt; an arm that has no seeds has one row.
    resamples : int
        Bootstrap samples. Prompts are resampled for both arms alike, seeds too where both have
        the same number: the comparison is paired.
    rng : Generator
        Source of the resamples.

    Returns
    -------
    (mean, low, high) : tuple of float
        With one seed, the interval speaks of that one training run.
    """
    prompts = rng.integers(0, ours.shape[1], (resamples, ours.shape[1]))
    picks = rng.integers(0, len(ours), (resamples, len(ours)))
    paired = len(ours) == len(theirs)
    others = picks if paired else rng.integers(0, len(theirs), (resamples, len(theirs)))
    found = _means(ours, picks, prompts) - _means(theirs, others, prompts)
    low, high = np.quantile(found, [0.025, 0.975])
    return float(ours.mean() - theirs.mean()), float(low), float(high)


def _means(values: Array, seeds: Array, prompts: Array) -> Array:
    """Return the mean of each resample."""
    return values[seeds[:, :, None], prompts[:, None, :]].mean(axis=(1, 2))
