"""The torch bridge: the registry's advantages on tensors, of even and uneven groups.

`tea_stats.advantages` is the independent implementation here: NumPy and Numba, tested on its own.
"""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tea_stats
from tea_stats import ESTIMATORS, Estimator
from tests.enumeration import few_valued
from tests.test_package import documented_names, sections

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import FakeTensorMode

from tea_stats import torch_bridge
from tea_stats.torch_bridge import _advantages, _constants, _twins

pytestmark = pytest.mark.torch

ALL = pytest.mark.parametrize("name", ESTIMATORS)
TOLERANCE = 1e-12

#: settings that the rules of `variants` do not reach
FURTHER_OPTIONS: dict[str, list[dict[str, Any]]] = {
    "tea": [{"calibrated": True, "centred": True, "alpha": alpha} for alpha in (0.5, 1.0)],
    "max_at_k": [{"k": 3, "form": form} for form in ("s", "loo", "loo-1", "canonical")],
    "prefix_tea": [
        {"orderings": "all", "prefixes": (2, 14), "alpha": 0.5},
        {"orderings": 3, "seed": 7, "prefixes": [4, 8, 12], "order": 3, "centred": True},
        {"crossfit": True, "centred": True, "alpha": 0.5},
    ],
    "rs_grpo": [{"beta": 0.0}, {"beta": -1.5}],
    "linear_tea": [{"k_min": 1}, {"tails": ("normal", "gumbel")}, {"design": "logistic"}],
}


def variants(name: str) -> list[dict[str, Any]]:
    """Return the defaults, each flag turned over, other tail fractions and subset sizes."""
    found: list[dict[str, Any]] = [{}]
    for option, default in ESTIMATORS[name].defaults.items():
        if isinstance(default, bool):
            found.append({option: not default})
        elif option == "alpha":
            found += [{option: value} for value in (0.1, 0.5, 1.0)]
        elif option == "k":
            found += [{option: value} for value in (2, 12)]
    return found + FURTHER_OPTIONS.get(name, [])


def batches(record: Estimator) -> dict[str, np.ndarray]:
    """Return batches of 40 groups of 16: smooth, tied, equal, huge, tiny, far from 0."""
    rng = np.random.default_rng(0)
    shape = (40, 16)
    # every number of successes occurs, none and all included
    binaries = rng.permuted(np.tile(np.arange(16), (40, 1)), axis=1) < rng.integers(
        17, size=(40, 1)
    )
    if record.binary:
        return {"0/1": binaries * 1.0}
    normal = rng.standard_normal(shape)
    found = {
        "normal": normal,
        "0/1": binaries * 1.0,
        "ties": rng.integers(0, 4, shape) * 0.5,
        "equal": np.repeat(normal[:, :1], 16, axis=1),
        "huge": normal * 1e150,
        "tiny": normal * 1e-150,
        "tinier": normal * 1e-170,
        "vanishing": normal * 1e-305,
        "huge and tiny": np.where(binaries, 1e150, 1e-150) * np.sign(normal),
        "far": 1e6 + normal,
    }
    return {label: few_valued(rewards, record.most_values) for label, rewards in found.items()}


def outcome(function: Any, *args: Any, **options: Any) -> Any:
    """Return the result, or what the error says."""
    try:
        return function(*args, **options)
    except ValueError as error:
        return str(error)


# --- the same numbers as the registry -----------------------------------------------------------


@ALL
def test_every_kernel_has_a_twin(name: str) -> None:
    kernel = ESTIMATORS[name].kernel.__name__
    assert kernel in _twins.TWINS, (
        f"estimator {name!r} has no twin in torch: write one for its kernel {kernel} "
        "in tea_stats/torch_bridge/_twins.py"
    )


