"""The loss whose gradient is the policy gradient, as REINFORCE or clipped as in PPO and GRPO."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tea_stats._validation import as_flag, as_real


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
    """Loss −(1/m) Σ_i A_i Σ_t log π(y_it), averaged over groups; its gradient is −ĝ exactly.

    With `old_logprobs`, the rollouts come from an older policy: log π gives way to the ratio
    ρ = π/π_old, of each token or of each whole rollout as `logprobs` has it, and with `clip` to the
    PPO and GRPO surrogate min(ρA, clip(ρ, 1 − ε, 1 + ε)A).

    Parameters
    ----------
    logprobs : Tensor, shape (..., m, T) or (..., m)
        Log-probabilities of the tokens drawn, or of whole rollouts, under the policy in training.
    advantages : Tensor, shape (..., m)
        Advantages; taken as constants.
    mask : Tensor of bool, shape of `logprobs`, optional
        True for the entries that count, False for padding (which may hold anything, −inf and NaN
        included). Where `logprobs` is of whole rollouts, it says which of these exist.
    rollouts : Tensor of bool, shape (..., m), optional
        True for the rollouts that exist, as for `advantages`: a group of n < m is averaged over its
        own n. Without it every group is divided by m. A group without any counts as zero.
    old_logprobs : Tensor, shape of `logprobs`, optional
        Log-probabilities under the policy that drew the rollouts; taken as constants.
    clip : float or (float, float), optional
        ε, or ε below and above 1: the ratio moves no advantage further than that.
    length_normalised : bool
        False: sum over the tokens of a rollout, which is what makes the gradient exact, and what
        Dr.GRPO does up to a constant. True: divide each rollout's sum by its own number of tokens,
        as GRPO does; then it is the gradient of no expected reward if lengths differ.

    Returns
    -------
    Tensor, shape ()
        The loss, in float64 for float64 log-probabilities and in float32 for all others. Of the
        REINFORCE form only the gradient means anything.

    Raises
    ------
    TypeError
        If an argument is no tensor of a suitable dtype.
    ValueError
        If shapes do not fit together, or `clip` stands without `old_logprobs`.

    Notes
    -----
    At π = π_old the three forms (plain, ratio, clipped) have the same gradient, and with it the
    bias of the estimator behind the advantages: none for ∇V_k with `max_at_k`. Off-policy the plain
    form is biased; the unclipped ratio of whole rollouts keeps the mean reward's gradient unbiased
    with RLOO advantages, but best-of-k advantages still rank a rollout among those of the old
    policy. Every form is divided by the number of rollouts in the group, never by the number of
    tokens in the batch. The host never waits for a GPU. Schulman et al. (2017), arXiv:1707.06347;
    Shao et al. (2024), arXiv:2402.03300; Liu et al. (2025), arXiv:2503.20783.

    Examples
    --------
    >>> logits = torch.zeros(3, requires_grad=True)
    >>> drawn = torch.tensor([[0, 2], [1, 2]])
    >>> advantages = torch.tensor([[-1.0, 1.0], [-2.0, 2.0]])
    >>> policy_gradient_loss(logits.log_softmax(0)[drawn], advantages).backward()
    >>> logits.grad
    tensor([ 0.2500,  0.5000, -0.7500])
    """
    by_token = check_shapes(logprobs, advantages, mask, rollouts, old_logprobs)
    length_normalised = as_flag("length_normalised", length_normalised)
    if length_normalised and not by_token:
        raise ValueError(
            "length_normalised is True, but logprobs has no axis of tokens; "
            "give logprobs of shape (..., m, T), or False"
        )
    bounds = clip_bounds(clip)
    if bounds and old_logprobs is None:
        raise ValueError(
            f"clip is {clip}, but old_logprobs is None: there is no ratio to clip; give the "
            "log-probabilities under the policy that drew the rollouts"
        )
    dtype = torch.float64 if logprobs.dtype == torch.float64 else torch.float32
    log_pi, a = logprobs.to(dtype), advantages.detach().to(dtype)
    if by_token:
        a = a[..., None]
    elif rollouts is None:
        rollouts = mask
    if mask is not None:
        # before any arithmetic: 0 · (−inf) and the derivative of exp at a NaN are NaN
        log_pi = log_pi.masked_fill(~mask, 0.0)
    if old_logprobs is None:
        gain = a * log_pi
    else:
        old = old_logprobs.detach().to(dtype)
        ratio = torch.exp(log_pi - (old if mask is None else old.masked_fill(~mask, 0.0)))
        gain = a * ratio
        if bounds:
            gain = torch.minimum(gain, a * ratio.clamp(*bounds))
    if mask is not None:
        gain = gain.masked_fill(~mask, 0.0)
    if by_token:
        gain = gain.sum(-1)
    if length_normalised:
        gain = gain / (logprobs.shape[-1] if mask is None else mask.sum(-1).clamp(min=1))
    if rollouts is None:
        return -gain.mean()
    gain = gain.masked_fill(~rollouts, 0.0)
    return -(gain.sum(-1) / rollouts.sum(-1).clamp(min=1)).mean()


def clip_bounds(clip: Any) -> tuple[float, float] | None:
    """Return the bounds 1 − ε and 1 + ε of the ratio."""
    if clip is None:
        return None
    pair = tuple(clip) if isinstance(clip, list | tuple) else (clip, clip)
    if len(pair) != 2:
        raise ValueError(f"clip is {clip}; give one number, or the two below and above 1")
    low = as_real("clip", pair[0], above=0.0, at_most=1.0)
    return 1.0 - low, 1.0 + as_real("clip", pair[1], above=0.0)


def check_shapes(
    logprobs: Any, advantages: Any, mask: Any, rollouts: Any, old_logprobs: Any
) -> bool:
    """Raise unless the tensors fit together; return whether logprobs has an axis of tokens."""
    given = {"logprobs": logprobs, "advantages": advantages, "old_logprobs": old_logprobs}
    for name, value in given.items():
        if value is not None and not (torch.is_tensor(value) and value.is_floating_point()):
            raise TypeError(f"{name} is {kind(value)}; give a tensor of a float dtype")
    for name, value in {"mask": mask, "rollouts": rollouts}.items():
        if value is not None and not (torch.is_tensor(value) and value.dtype == torch.bool):
            raise TypeError(f"{name} is {kind(value)}; give a boolean tensor, for instance x > 0")
    shape, group = tuple(logprobs.shape), tuple(advantages.shape)
    if not group or 0 in shape or group not in (shape, shape[:-1]):
        raise ValueError(
            f"logprobs has shape {shape} and advantages {group}; give advantages of shape (..., m) "
            "and logprobs of shape (..., m) or (..., m, T), none of them empty"
        )
    for name, value, wanted in (
        ("mask", mask, shape),
        ("old_logprobs", old_logprobs, shape),
        ("rollouts", rollouts, group),
    ):
        if value is not None and tuple(value.shape) != wanted:
            raise ValueError(f"{name} has shape {tuple(value.shape)}; give one of shape {wanted}")
    return shape != group


def kind(value: Any) -> str:
    """Say what a value is: its dtype if a tensor, else its type."""
    return f"of dtype {value.dtype}" if torch.is_tensor(value) else f"a {type(value).__name__}"
