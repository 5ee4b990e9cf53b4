"""The value of a policy: rewards on held-out prompts, best-of-N curves, paired differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import special

from simulations.lm import engine
from simulations.lm.policies import Policy
from simulations.lm.prompts import Prompt
from simulations.lm.rewards import Reward
from simulations.lm.train import After

Array = NDArray[np.float64]


def rated(
    policy: Policy, prompts: Sequence[Prompt], draws: torch.Tensor, reward: Reward, rows: int
) -> tuple[engine.Rollouts, list[str], Array]:
    """Draw rollouts of each prompt; return them, their texts and their rewards, one for each."""
    _, n, new_tokens = draws.shape
    texts = [prompt.text for prompt in prompts]
    rollouts = engine.sample(
        policy, policy.encode(texts, new_tokens), draws, rows=rows, entering=True
    )
    completions = policy.decode(rollouts.tokens, rollouts.mask)
    return rollouts, completions, reward([text for text in texts for _ in range(n)], completions)


def evaluate(
    policy: Policy,
    prompts: Sequence[Prompt],
    draws: torch.Tensor,
    reward: Reward,
    *,
    rows: int,
    after: After = lambda rollouts, tokens: None,
) -> pd.DataFrame:
    """Draw rollouts on prompts and rate them, `rows` side by side; `after` is called by prompt.

    Returns
    -------
    DataFrame
        One row per rollout: prompt, rollout, reward, tokens, logprob (summed over tokens),
        logprob_start (the same under the policy as loaded), completion.
    """
    tables = []
    for prompt, numbers in zip(prompts, draws, strict=True):
        rollouts, completions, rewards = rated(policy, [prompt], numbers[None], reward, rows)
        with torch.no_grad(), policy.as_loaded() as start:
            before = [engine.score(start, piece) for piece, _ in rollouts.pieces(rows)]
        table = pd.DataFrame({"prompt": prompt.id, "rollout": np.arange(len(rewards))})
        table["reward"] = rewards
        table["tokens"] = rollouts.mask.sum(dim=1).cpu().numpy()
        table["logprob"] = rollouts.logprobs.sum(dim=1).double().cpu().numpy()
        table["logprob_start"] = torch.cat(before).sum(dim=1).double().cpu().numpy()
        table["completion"] = completions
        tables.append(table)
        after(len(table), int(rollouts.mask.sum()))
    return pd.concat(tables, ignore_index=True)


def best_of(rewards: Array, N: int) -> Array:
    """Return the unbiased estimate of V_N from n rollouts, the last axis.

    The mean maximum of all their subsets of N, Σ_i C(i − 1, N − 1) / C(n, N) r_(i).

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
        One number for each training seed and prompt; an arm without seeds has one row.
    resamples : int
        Bootstrap samples. The comparison is paired: both arms have the same prompts resampled, and
        the same seeds where they have as many.
    rng : Generator
        Source of the resamples.

    Returns
    -------
    (mean, low, high) : tuple of float
        With one seed, the interval is that of this one training run.
    """
    prompts = rng.integers(0, ours.shape[1], (resamples, ours.shape[1]))
    picks = rng.integers(0, len(ours), (resamples, len(ours)))
    paired = len(ours) == len(theirs)
    others = picks if paired else rng.integers(0, len(theirs), (resamples, len(theirs)))
    gaps = _means(ours, picks, prompts) - _means(theirs, others, prompts)
    low, high = np.quantile(gaps, [0.025, 0.975])
    return float(ours.mean() - theirs.mean()), float(low), float(high)


def _means(values: Array, seeds: Array, prompts: Array) -> Array:
    """Return the mean of each resample."""
    return values[seeds[:, :, None], prompts[:, None, :]].mean(axis=(1, 2))
