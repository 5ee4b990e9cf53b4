"""Estimators measured on batches of prompts of many laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tea_stats._validation import as_count, as_counts, as_seed
from tea_stats.families import Law
from tea_stats.monte_carlo import batch_summary
from tea_stats.monte_carlo.batches import CHUNKS, Array, Batch, simulate_chunk, truth
from tea_stats.monte_carlo.gain import NOISE
from tea_stats.monte_carlo.passes import Requests, requests

if TYPE_CHECKING:
    import pandas as pd

#: means by chunk of each (estimator, N), one array [chunk, entry] for each kind
Records = Mapping[tuple[str, int], Sequence[Array]]


def batch_records(
    batch: Batch, estimators: Requests, m: int, N: Sequence[int], batches: int, seed: int
) -> Records:
    """Simulate batches and return the records that `summarize_batch` reads.

    Parameters
    ----------
    batch, estimators, m, N, batches, seed
        As in `measure_batch`, with one m and a sequence of N.

    Returns
    -------
    mapping
        For each (estimator, N) an array [chunk, entry] of every kind.
    """
    per_chunk = -(-batches // CHUNKS)
    chunks = [
        simulate_chunk(batch, estimators, m, N, per_chunk, seed, chunk) for chunk in range(CHUNKS)
    ]
    return {
        key: [np.stack(rows) for rows in zip(*(chunk[key] for chunk in chunks), strict=True)]
        for key in chunks[0]
    }


def summarize_batch(
    batch: Batch,
    names: Sequence[str],
    records: Records,
    m: int,
    *,
    noise: Sequence[float] = NOISE,
    references: Sequence[str] = (),
) -> pd.DataFrame:
    """Turn records into the table of `measure_batch`.

    Parameters
    ----------
    batch, m, noise, references
        As in `measure_batch`.
    names : sequence of str
        What the kinds are called.
    records : mapping
        As `batch_records` returns.

    Returns
    -------
    pandas.DataFrame
        The rows of `measure_batch`.
    """
    import pandas as pd

    budgets = dict.fromkeys(N for _, N in records)
    truths = {N: [truth(law, N) for law, _ in batch.kinds] for N in budgets}
    table = pd.DataFrame(batch_summary.rows(batch, names, records, truths, m, noise, references))
    table.insert(1, "m", m)
    table.insert(1, "prompts", batch.prompts)
    return table


def measure_batch(
    batch: Batch | Law,
    estimators: Requests,
    m: int,
    N: int | Sequence[int],
    batches: int = 200,
    seed: int = 0,
    *,
    prompts: int = 64,
    noise: Sequence[float] = NOISE,
    references: Sequence[str] = (),
) -> pd.DataFrame:
    """Measure estimators on batches whose prompts have laws of their own, against exact gradients.

    Parameters
    ----------
    batch : Batch or Law
        The prompts of a batch; a law stands for `prompts` prompts of it.
    estimators : mapping or sequence
        `{label: (name, options)}`, or names from `tea_stats.ESTIMATORS`. Those that are not defined
        for the rewards are left out.
    m : int
        Rollouts per group.
    N : int or sequence of int
        Deployment budgets.
    batches : int
        Batches, rounded up to a multiple of 20.
    seed : int
        Master seed; streams depend on (seed, laws, m) and on nothing else.
    prompts : int
        Prompts of a batch of one law.
    noise : sequence of float
        E‖S‖² of the one-step gains, in the Fisher metric: numbers of parameters.
    references : sequence of str
        Labels of estimators; columns `…_ratio` are over the better of them, on the same batches.

    Returns
    -------
    pandas.DataFrame
        A row for each (estimator, N) and kind ("0", "1", …), for all prompts, each in units of its
        own ("all"), and for all prompts in reward units ("all, one unit"). Columns estimator,
        prompts, m, N, kind; error, its parts bias2 and variance (of one prompt), signal, cosine,
        efficiency, response_efficiency, advantage_square, ``gain_…`` for each noise, plain_error
        and the share of groups with zero advantages (of kinds), each with its `_mcse`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value; the message names it.

    Notes
    -----
    Every prompt has parameters of its own, and a batch's gradient is the list of its prompts'. All
    figures are in the metric of the Fisher information, with s = E ĝ, t = ∇V_N of one prompt:

    * error = (‖s − t‖² + E‖ĝ − s‖²/64)/u², summed over prompts above and below. The variance is
      that of 64 prompts of the kind, whatever the batch: what is common to the prompts of a batch
      does not average out within it. u is the longer of ∇V_N and ∇V_1, and signal = ‖t‖/u: below 1,
      the best of N has less to learn than the mean has;
    * the one-step gain of `one_step_gain`, with averages over prompts in the place of products;
    * efficiency = ⟨t, s⟩²/(‖t‖² E[A²]), what the gain is proportional to under much noise;
    * response_efficiency = E[A ψ_N(R)]²/(E[ψ_N(R)²] E[A²]), the same if every function of the
      reward were a direction of the score.

    A prompt's own unit is its u, so that a prompt in a larger unit of reward does not count more.
    The plain_error is that of `measure`, in the law's own parameters and over ‖t‖². Standard errors
    are the jackknife's over 20 chunks of batches.

    Examples
    --------
    >>> from tea_stats import Normal, monte_carlo
    >>> batch = monte_carlo.Batch(((Normal(), 7), (Normal(0.0, 1000.0), 1)))
    >>> table = monte_carlo.measure_batch(batch, ["tea", "max_at_k"], m=16, N=128)
    >>> table[table.kind == "all"].set_index("estimator").error.round(1).to_dict()
    {'tea': 0.2, 'max_at_k': 0.1}
    """
    if isinstance(batch, Law):
        batch = Batch(((batch, as_count("prompts", prompts)),))
    if not isinstance(batch, Batch):
        raise TypeError(f"batch is {batch!r}; give a Batch of laws, or a law")
    m, budgets = as_count("m", m, at_least=2), as_counts("N", N)
    batches, seed = as_count("batches", batches, at_least=2), as_seed("seed", seed)
    estimators = requests(estimators)
    unknown = [label for label in references if label not in estimators]
    if unknown:
        raise ValueError(
            f"references has {unknown[0]!r}; give labels out of {', '.join(estimators)}"
        )
    records = batch_records(batch, estimators, m, budgets, batches, seed)
    names = [str(k) for k in range(len(batch.kinds))]
    return summarize_batch(batch, names, records, m, noise=noise, references=references)