@ALL
def test_equal_to_the_registry(name: str) -> None:
    compared = 0
    for label, rewards in batches(ESTIMATORS[name]).items():
        tensor = torch.tensor(rewards)
        for m in (16, 13, 3):
            for options in variants(name):
                if label == "huge and tiny" and options.get("form") in ("s", "loo"):
                    continue  # a location of 1e150 cancels: what remains is rounding
                for N in (1, 6, 128):
                    case = (label, m, options, N)
                    expected = outcome(tea_stats.advantages, name, rewards[:, :m], N, **options)
                    found = outcome(torch_bridge.advantages, name, tensor[:, :m], N, **options)
                    if isinstance(expected, str):
                        assert found.split("(")[0] == expected.split("(")[0], case
                        continue
                    assert found.dtype == torch.float64
                    scale = np.abs(expected).max(axis=-1, keepdims=True)
                    # subnormal numbers hold fewer digits: ten of their steps
                    allowed = TOLERANCE * scale + 10 * np.finfo(float).smallest_subnormal
                    assert (np.abs(found.numpy() - expected) <= allowed).all(), case
                    assert not np.signbit(found.numpy()[found.numpy() == 0.0]).any(), case
                    compared += 1
    assert compared >= len(variants(name)) * len(batches(ESTIMATORS[name]))


@ALL
def test_tied_rewards_have_equal_advantages_to_the_last_bit(name: str) -> None:
    if ESTIMATORS[name].needs_order:
        pytest.skip("ties are told apart by their place")
    label = "0/1" if ESTIMATORS[name].binary else "ties"
    rewards = torch.tensor(batches(ESTIMATORS[name])[label])
    if not ESTIMATORS[name].binary:
        rewards = rewards * 0.1
    tied = rewards[:, :, None] == rewards[:, None]
    for options in variants(name):
        found = torch_bridge.advantages(name, rewards, 64, **options)
        assert torch.equal(
            found[:, :, None].expand(tied.shape)[tied], found[:, None].expand(tied.shape)[tied]
        ), options


@pytest.mark.parametrize("m", [64, 200])
def test_equal_to_the_registry_in_larger_groups(m: int) -> None:
    rewards = np.random.default_rng(1).standard_normal((5, m))
    for name, record in ESTIMATORS.items():
        x = few_valued((rewards > 0.5) * 1.0 if record.binary else rewards, record.most_values)
        expected = tea_stats.advantages(name, x, 512)
        found = torch_bridge.advantages(name, torch.tensor(x), 512).numpy()
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * scale, err_msg=name)


@pytest.mark.parametrize("centred", [False, True])
@settings(max_examples=200)
@given(data=st.data())
def test_tea_with_any_ties_and_magnitudes(centred: bool, data: st.DataObject) -> None:
    values = st.sampled_from([0.0, 1.0, -1.0, 0.1, 3.0, 1e9, 1e-9, 1e150, -1e150, 1e-150])
    m = data.draw(st.integers(2, 9))
    rewards = np.array([data.draw(st.lists(values, min_size=m, max_size=m))])
    options = {"alpha": data.draw(st.sampled_from([0.25, 0.6, 1.0])), "centred": centred}
    expected = tea_stats.tea(rewards, 64, **options)
    found = torch_bridge.advantages("tea", torch.tensor(rewards), 64, **options).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def test_more_subsets_than_are_evaluated_at_a_time(monkeypatch: Any) -> None:
    """The batches of Prefix-TEA add up, however many subsets each of them holds."""
    rewards = torch.randn(7, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    options = {"orderings": "all", "prefixes": (4, 8), "alpha": 0.5}
    _constants.cached_plan.cache_clear()
    expected = torch_bridge.advantages("prefix_tea", rewards, 64, **options)
    monkeypatch.setattr(_twins, "SUBSETS_AT_ONCE", 5)
    _constants.cached_plan.cache_clear()
    found = torch_bridge.advantages("prefix_tea", rewards, 64, **options)
    _constants.cached_plan.cache_clear()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13 * expected.abs().max().item())


