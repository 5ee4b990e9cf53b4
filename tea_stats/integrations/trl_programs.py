"""Programs built on TRL that make the trainer themselves: Axolotl, Oumi.

Axolotl takes a class by its name: `trainer_cls: best_of_128.Trainer`, with a module `best_of_128`::

    from axolotl.core.trainers.grpo import AxolotlGRPOTrainer

    from tea_stats.integrations.trl_programs import trainer_class

    Trainer = trainer_class(N=128, base=AxolotlGRPOTrainer)

Oumi looks `trl.GRPOTrainer` up when it makes a trainer; in a script, before `oumi.train`::

    from tea_stats.integrations import trl_programs

    trl_programs.install(N=128)

Unsloth replaces `trl.GRPOTrainer` itself: import it before `tea_stats.integrations.trl`, whose
`BestOfNTrainer` then derives from Unsloth's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tea_stats.estimators import RECOMMENDED
from tea_stats.integrations.trl import BestOfNTrainer  # first: it names what is missing

import trl  # isort: skip
from trl import GRPOTrainer  # isort: skip


def trainer_class(
    N: int,
    *,
    estimator: str = RECOMMENDED,
    estimator_options: Mapping[str, Any] | None = None,
    unit_rms: bool = False,
    base: type[Any] = GRPOTrainer,
) -> type[Any]:
    """Return a `BestOfNTrainer` with fixed settings, for programs that make the trainer themselves.

    Parameters
    ----------
    N, estimator, estimator_options, unit_rms
        As in `BestOfNTrainer`.
    base : type
        The class derived from `GRPOTrainer` that the program would make, such as Axolotl's.

    Returns
    -------
    type
        Its objects are made with the arguments of `base`.
    """
    if not issubclass(base, GRPOTrainer):
        raise TypeError(f"base is {base!r}, not derived from trl.GRPOTrainer")
    settings = {
        "N": N,
        "estimator": estimator,
        "estimator_options": estimator_options,
        "unit_rms": unit_rms,
    }

    # what `base` adds comes after ours, and before TRL's
    bases = (BestOfNTrainer,) if base is GRPOTrainer else (BestOfNTrainer, base)

    class Settled(*bases):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**settings, **kwargs})

    Settled.__name__ = Settled.__qualname__ = f"BestOfN{base.__name__}"
    return Settled


def install(N: int, **settings: Any) -> None:
    """Put a `BestOfNTrainer` with these settings in place of `trl.GRPOTrainer`.

    For programs that look the trainer up there, such as Oumi: call it before they do.

    Parameters
    ----------
    N, **settings
        As in `trainer_class`.
    """
    made = trainer_class(N, **settings)
    for module in (trl, trl.trainer):
        module.GRPOTrainer = made
