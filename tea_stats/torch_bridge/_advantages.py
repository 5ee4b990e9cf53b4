"""From rewards to advantages on torch tensors: checks, sorting, and the twin of the kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tea_stats._validation import as_rewards
from tea_stats.estimators import lookup
from tea_stats.estimators.record import check_binary, check_few_values
from tea_stats.torch_bridge._constants import plan
from tea_stats.torch_bridge._twins import TWINS

#: devices that compute in float64
DOUBLE_PRECISION = ("cpu", "cuda", "meta")


def advantages(
    name: str,
    rewards: Tensor,
    N: int,
    *,
    mask: Tensor | None = None,
    validate: bool = True,
    **options: Any,
) -> Tensor:
    """Return the advantages of the named estimator, on the device of the rewards.

    Parameters
    ----------
    name : str
        A key of `tea_stats.ESTIMATORS`.
    rewards : Tensor, shape (..., m)
        Rewards of m rollouts per group, in reward units; any float dtype (bfloat16 and float16
        included), integer or boolean.
    N : int
        Deployment budget of best-of-N.
    mask : Tensor of bool, shape (..., m), optional
        True for the rollouts that exist, where some failed. A group with n < m of them is evaluated
        as a group of n, with the constants of that size; the others get advantage 0, whatever their
        rewards (NaN included). Prefixes follow the order of the rollouts that exist.
    validate : bool
        Whether to look for NaN and infinite rewards, and for other or more values than the
        estimator is for. On a GPU the answer is the one value for which the host waits.
        False saves that: an invalid reward then makes all advantages of its group NaN, and more
        distinct rewards than an estimator is for, those of the whole batch.
    **options
        The estimator's own options; `ESTIMATORS[name].defaults` lists them.

    Returns
    -------
    Tensor, shape (..., m)
        Advantages in the order of the input, without gradient. Computed in float64 on CPU and CUDA
        and in float32 on devices that lack it; returned as float64 on CPU. On other devices float64
        rewards give float64, all others float32.

    Raises
    ------
    TypeError
        If rewards or mask are no tensors of a suitable dtype, or an option has the wrong type or is
        unknown.
    ValueError
        For an unknown name, a value out of range, NaN or infinite rewards, or a mask that leaves a
        group with too few rollouts.
    NotImplementedError
        If the estimator's kernel has no twin in torch yet.

    Notes
    -----
    Equal to `tea_stats.advantages` up to rounding: both take their constants from the estimator's
    `prepare`. Nothing but `validate` and `mask` makes the host wait for a GPU.

    Under `torch.compile` all of it is one graph, for options that are numbers, strings, None or
    tuples of these. The check of the rewards then is an assertion inside the graph. The sizes of
    uneven groups are data, so that with a mask the graph breaks.

    Examples
    --------
    >>> rewards = torch.tensor([[0.0, 1.0, 2.0, 4.0], [1.0, torch.nan, 6.0, 2.0]])
    >>> advantages("tea", rewards[:1], N=16, alpha=0.5)
    tensor([[0., 0., 0., 4.]], dtype=torch.float64)
    >>> advantages("rloo", rewards, N=16, mask=torch.isfinite(rewards))
    tensor([[-2.3333, -1.0000,  0.3333,  3.0000],
            [-3.0000,  0.0000,  4.5000, -1.5000]], dtype=torch.float64)
    """
    check_tensor(rewards)
    rewards = rewards.detach()
    _, result = precision(rewards)
    if mask is None:
        return even(name, rewards, N, options, validate).to(result)
    check_mask(mask, rewards)
    return uneven(name, rewards, mask, N, options, validate).to(result)


def precision(rewards: Tensor) -> tuple[torch.dtype, torch.dtype]:
    """Return the dtypes that advantages of these rewards are computed and returned in."""
    device = rewards.device.type
    computed = torch.float64 if device in DOUBLE_PRECISION else torch.float32
    kept = device in ("cpu", "meta") or rewards.dtype == torch.float64
    return computed, computed if kept else torch.float32


def even(name: str, rewards: Tensor, N: int, options: dict[str, Any], validate: bool) -> Tensor:
    """Advantages of groups of one size, in the dtype they are computed in."""
    dtype, _ = precision(rewards)
    # the length of a range: a compiler takes m for a constant, which it is for the plan
    m = len(range(rewards.shape[-1]))
    cacheable = type(rewards) is torch.Tensor
    kernel, constants, needs_order, pools, binary, most_values = plan(
        name, m, N, rewards.device, dtype, cacheable, **options
    )
    ascending, order = rewards.to(dtype).reshape(-1, m).sort(dim=-1)
    # whatever is not finite, a sorted group has at its ends
    telling = ascending if binary else ascending[:, :: max(1, m - 1)]
    valid = is_valid(telling, binary).all(-1, keepdim=True)
    if validate:
        few = valid if most_values is None else valid & is_few(ascending, most_values)
        check_values(few, rewards, binary, most_values)
    else:
        # most formulas turn a NaN into something that looks like an advantage, or into an index;
        # one that pools has to know which groups tell the others nothing
        ascending = torch.where(valid, ascending, torch.nan if pools else 0.0)
    found = TWINS[kernel](ascending, *((order,) if needs_order else ()), *constants)
    if not validate:
        found = torch.where(valid, found, torch.nan)
    # adding 0 turns −0 into 0
    return torch.empty_like(found).scatter_(-1, order, found + 0.0).reshape(rewards.shape)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # the sizes of the groups are data
def uneven(
    name: str, rewards: Tensor, mask: Tensor, N: int, options: dict[str, Any], validate: bool
) -> Tensor:
    """Advantages of groups of several sizes, one size at a time."""
    m = rewards.shape[-1]
    rewards = rewards.masked_fill(~mask, 0)
    if validate:
        record = lookup(name, options)
        check_values(is_valid(rewards, record.binary), rewards, record.binary)
        if record.most_values is not None:
            check_few_values(rewards[mask].cpu().double().numpy(), record.most_values)
    groups, present = rewards.reshape(-1, m), mask.reshape(-1, m)
    # the rollouts that exist come first, in the order drawn
    position = torch.argsort(~present, dim=-1, stable=True)
    sizes = present.sum(-1)
    out = torch.zeros(groups.shape, dtype=precision(rewards)[0], device=rewards.device)
    for n in sorted(set(sizes.tolist())):
        rows = (sizes == n).nonzero()[:, 0]
        chosen = position[rows, :n]
        try:
            found = even(name, groups[rows].gather(-1, chosen), N, options, validate=False)
        except ValueError as error:
            if n == m:
                raise
            where = tuple(map(int, np.unravel_index(int(rows[0]), rewards.shape[:-1])))
            raise ValueError(
                f"mask leaves {n} of m = {m} rollouts in group {where}: {error}; "
                "drop such groups, or draw their missing rollouts again"
            ) from error
        out[rows] = found.new_zeros(len(rows), m).scatter_(-1, chosen, found)
    return out.reshape(rewards.shape)


# --- checks -------------------------------------------------------------------------------------


def check_tensor(rewards: Tensor) -> None:
    """Raise unless rewards is a tensor of real numbers, of shape (..., m) and not empty."""
    if not isinstance(rewards, Tensor):
        raise TypeError(
            f"rewards is a {type(rewards).__name__}; give a torch tensor, "
            "or call tea_stats.advantages, which takes arrays and lists"
        )
    if rewards.dtype.is_complex:
        raise TypeError(f"rewards has dtype {rewards.dtype}; give a tensor of real numbers")
    if rewards.ndim == 0:
        raise ValueError("rewards is a scalar; give a tensor of shape (..., m), one row per group")
    if rewards.numel() == 0:
        raise ValueError(
            f"rewards has shape {tuple(rewards.shape)} and no element; "
            "give groups of at least one rollout"
        )


def check_mask(mask: Tensor, rewards: Tensor) -> None:
    """Raise unless the mask is a boolean tensor of the rewards' shape."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(
            f"mask is of type {kind}; give a boolean tensor, True for the rollouts that exist"
        )
    if mask.shape != rewards.shape:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}, rewards {tuple(rewards.shape)}; "
            "give one entry per rollout"
        )