@ALL
@pytest.mark.parametrize(
    "dtype",
    "bfloat16 float16 float32 float64 uint8 int8 int16 int32 int64 bool".split(),
)
def test_every_real_dtype_is_computed_in_float64(name: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    highest = 2 if ESTIMATORS[name].binary or dtype == "bool" else 4
    rewards = torch.tensor(rng.integers(0, highest, (5, 16))).to(getattr(torch, dtype))
    if rewards.is_floating_point() and not ESTIMATORS[name].binary:
        noise = few_valued(rng.standard_normal((5, 16)), ESTIMATORS[name].most_values)
        rewards = rewards + torch.tensor(noise).to(rewards.dtype)
    found = torch_bridge.advantages(name, rewards, 64)
    assert found.dtype == torch.float64
    assert torch.equal(found, torch_bridge.advantages(name, rewards.double(), 64))


@ALL
def test_leading_shapes_and_layouts(name: str) -> None:
    rewards = (torch.rand(3, 16, 2, generator=torch.Generator().manual_seed(3)) > 0.6).double()
    turned = rewards.transpose(1, 2)  # (3, 2, 16), not contiguous
    found = torch_bridge.advantages(name, turned, 64)
    assert found.shape == turned.shape
    flat = torch_bridge.advantages(name, turned.reshape(6, 16), 64)
    assert torch.equal(found, flat.reshape(3, 2, 16))
    expected = torch.from_numpy(tea_stats.advantages(name, turned.numpy(), 64))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("device", "dtype", "computed", "returned"),
    [
        ("cpu", "bfloat16", "float64", "float64"),
        ("cuda", "bfloat16", "float64", "float32"),
        ("cuda", "int64", "float64", "float32"),
        ("cuda", "float64", "float64", "float64"),
        ("mps", "float16", "float32", "float32"),
    ],
)
def test_precision_on_each_device(device: str, dtype: str, computed: str, returned: str) -> None:
    with FakeTensorMode():
        rewards = torch.empty(2, 4, device=device, dtype=getattr(torch, dtype))
    found = _advantages.precision(rewards)
    assert found == (getattr(torch, computed), getattr(torch, returned))


@ALL
def test_on_a_device_without_float64(name: str, monkeypatch: Any) -> None:
    """In float32 the numbers are those of float64 to single precision."""
    rng = np.random.default_rng(4)
    for options in variants(name):
        rewards = torch.tensor(rng.integers(0, 2, (50, 16)) * 1.0)
        if not ESTIMATORS[name].binary:
            noise = few_valued(rng.standard_normal((50, 16)), ESTIMATORS[name].most_values)
            rewards = rewards + torch.tensor(noise)
        rewards = rewards.float()
        expected = outcome(torch_bridge.advantages, name, rewards, 64, **options)
        monkeypatch.setattr(_advantages, "DOUBLE_PRECISION", ())
        found = outcome(torch_bridge.advantages, name, rewards, 64, **options)
        monkeypatch.undo()
        if isinstance(expected, str):
            continue
        assert found.dtype == torch.float32
        scale = expected.abs().amax(-1, keepdim=True)
        assert ((found - expected).abs() <= 2e-4 * scale).all(), options


# --- uneven groups ------------------------------------------------------------------------------


@ALL
def test_a_group_of_n_is_evaluated_as_a_group_of_n(name: str) -> None:
    rng = np.random.default_rng(5)
    rewards = rng.integers(0, 2, (3, 4, 20)) * 1.0
    if not ESTIMATORS[name].binary:
        rewards += rng.standard_normal(rewards.shape)
    rewards = few_valued(rewards, ESTIMATORS[name].most_values)
    least = max(2, ESTIMATORS[name].min_m)
    sizes = rng.integers(least, 21, (3, 4))
    sizes[0, 0], sizes[2, 3] = 20, least
    mask = rng.permuted(np.broadcast_to(np.arange(20), rewards.shape), axis=-1) < sizes[..., None]
    expected = np.zeros_like(rewards)
    for n in np.unique(sizes):
        there = mask & (sizes == n)[..., None]
        alike = rewards[there].reshape(-1, n)
        expected[there] = tea_stats.advantages(name, alike, 64).ravel()
    rewards[~mask] = rng.choice([np.nan, np.inf, 7.0], (~mask).sum())
    found = torch_bridge.advantages(name, torch.tensor(rewards), 64, mask=torch.tensor(mask))
    scale = np.abs(expected).max(axis=-1, keepdims=True)
    assert (np.abs(found.numpy() - expected) <= TOLERANCE * scale).all()
    assert (found.numpy()[~mask] == 0.0).all()


