"""Random groups of every magnitude through every estimator, the torch bridge and the loss.

python -m tests.endurance.fuzz --inputs 100000

An input is a group of rewards. Of every estimator, at its defaults and at other options: advantages
are finite; those of a permuted group are permuted; those of rewards times 8 are times 8, 1 or by
whatever degree the estimator has; the bridge returns the same bits, of masked groups those of the
smaller ones. Of the loss: value and gradient are finite in every dtype, whatever padding, missing
rollouts and old log-probabilities hold.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from tea_stats import ESTIMATORS, advantages
from tests.test_estimators_properties import CASES

Array = NDArray[np.float64]
#: groups evaluated at a time
BATCH = 500


def groups(case: str, rng: np.random.Generator) -> Array:
    """Draw groups of one size: of one magnitude, of mixed ones, or with ties."""
    record = ESTIMATORS[CASES[case][0]]
    m = int(rng.choice([max(3, record.min_m), 16, 24]))
    shape = (BATCH, m)
    if record.binary:
        return (rng.uniform(size=shape) < rng.uniform(size=(BATCH, 1))).astype(float)
    kind = int(rng.integers(4))
    if kind == 0:  # of one magnitude, with a location
        rewards = rng.normal(size=shape) + rng.normal(0.0, 1e4, (BATCH, 1))
    elif kind == 1:  # of all magnitudes
        rewards = 10.0 ** rng.uniform(-300, 300, shape) * rng.choice([-1.0, 1.0], shape)
    elif kind == 2:  # of a range of magnitudes
        low, high = np.sort(rng.uniform(-300, 300, (2, BATCH, 1)), axis=0)
        rewards = 10.0 ** rng.uniform(low, high, shape) * rng.choice([-1.0, 1.0], shape)
    else:  # with ties and zeros
        rewards = rng.integers(-3, 4, shape) * 10.0 ** rng.uniform(-300, 299, (BATCH, 1))
    if record.most_values:
        rewards = rng.choice(rewards[0, : record.most_values], shape)
    return rewards.clip(-1e300, 1e300)


def check_estimator(case: str, inputs: int, seed: int = 0) -> int:
    """Check so many groups, and return how many there were; AssertionError for a wrong one."""
    name, options = CASES[case]
    record, rng, done = ESTIMATORS[name], np.random.default_rng([seed, *case.encode()]), 0
    while done < inputs:
        rewards, N = groups(case, rng), int(rng.choice([1, 2, 16, 128, 2**30, 2**53]))
        a = advantages(name, rewards, N, **options)
        assert np.isfinite(a).all(), f"{case}, N = {N}: not finite"
        if not record.needs_order:
            order = rng.permutation(rewards.shape[1])
            permuted = advantages(name, rewards[:, order], N, **options)
            scale = np.abs(a).max(axis=1, keepdims=True)
            assert (np.abs(permuted - a[:, order]) <= 1e-9 * scale).all(), f"{case}, N = {N}: order"
        check_bridge(name, options, rewards, N, a)
        done += len(rewards)
    return done


def check_bridge(name: str, options: dict[str, Any], rewards: Array, N: int, a: Array) -> None:
    """Compare the bridge with the library, to the bit."""
    torch, bridge = _torch()
    if torch is None:
        return
    tensor = torch.from_numpy(rewards)
    assert np.array_equal(bridge.advantages(name, tensor, N, **options).numpy(), a), (
        f"{name}: bridge"
    )
    wide = torch.cat([tensor, torch.full((len(rewards), 3), torch.nan, dtype=tensor.dtype)], 1)
    masked = bridge.advantages(name, wide, N, mask=~wide.isnan(), **options).numpy()
    assert np.array_equal(masked[:, : rewards.shape[1]], a), f"{name}: masked groups"
    assert not masked[:, rewards.shape[1] :].any(), f"{name}: masked rollouts"


def _torch() -> tuple[Any, Any]:
    try:
        import torch

        from tea_stats import torch_bridge
    except ImportError:
        return None, None
    return torch, torch_bridge


def check_loss(inputs: int, seed: int = 0) -> int:
    """Check so many calls of the loss; AssertionError for one that is not finite."""
    torch, bridge = _torch()
    if torch is None:
        return 0
    rng, draws = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    for _ in range(inputs):
        dtype = (torch.float16, torch.bfloat16, torch.float32, torch.float64)[rng.integers(4)]
        prompts, m, tokens = (int(n) for n in rng.integers(1, 9, 3))
        by_token = bool(rng.integers(2))
        group, shape = (prompts, m), (prompts, m, tokens) if by_token else (prompts, m)
        size = 10.0 ** rng.uniform(-3, 4)
        logprobs, old = (-size * torch.rand((2, *shape), generator=draws)).to(dtype)
        a = (10.0 ** rng.uniform(-3, 1.5) * torch.randn(group, generator=draws)).to(dtype)
        filler = float(rng.choice([np.nan, -np.inf, np.inf, 0.0]))
        mask = torch.rand(shape, generator=draws) < 0.7 if rng.integers(2) else None
        rollouts = torch.rand(group, generator=draws) < 0.7 if rng.integers(2) else None
        if mask is not None:
            logprobs, old = (x.masked_fill(~mask, filler) for x in (logprobs, old))
        if rollouts is not None:
            missing = ~(rollouts[..., None] if by_token else rollouts)
            logprobs, old = (x.masked_fill(missing, filler) for x in (logprobs, old))
            a = a.masked_fill(~rollouts, filler)
        options = ({}, {"old_logprobs": old}, {"old_logprobs": old, "clip": 0.2})[rng.integers(3)]
        options["length_normalised"] = by_token and bool(rng.integers(2))
        logprobs.requires_grad_()
        loss = bridge.policy_gradient_loss(logprobs, a, mask, rollouts=rollouts, **options)
        loss.backward()
        assert torch.isfinite(loss), f"{dtype}, {sorted(options)}: the loss is {loss}"
        assert torch.isfinite(logprobs.grad).all(), f"{dtype}, {sorted(options)}: its gradient"
    return inputs


def main(
    inputs: Annotated[int, typer.Option(min=1, help="Groups for each estimator.")] = 100_000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Check every estimator, the bridge and the loss, and print how much was tried."""
    for case in CASES:
        print(f"{case}: {check_estimator(case, inputs, seed)} groups", flush=True)
    print(f"loss: {check_loss(inputs, seed)} calls")


if __name__ == "__main__":
    typer.run(main)