def is_valid(rewards: Tensor, binary: bool) -> Tensor:
    """Say of each reward whether it is finite, or 0 or 1 where that is required."""
    return (rewards == 0) | (rewards == 1) if binary else torch.isfinite(rewards)


def is_few(ascending: Tensor, most_values: int) -> Tensor:
    """Say whether the batch has at most so many distinct rewards."""
    ordered = ascending.flatten().sort().values
    return (ordered[1:] != ordered[:-1]).sum() < most_values


def check_values(
    valid: Tensor, rewards: Tensor, binary: bool, most_values: int | None = None
) -> None:
    """Raise ValueError, naming the first of them, if a reward is not valid, or if they are many."""
    if torch.compiler.is_compiling():
        wanted = "0 or 1" if binary else "finite"
        many = "" if most_values is None else f", or more than {most_values} distinct values"
        torch._assert_async(
            valid.all(),
            f"rewards has an entry that is not {wanted}{many}; call advantages uncompiled to see "
            "where",
        )
    elif not valid.all():
        # the registry's own checks say which entry it is
        array = rewards.cpu().double().numpy()
        try:
            as_rewards(array)
        except ValueError as error:
            raise ValueError(f"{error}; mask=torch.isfinite(rewards) leaves them out") from None
        if most_values is None:
            check_binary(array)
        else:
            check_few_values(array, most_values)