@ALL
def test_a_mask_that_leaves_everything_changes_nothing(name: str) -> None:
    rewards = torch.arange(32.0).reshape(2, 16) % 2
    found = torch_bridge.advantages(name, rewards, 64, mask=torch.ones(2, 16, dtype=torch.bool))
    assert torch.equal(found, torch_bridge.advantages(name, rewards, 64))


def masked(counts: list[int], m: int = 16) -> Any:
    return torch.arange(m) < torch.tensor(counts)[:, None]


BAD_MASKS: list[tuple[str, dict[str, Any], list[int], str]] = [
    (
        "rloo",
        {},
        [16, 1],
        r"1 of m = 16 rollouts in group \(1,\): rewards has m = 1 .*rloo needs m",
    ),
    ("reinforce", {}, [0, 2], r"0 of m = 16 rollouts in group \(0,\): .*needs m ≥ 1; drop such"),
    ("max_at_k", {"k": 8}, [9, 7], r"7 of m = 16 .*k is 8, more than the m = 7.*; drop such gr"),
    ("prefix_tea", {}, [16, 7], r"7 of m = 16 .*m is 7: at alpha = 0.25 only .*; drop such groups"),
]


@pytest.mark.parametrize(("name", "options", "counts", "message"), BAD_MASKS)
def test_too_few_left(name: str, options: Any, counts: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=f"mask leaves {message}"):
        torch_bridge.advantages(name, torch.zeros(2, 16), 64, mask=masked(counts), **options)


def test_a_bad_option_is_not_blamed_on_the_mask() -> None:
    with pytest.raises(ValueError, match=r"^alpha is 2.0; give"):
        torch_bridge.advantages("tea", torch.zeros(2, 16), 64, mask=masked([16, 16]), alpha=2.0)


# --- bad input ----------------------------------------------------------------------------------

