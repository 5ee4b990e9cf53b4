"""From records of batches to error, one-step gain and efficiency, with their standard errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tea_stats.monte_carlo.batches import Batch, Truth
from tea_stats.monte_carlo.gain import one_step_gain

Array = NDArray[np.float64]

#: errors are those of as many prompts, however many a batch has: gradients are averaged over steps
PROMPTS = 64
#: name of the row of a whole batch
ALL = "all"


class Parts(NamedTuple):
    """What the figures are made of, for one kind or summed over kinds.

    Arrays have one entry for all chunks together, then one for all but each of them.

    Attributes
    ----------
    truth, unit : float
        ‖t‖², and the square of the unit that errors are measured in.
    along, mean, bias, variance : ndarray
        ⟨t, s⟩, ‖s‖², ‖s − t‖², and E‖ĝ − s‖² of one prompt.
    along_noise : float
        Variance of ⟨t, s⟩ as estimated.
    square, response : ndarray
        E[A²], E[A ψ].
    psi : float
        E[ψ²].
    """

    truth: float
    unit: float
    along: Array
    along_noise: float
    mean: Array
    bias: Array
    variance: Array
    square: Array
    response: Array
    psi: float

    def times(self, weight: float) -> Parts:
        """Return the parts of a kind that has this weight in a sum."""
        return Parts(
            truth=weight * self.truth,
            unit=weight * self.unit,
            along=weight * self.along,
            along_noise=weight**2 * self.along_noise,
            mean=weight * self.mean,
            bias=weight * self.bias,
            variance=weight * self.variance,
            square=weight * self.square,
            response=weight * self.response,
            psi=weight * self.psi,
        )


def parts(record: Array, exact: Truth, prompts: int, *, plain: bool = False) -> Parts:
    """Return the parts of one kind from its record[chunk, :], in the Fisher or the plain metric.

    The square of a mean is too large by the mean's variance, which is taken off.
    """
    d, chunks = len(exact.own), len(record)
    whole = record.mean(axis=0)
    rows = np.vstack([whole, (chunks * whole - record) / (chunks - 1)])
    frame, t = (np.eye(d), exact.own) if plain else (exact.frame, exact.gradient)
    s, own = rows[:, :d] @ frame, record[:, :d] @ frame
    noise = np.atleast_2d(np.cov(own.T)) / chunks
    fisher, plain_square, square, response, _ = rows[:, d:].T
    mean = (s**2).sum(axis=1) - np.trace(noise)
    bias = ((s - t) ** 2).sum(axis=1) - np.trace(noise)
    variance = prompts * np.maximum((plain_square if plain else fisher) - mean, 0.0)
    psi = exact.psi
    unit = float(t @ t) if plain else exact.unit**2
    return Parts(
        float(t @ t),
        unit,
        s @ t,
        float(t @ noise @ t),
        mean,
        bias,
        variance,
        square,
        psi * response,
        psi**2,
    )


def total(kinds: Sequence[Parts], weights: Sequence[float]) -> Parts:
    """Return the sum of the kinds' parts."""
    weighted = [own.times(w) for own, w in zip(kinds, weights, strict=True)]
    return Parts(*(sum(column) for column in zip(*weighted, strict=True)))


def figures(own: Parts, rollouts: int, noise: Sequence[float]) -> dict[str, Array]:
    """Return error, gains and efficiencies: for all chunks, then for all but each."""
    truth = own.truth if own.truth > 0.0 else np.nan
    unit = own.unit if own.unit > 0.0 else np.nan
    along = np.sign(own.along) * np.sqrt(np.maximum(own.along**2 - own.along_noise, 0.0))
    gains = one_step_gain(along, truth, np.maximum(own.mean, 0.0), own.square, rollouts, noise)
    forward = np.maximum(along, 0.0) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        result = {
            "error": (own.bias + own.variance / PROMPTS) / unit,
            "bias2": own.bias / unit,
            "variance": own.variance / unit,
            "signal": np.full(len(along), np.sqrt(truth / unit)),
            "cosine": along / np.sqrt(truth * np.maximum(own.mean, 0.0)),
            "efficiency": forward / (truth * own.square),
            "response_efficiency": np.maximum(own.response, 0.0) ** 2 / (own.psi * own.square),
            "advantage_square": own.square,
        }
    return result | {f"gain_{level:g}": gains[:, j] for j, level in enumerate(noise)}


def jackknife(values: Array) -> tuple[float, float]:
    """Return a figure and its standard error, from values for all chunks and for all but each."""
    rest = values[1:]
    if not np.isfinite(rest).all():
        return float(values[0]), float("nan")
    spread = ((rest - rest.mean()) ** 2).sum() * (len(rest) - 1) / len(rest)
    return float(values[0]), float(np.sqrt(spread))


def rows(
    batch: Batch,
    names: Sequence[str],
    records: Mapping[tuple[str, int], Sequence[Array]],
    truths: Mapping[int, Sequence[Truth]],
    m: int,
    noise: Sequence[float],
    references: Sequence[str],
) -> list[dict[str, object]]:
    """Return a row for each (estimator, N) and kind, then one for all kinds."""
    found: dict[tuple[str, int, str], dict[str, Array]] = {}
    rollouts = batch.prompts * m
    counts = [n for _, n in batch.kinds]
    for (label, N), record in records.items():
        kinds = [parts(x, exact, n) for x, exact, n in zip(record, truths[N], counts, strict=True)]
        plain = [
            parts(x, exact, n, plain=True)
            for x, exact, n in zip(record, truths[N], counts, strict=True)
        ]
        for name, own, other, x in zip(names, kinds, plain, record, strict=True):
            values = figures(own, rollouts, noise)
            values["plain_error"] = figures(other, rollouts, noise)["error"]
            values["zero"] = np.repeat(x[:, -1].mean(), len(values["error"]))
            found[label, N, name] = values
        units = [exact.unit for exact in truths[N]]
        for name, weights in (
            (ALL, [n / u**2 if u > 0.0 else 0.0 for n, u in zip(counts, units, strict=True)]),
            (f"{ALL}, one unit", counts),
        ):
            share = [w / batch.prompts for w in weights]
            found[label, N, name] = figures(total(kinds, share), rollouts, noise)
    _compare(found, references, noise)
    return [
        {"estimator": label, "N": N, "kind": name, **_with_errors(values)}
        for (label, N, name), values in found.items()
    ]


def _with_errors(values: Mapping[str, Array]) -> dict[str, float]:
    row: dict[str, float] = {}
    for name, numbers in values.items():
        row[name], row[f"{name}_mcse"] = jackknife(numbers)
    return row


def _compare(
    found: Mapping[tuple[str, int, str], dict[str, Array]],
    references: Sequence[str],
    noise: Sequence[float],
) -> None:
    """Add error and gains over those of the better of some estimators, on the same batches."""
    best = {"error": np.argmin, **{f"gain_{level:g}": np.argmax for level in noise}}
    for (_, N, name), values in found.items():
        others = [found[x, N, name] for x in references if (x, N, name) in found]
        for figure, choose in best.items():
            if others:
                better = others[int(choose([x[figure][0] for x in others]))]
                with np.errstate(divide="ignore", invalid="ignore"):
                    values[f"{figure}_ratio"] = values[figure] / better[figure]
