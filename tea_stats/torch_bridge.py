"""The estimators on torch tensors, inside a training loop: `advantages` and the loss they enter.

Rewards go to the CPU, the library's own kernels run there, and the advantages come back::

    a = torch_bridge.advantages("tea", rewards, N=128)      # rewards (prompts, rollouts)
    torch_bridge.policy_gradient_loss(logprobs, a, mask).backward()
"""

from __future__ import annotations

import math
from typing import Any

try:
    import torch
except ModuleNotFoundError as error:
    message = "tea_stats.torch_bridge needs torch: pip install 'tea-stats[torch]'"
    raise ModuleNotFoundError(message) from error
from torch import Tensor

from tea_stats._validation import as_count, as_flag, as_real
from tea_stats.estimators import Estimator, lookup, ties
from tea_stats.estimators.masked import masked_advantages
from tea_stats.estimators.memory import Memory
from tea_stats.estimators.options import from_text, to_text

__all__ = ["advantages", "policy_gradient_loss"]


def advantages(
    name: str,
    rewards: Tensor,
    N: int,
    *,
    mask: Tensor | None = None,
    unit_rms: bool = False,
    memory: Memory | None = None,
    **options: Any,
) -> Tensor:
    """Return `tea_stats.advantages` of a tensor, on its device and without gradient.

    Parameters
    ----------
    name, N, **options
        As in `tea_stats.advantages`.
    rewards : Tensor, shape (..., m)
        Rewards of m rollouts per group, of any real dtype. Those that differ by no more than the
        rounding of that dtype are tied (`tea_stats.estimators.ties`).
    mask : Tensor of bool, shape (..., m), optional
        True for the rollouts that exist. A group with n < m of them is evaluated as a group of n;
        auto TEA learns from groups of all sizes, others that pool from those of the same size only.
        The other rollouts, whose rewards may be NaN, get advantage 0.
    unit_rms : bool
        Divide all advantages by one number, their root mean square over the batch: the gradient
        keeps its direction, and its length depends neither on the unit of the rewards nor on N.
    memory : Memory, optional
        Groups of earlier steps that auto TEA learns from; this batch is added to it. A program that
        is compiled or exported cannot have one.

    Returns
    -------
    Tensor, shape (..., m)
        Advantages: float64 on the CPU and for float64 rewards, else rounded to float32.

    Raises
    ------
    TypeError, ValueError
        As `tea_stats.advantages`; also for a mask that leaves a group with too few rollouts.

    Notes
    -----
    One transfer each way, each in its own dtype (1024 × 64 in float32 are 256 KiB). On a GPU the
    host waits for the rewards, and for nothing else.

    `torch.compile`, `torch.export` and `vmap` see one operator, `torch.ops.tea_stats.advantages`,
    whose N and options are constants; a compiler may refuse laws among them, but takes their names.
    Import this module before you load an exported graph. Each slice of `vmap` is its own batch.

    Examples
    --------
    >>> rewards = torch.tensor([[0.0, 1.0, 2.0, 4.0], [1.0, torch.nan, 6.0, 2.0]])
    >>> advantages("tea", rewards, N=16, mask=torch.isfinite(rewards), alpha=0.5)
    tensor([[0., 0., 0., 4.],
            [0., 0., 6., 0.]], dtype=torch.float64)
    """
    if not isinstance(rewards, Tensor) or rewards.is_complex():
        raise TypeError(f"rewards is {kind(rewards)}; give a tensor of real numbers")
    if mask is not None:
        check_tensor("mask", mask, rewards.shape, boolean=True)
    if memory is None:
        result = advantages_op(rewards.detach(), mask, name, *constants(name, N, **options))
    else:
        result = on_cpu(rewards.detach(), mask, lookup(name, options), as_count("N", N), memory)
    return of_unit_rms(result, mask) if as_flag("unit_rms", unit_rms) else result