GOOD = torch.arange(16.0) % 2
BAD_REWARDS: dict[str, tuple[Any, type[Exception], str]] = {
    "list": ([0.0, 1.0], TypeError, "rewards is a list; give a torch tensor, or call tea_stats"),
    "array": (np.zeros(16), TypeError, "rewards is a ndarray; give a torch tensor"),
    "complex": (GOOD * 1j, TypeError, r"rewards has dtype torch.complex64; give .* real numbers"),
    "scalar": (GOOD[0], ValueError, r"rewards is a scalar; give a tensor of shape \(\.\.\., m\)"),
    "empty": (torch.empty(0, 16), ValueError, r"rewards has shape \(0, 16\) and no el.*; give gr"),
    "one": (GOOD[:1], ValueError, r"rewards has m = 1 rollouts in a group .*pass_at_k needs m ≥ 2"),
    "nan": (
        torch.stack([GOOD, GOOD.where(GOOD < 1, torch.nan)]),
        ValueError,
        r"rewards\[1, 1\] is nan; drop or repair.*; mask=torch.isfinite\(rewards\) leaves them out",
    ),
    "inf": (GOOD.half() * torch.inf, ValueError, r"rewards\[0\] is nan; drop or repair"),
    "not 0/1": (GOOD * 2, ValueError, r"rewards\[1\] is 2.0; .*0/1 rewards: threshold them first"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_REWARDS)
def test_bad_rewards(case: str) -> None:
    rewards, error, message = BAD_REWARDS[case]
    with pytest.raises(error, match=message):
        torch_bridge.advantages("pass_at_k", rewards, 64)


def test_masked_rewards_are_not_checked_but_the_others_are() -> None:
    rewards = torch.tensor([[0.0, torch.nan, 2.0, 1.0], [0.0, 1.0, torch.inf, 1.0]])
    with pytest.raises(ValueError, match=r"rewards\[1, 2\] is inf"):
        torch_bridge.advantages("tea", rewards, 64, mask=~torch.isnan(rewards))


@ALL
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_unchecked_an_invalid_reward_is_loud_in_its_group_alone(name: str, value: float) -> None:
    rewards = torch.arange(48.0).reshape(3, 16) % 2
    expected = torch_bridge.advantages(name, rewards, 64)
    rewards[1, 5] = value
    found = torch_bridge.advantages(name, rewards, 64, validate=False)
    assert found[1].isnan().all()
    if ESTIMATORS[name].pools:
        # the others have one group less to learn from, and no more than that
        assert found[[0, 2]].isfinite().all()
    else:
        assert torch.equal(found[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (
            [True] * 16,
            TypeError,
            "mask is of type list; give a boolean tensor, True for the rollouts",
        ),
        (torch.ones(16), TypeError, "mask is of type torch.float32; give a boolean tensor"),
        (torch.ones(15, dtype=torch.bool), ValueError, r"mask has shape \(15,\), rewards \(16,\)"),
    ],
)
def test_bad_masks(mask: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        torch_bridge.advantages("tea", GOOD, 64, mask=mask)


@pytest.mark.parametrize(
    ("args", "options", "error", "message"),
    [
        (("teh", GOOD, 64), {}, ValueError, "estimator 'teh' is unknown; give one of tea, "),
        (("tea", GOOD, 0), {}, ValueError, "N is 0; give an integer ≥ 1"),
        (("tea", GOOD, 6.0), {}, TypeError, "N is 6.0 of type float; give an integer"),
        (("tea", GOOD, 64), {"alhpa": 0.5}, TypeError, "tea has no option 'alhpa'; its options: a"),
        (("tea", GOOD, 64), {"alpha": 0.0}, ValueError, r"alpha is 0.0; give .* in \(0, 1\]"),
    ],
)
def test_bad_arguments(args: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        torch_bridge.advantages(*args, **options)


def test_an_estimator_without_a_twin_says_so(monkeypatch: Any) -> None:
    def brand_new_kernel(r: Any, out: Any) -> None:
        out[:] = r

    record = dataclasses.replace(ESTIMATORS["grpo"], name="brand_new", kernel=brand_new_kernel)
    monkeypatch.setattr(_constants, "lookup", lambda name, options: record)
    message = "'brand_new' has no twin in torch: its kernel brand_new_kernel .* write it there, or"
    with pytest.raises(NotImplementedError, match=message):
        torch_bridge.advantages("brand_new", GOOD, 64)


# --- documentation ------------------------------------------------------------------------------


def test_no_estimator_has_an_option_of_the_bridge() -> None:
    own = set(inspect.signature(torch_bridge.advantages).parameters) - {"options"}
    for name, record in ESTIMATORS.items():
        assert not own & set(record.defaults), name


@pytest.mark.parametrize("name", torch_bridge.__all__)
def test_docstring_has_the_numpydoc_sections(name: str) -> None:
    function = getattr(torch_bridge, name)
    found = sections(function.__doc__)
    expected = inspect.signature(function).parameters
    assert sorted(documented_names(found["Parameters"])) == sorted(expected)
    assert {"Returns", "Raises", "Notes", "Examples"} <= set(found)


def test_without_torch_the_error_names_the_cure() -> None:
    code = "import sys; sys.modules['torch'] = None; import tea_stats.torch_bridge"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "pip install 'tea-stats[torch]'" in done.stderr
