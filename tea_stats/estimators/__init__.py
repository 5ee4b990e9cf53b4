"""The estimators: each maps the m rewards of a group to m advantages.

`ESTIMATORS` is the table, in `table.py`; the gradient estimate is always ĝ = (1/m) Σ A_i S_i.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from numpy.typing import ArrayLike

from tea_stats.estimators.record import Array, Estimator, Mark, Prepared
from tea_stats.estimators.table import ESTIMATORS, RECOMMENDED


def lookup(name: str, options: Mapping[str, Any] = MappingProxyType({})) -> Estimator:
    """Return an estimator with options, after checking that its name and every option exist."""
    if not isinstance(name, str) or name not in ESTIMATORS:
        raise ValueError(f"estimator {name!r} is unknown; give one of {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name].with_options(options)


def advantages(name: str, rewards: ArrayLike, N: int, **options: Any) -> Array:
    """Return the advantages of the named estimator.

    Parameters
    ----------
    name : str
        A key of `ESTIMATORS`.
    rewards : array_like, shape (..., m)
        Rewards of m rollouts per group, any real dtype.
    N : int
        Deployment budget of best-of-N; estimators that do not use it only check it.
    **options
        The estimator's own options; `ESTIMATORS[name].defaults` lists them.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages, float64, in the order of the input; ĝ = (1/m) Σ A_i S_i.

    Raises
    ------
    ValueError
        For an unknown name or a value out of range.
    TypeError
        For an unknown option or a value of the wrong type.

    Examples
    --------
    >>> advantages("tea", [0.0, 1.0, 2.0, 4.0], N=16, alpha=0.5)
    array([0., 0., 0., 4.])
    """
    return lookup(name, options).advantages(rewards, N)


__all__ = ["ESTIMATORS", "Estimator", "Mark", "Prepared", "RECOMMENDED", "advantages", "lookup"]