def of_unit_rms(advantages: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return advantages times the number that makes their mean square 1; zeros stay zeros."""
    peak = advantages.abs().amax()
    # squares of the largest or smallest rewards would leave the range of floats
    scaled = advantages / torch.where(peak > 0.0, peak, 1.0)
    square = scaled.square().sum() / (advantages.numel() if mask is None else mask.sum())
    return scaled / torch.where(square > 0.0, square, 1.0).sqrt()


# a captured CUDA graph cannot wait for the host
@torch.library.custom_op(
    "tea_stats::advantages", mutates_args=(), tags=(torch.Tag.cudagraph_unsafe,)
)
def advantages_op(rewards: Tensor, mask: Tensor | None, name: str, N: int, options: str) -> Tensor:
    """Take the rewards to the CPU, run the estimator there, and take the advantages back."""
    return on_cpu(rewards, mask, from_text(name, options), N)


def on_cpu(
    rewards: Tensor,
    mask: Tensor | None,
    estimator: Estimator,
    N: int,
    memory: Memory | None = None,
) -> Tensor:
    """Return the advantages, computed on the CPU, on the device of the rewards."""
    array, present = rewards.cpu().double().numpy(), None if mask is None else mask.cpu().numpy()
    tie = tie_tolerance(rewards.dtype)
    result = masked_advantages(estimator, array, present, N, tie, memory)
    return torch.from_numpy(result).to(result_dtype(rewards)).to(rewards.device)


@advantages_op.register_fake
def _(rewards: Tensor, mask: Tensor | None, name: str, N: int, options: str) -> Tensor:
    return rewards.new_empty(rewards.shape, dtype=result_dtype(rewards))


@advantages_op.register_vmap
def _(info: Any, dims: Any, rewards: Tensor, mask: Tensor | None, *rest: Any) -> tuple[Tensor, int]:
    def slices(x: Any, dim: int | None) -> Any:
        return [x] * info.batch_size if dim is None else x.unbind(dim)

    pairs = zip(slices(rewards, dims[0]), slices(mask, dims[1]), strict=True)
    return torch.stack([advantages_op(*pair, *rest) for pair in pairs]), 0


def tie_tolerance(dtype: torch.dtype) -> float:
    """Return how far rewards of a dtype may differ by rounding alone (`estimators.ties`)."""
    return ties.tolerance(torch.finfo(dtype).eps) if dtype.is_floating_point else 0.0


def result_dtype(rewards: Tensor) -> torch.dtype:
    """Return the dtype of the advantages; some devices have no float64."""
    double = rewards.device.type in ("cpu", "meta") or rewards.dtype == torch.float64
    return torch.float64 if double else torch.float32


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def constants(name: str, N: int, **options: Any) -> tuple[int, str]:
    """Check N, name and options; return N and the options as text."""
    return as_count("N", N), to_text(name, options)


def policy_gradient_loss(
    logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor | None = None,
    *,
    rollouts: Tensor | None = None,
    old_logprobs: Tensor | None = None,
    clip: float | tuple[float, float] | None = None,
    length_normalised: bool = False,
) -> Tensor:
    """Return −(1/m) Σ_i A_i Σ_t log π(y_it), averaged over groups; its gradient is −ĝ exactly.

    Parameters
    ----------
    logprobs : Tensor, shape (..., m, T) or (..., m)
        Log-probabilities of the tokens drawn, or of whole rollouts, under the policy in training.
    advantages : Tensor, shape (..., m)
        Advantages; taken as constants.
    mask : Tensor of bool, shape of `logprobs`, optional
        False for padding, which may hold anything, −inf and NaN included.
    rollouts : Tensor of bool, shape (..., m), optional
        True for the rollouts that exist; the others may hold anything. A group is averaged over its
        own, one without any counts as zero. For `logprobs` of whole rollouts, `mask` does the same.
    old_logprobs : Tensor, shape of `logprobs`, optional
        Those of the policy that drew the rollouts, constants: ρ = π/π_old replaces log π. ρ has no
        gradient above the root of the dtype's largest number (255 in float16, 2e19 in float32).
    clip : float or (float, float), optional
        ε, or ε below and above 1: min(ρA, clip(ρ, 1 − ε, 1 + ε)A) replaces ρA.
    length_normalised : bool
        Divide a rollout's sum by its number of tokens, as GRPO does. If lengths differ, the result
        is the gradient of no expected reward.

    Returns
    -------
    Tensor, shape ()
        The loss, in float64 for float64 log-probabilities and in float32 for all others.

    Raises
    ------
    TypeError, ValueError
        For an unsuitable dtype, shapes that do not match, or `clip` without `old_logprobs`.

    Notes
    -----
    At π = π_old all three forms have the same gradient. Off-policy the plain form is biased; the
    unclipped ratio of whole rollouts keeps the mean reward's gradient unbiased with RLOO. Schulman
    et al., arXiv:1707.06347; Shao et al., arXiv:2402.03300; Liu et al., arXiv:2503.20783.

    Examples
    --------
    >>> logits, drawn = torch.zeros(3, requires_grad=True), torch.tensor([[0, 2], [1, 2]])
    >>> advantages = torch.tensor([[-1.0, 1.0], [-2.0, 2.0]])
    >>> policy_gradient_loss(logits.log_softmax(0)[drawn], advantages).backward()
    >>> logits.grad
    tensor([ 0.2500,  0.5000, -0.7500])
    """
    check_tensor("logprobs", logprobs)
    check_tensor("advantages", advantages)
    shape, group = logprobs.shape, advantages.shape
    if not group or 0 in shape or group not in (shape, shape[:-1]):
        raise ValueError(
            f"logprobs has shape {tuple(shape)} and advantages {tuple(group)}; give advantages of "
            "shape (..., m) and logprobs of shape (..., m) or (..., m, T), none of them empty"
        )
    by_token, padding = shape != group, torch.zeros_like(logprobs, dtype=torch.bool)
    if mask is not None:
        check_tensor("mask", mask, shape, boolean=True)
        padding, rollouts = ~mask, mask if rollouts is None and not by_token else rollouts
    if rollouts is not None:
        check_tensor("rollouts", rollouts, group, boolean=True)
    if as_flag("length_normalised", length_normalised) and not by_token:
        raise ValueError("length_normalised is True; give logprobs of shape (..., m, T), or False")
    if clip is not None and old_logprobs is None:
        raise ValueError(f"clip is {clip}; give old_logprobs, which the ratio needs, or no clip")

    dtype = torch.float64 if logprobs.dtype == torch.float64 else torch.float32
    a = advantages.detach().to(dtype)
    # before any arithmetic: 0 · (−inf) and the derivative of exp at a NaN are NaN
    if rollouts is not None:
        a = a.masked_fill(~rollouts, 0.0)
        padding = padding | ~(rollouts[..., None] if by_token else rollouts)
    a = a[..., None] if by_token else a
    log_pi = logprobs.to(dtype).masked_fill(padding, 0.0)
    if old_logprobs is None:
        gain = a * log_pi
    else:
        check_tensor("old_logprobs", old_logprobs, shape)
        log_ratio = log_pi - old_logprobs.detach().to(dtype).masked_fill(padding, 0.0)
        # so that the ratio, times an advantage, is finite in the dtype of the gradient
        ratio = torch.exp(log_ratio.clamp(max=0.5 * math.log(torch.finfo(logprobs.dtype).max)))
        gain = a * ratio
        if clip is not None:
            low, high = clip if isinstance(clip, list | tuple) and len(clip) == 2 else (clip, clip)
            low = as_real("clip", low, above=0.0, at_most=1.0)
            high = as_real("clip", high, above=0.0)
            gain = torch.minimum(gain, a * ratio.clamp(1.0 - low, 1.0 + high))
    gain = gain.masked_fill(padding, 0.0)
    gain = gain.sum(-1) if by_token else gain
    if length_normalised:
        gain = gain / (~padding).sum(-1).clamp(min=1)
    if rollouts is None:
        return -gain.mean()
    return -(gain.sum(-1) / rollouts.sum(-1).clamp(min=1)).mean()


def check_tensor(name: str, value: Any, shape: Any = None, *, boolean: bool = False) -> None:
    """Raise unless the value is a tensor of floats, or of booleans, and of this shape."""
    tensor = isinstance(value, Tensor)
    if not tensor or not (value.dtype == torch.bool if boolean else value.is_floating_point()):
        cure = "a boolean tensor, for instance x > 0" if boolean else "a tensor of a float dtype"
        raise TypeError(f"{name} is {kind(value)}; give {cure}")
    if shape is not None and value.shape != shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)}; give one of shape {tuple(shape)}")


def kind(value: Any) -> str:
    """Return the dtype of a tensor, or the type of another value."""
    return f"of dtype {value.dtype}" if torch.is_tensor(value) else f"a {type(value).__name__}"
