r"""verl: the estimators as values of `algorithm.adv_estimator`.

Importing this module registers them, and verl imports it by itself, through the entry point
`verl.plugins`, wherever tea_stats is installed. No code is needed::

    python -m verl.trainer.main_ppo algorithm.adv_estimator=auto_tea \
        algorithm._target_=tea_stats.integrations.verl.Algorithm \
        +algorithm.tea_stats.N=128 actor_rollout_ref.rollout.n=16 ...

Below `algorithm.tea_stats`, N is the deployment budget of best-of-N, `unit_rms` gives the batch's
advantages a root mean square of 1, `memory` keeps a `tea_stats.Memory` of earlier steps for auto
TEA, and every other key is an option of the estimator, such as `+algorithm.tea_stats.alpha=0.5`.
`memory=true` has the default half-life, a number is another; it lives in the driver's process and
starts empty with it. `algorithm._target_` names the class that verl's `omega_conf_to_dataclass`
makes of the section; verl's own has no place for N. Names that verl uses for its own estimators
(grpo, rloo) stay verl's.

verl's driver computes the advantages, from whole groups: the rows of one `uid`. The reward of a
rollout is the sum of its token-level rewards, as for verl's own GRPO. An agent loop may turn one
rollout into several rows, a session: with verl's V1 trainer, the default, it counts once, with the
reward of its last row, and its rows share the advantage, as for GRPO. With the older trainer
(`trainer.use_v1=false`) each row counts as a rollout.

verl gives estimators no way to its metrics. What auto TEA takes a batch for
(`tea_stats.BatchReport`) is logged by the logger "tea_stats" of the driver, at level INFO::

    logging.getLogger("tea_stats").setLevel(logging.INFO)

Tested with verl 0.9.1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

try:
    from verl.trainer.config import AlgoConfig
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, register_adv_est
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"tea_stats.integrations.verl needs verl and what verl needs ({error}): pip install verl"
    ) from error

from tea_stats.estimators import ESTIMATORS
from tea_stats.estimators.memory import Memory, check_learns
from tea_stats.integrations.groups import outcome_advantages
from tea_stats.integrations.replacing import when_imported

#: where verl's V1 trainer finds what it calls for advantages; imported long after plugins are
V1_UTILS = "verl.trainer.ppo.v1.utils"

#: by estimator and what was asked for
MEMORIES: dict[tuple[str, str], Memory] = {}

#: `(token_level_rewards, response_mask, index, config) -> (advantages, returns)`
AdvantageFunction = Callable[..., tuple[Tensor, Tensor]]


@dataclass
class Algorithm(AlgoConfig):  # type: ignore[misc]  # verl carries no types
    """verl's section `algorithm`, with ours in it."""

    tea_stats: dict[str, Any] = field(default_factory=dict)


def advantage_function(name: str) -> AdvantageFunction:
    """Return an estimator in the form of verl's advantage functions.

    Parameters
    ----------
    name : str
        A key of `tea_stats.ESTIMATORS`.

    Returns
    -------
    callable
        `(token_level_rewards, response_mask, index, config)`, all but the first two by keyword, to
        a pair: the advantages, shape (B, T), twice, as verl's own outcome estimators return them.
    """

    def compute(
        token_level_rewards: Tensor,
        response_mask: Tensor,
        index: np.ndarray[Any, Any] | None = None,
        config: Any = None,
        **unused: Any,
    ) -> tuple[Tensor, Tensor]:
        N, unit_rms, options = settings(name, config)
        memory = memory_of(name, options.pop("memory", False))
        batch = token_level_rewards, response_mask, index
        a = outcome_advantages(name, *batch, N, options, unit_rms=unit_rms, memory=memory)
        return a, a

    compute.__name__ = f"compute_{name}_advantage"
    return compute


def settings(name: str, config: Any) -> tuple[int, bool, dict[str, Any]]:
    """Return N, unit_rms and the estimator's options from verl's configuration."""
    section: Mapping[str, Any] | None = None if config is None else config.get("tea_stats", None)
    if section is None or "N" not in section:
        raise ValueError(
            f"algorithm.tea_stats.N is missing, and {name} needs the budget of best-of-N; "
            "append for instance +algorithm.tea_stats.N=128 to the command line"
        )
    options = {key: plain(value) for key, value in section.items()}
    return options.pop("N"), options.pop("unit_rms", False), options


def memory_of(name: str, asked: Any) -> Memory | None:
    """Return the memory of this process for an estimator: none, the default, or of a half-life."""
    if asked is False or asked is None:
        return None
    check_learns(name)
    # True and 1 are the same key, and mean different things
    key = name, repr(asked)
    if key not in MEMORIES:
        MEMORIES[key] = Memory() if asked is True else Memory(asked)
    return MEMORIES[key]


def plain(value: Any) -> Any:
    """Return a list of a configuration as a tuple, anything else as it is."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return tuple(value) if is_list else value


def by_session(original: Callable[..., Any], names: Sequence[str]) -> Callable[..., Any]:
    """Return verl's `compute_advantage_for_multi_trajectories`, which knows its own GRPO only.

    Parameters
    ----------
    original : callable
        verl's function.
    names : sequence of str
        The estimators for which a session counts once. Its rows have the keys
        `{uid}_{session}_{number}`; the last one has its reward.
    """

    @functools.wraps(original)
    def compute(
        data: Any, batch_keys: Sequence[str], adv_estimator: Any, *args: Any, **settings: Any
    ) -> Any:
        if str(adv_estimator) not in names:
            return original(data, batch_keys, adv_estimator, *args, **settings)
        last: dict[str, tuple[int, int]] = {}
        sessions = []
        for row, key in enumerate(batch_keys):
            session, _, number = key.rpartition("_")
            sessions.append(session)
            last[session] = max(last.get(session, (-1, row)), (int(number), row))
        if len(last) == len(sessions):
            return original(data, batch_keys, adv_estimator, *args, **settings)
        rows = [row for _, row in last.values()]
        keys = [batch_keys[row] for row in rows]
        part = original(data.select_idxs(rows), keys, adv_estimator, *args, **settings)
        # a row's advantage is the same at all tokens of its response, and 0 elsewhere
        first = part.batch["response_mask"].long().argmax(dim=1, keepdim=True)
        place = {session: number for number, session in enumerate(last)}
        values = part.batch["advantages"].gather(1, first)[[place[name] for name in sessions]]
        data.batch["advantages"] = data.batch["returns"] = values * data.batch["response_mask"]
        return data

    return compute


def register() -> list[str]:
    """Register the estimators whose names are free; return these names."""
    free = [name for name in ESTIMATORS if name not in ADV_ESTIMATOR_REGISTRY]
    for name in free:
        register_adv_est(name)(advantage_function(name))
    when_imported(V1_UTILS, functools.partial(count_sessions, names=free))
    return free


def count_sessions(module: Any, names: Sequence[str]) -> None:
    """Let verl's V1 trainer count a session of several rows once for our estimators too."""
    function = "compute_advantage_for_multi_trajectories"
    if hasattr(module, function):
        setattr(module, function, by_session(getattr(module, function), names))


register()
