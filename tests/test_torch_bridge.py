"""The torch bridge: the library's advantages on tensors, eager, compiled, exported and mapped."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tea_stats
from tea_stats import ESTIMATORS, Gumbel, Logistic
from tests.enumeration import few_valued
from tests.test_package import documented_names, sections

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import FakeTensorMode

from tea_stats import torch_bridge

pytestmark = pytest.mark.torch

ALL = pytest.mark.parametrize("name", ESTIMATORS)
#: one that takes each group by itself, one that needs the order drawn, one that learns from a batch
KINDS = pytest.mark.parametrize("name", ["tea", "prefix_tea", "auto_tea"])
#: the CPU, and what else this machine has
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "tea": [{"calibrated": True, "alpha": 0.5}],
    "max_at_k": [{"k": 3, "form": form} for form in ("s", "loo", "loo-1", "canonical")],
    "prefix_tea": [
        {"orderings": "all", "prefixes": (2, 14), "alpha": 0.5},
        {"orderings": 3, "seed": 7, "prefixes": [8, 12, 16], "order": 3},
        {"crossfit": True, "prefixes": np.array([8, 12]), "alpha": np.float32(0.5)},
    ],
    "rs_grpo": [{"beta": -1.5}],
    "linear_tea": [
        {"tails": ["normal", "gumbel"], "k_min": 1},
        {"tails": (Gumbel(), Logistic(0.0, 2.0)), "design": Gumbel()},
    ],
}


def rewards_of(name: str, *shape: int, seed: int = 0) -> Any:
    """Return rewards that the estimator accepts: with ties, otherwise of any size."""
    rng = np.random.default_rng(seed)
    if ESTIMATORS[name].binary:
        return torch.tensor(rng.integers(0, 2, shape) * 1.0)
    noise = np.where(rng.random(shape) < 0.3, 0.0, rng.standard_normal(shape))
    return torch.tensor(
        few_valued(noise * 10.0 ** rng.integers(-3, 4), ESTIMATORS[name].most_values)
    )


def bits(a: Any) -> Any:
    """Return the bits of float64 numbers, which tell 0 from −0."""
    return torch.as_tensor(a).cpu().view(torch.int64)


# --- the same numbers as the library ------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", "bfloat16 float16 float32 float64 uint8 int64 bool".split())
@ALL
def test_equal_to_the_library_to_the_bit(name: str, dtype: str, device: str) -> None:
    # (3, 2, 16), not contiguous
    rewards = rewards_of(name, 3, 16, 2).abs().to(getattr(torch, dtype)).transpose(1, 2)
    array = rewards.double().numpy()
    for options in [{}, *OPTIONS.get(name, [])]:
        expected = torch.from_numpy(tea_stats.advantages(name, array, 64, **options))
        result = torch_bridge.advantages(name, rewards.to(device), 64, **options)
        assert result.device.type == device
        if device != "cpu" and dtype != "float64":
            assert torch.equal(result.cpu(), expected.float())
            continue
        assert torch.equal(bits(result), bits(expected)), options
        if not ESTIMATORS[name].needs_order:
            tied = rewards[..., None] == rewards[..., None, :]
            a, b = (x.expand(tied.shape)[tied] for x in (result[..., None], result[..., None, :]))
            assert torch.equal(a, b), options


@pytest.mark.parametrize(
    ("device", "dtype", "result"),
    [
        ("cpu", "bfloat16", "float64"),
        ("cuda", "bfloat16", "float32"),
        ("cuda", "int64", "float32"),
        ("cuda", "float64", "float64"),
        ("mps", "float16", "float32"),
        ("meta", "float32", "float64"),
    ],
)
def test_shape_dtype_and_device_without_values(device: str, dtype: str, result: str) -> None:
    with FakeTensorMode():
        rewards = torch.empty(2, 4, 16, device=device, dtype=getattr(torch, dtype))
        for mask in (None, torch.empty(2, 4, 16, device=device, dtype=torch.bool)):
            a = torch_bridge.advantages("tea", rewards, 64, mask=mask)
            assert (a.shape, a.device.type) == (rewards.shape, device)
            assert a.dtype == getattr(torch, result)
    assert torch_bridge.advantages("tea", torch.empty(3, 16, device="meta"), 64).is_meta


@KINDS
def test_no_gradient_in_any_mode(name: str) -> None:
    rewards = rewards_of(name, 4, 16)
    expected = torch_bridge.advantages(name, rewards, 64)
    result = torch_bridge.advantages(name, rewards.clone().requires_grad_(), 64)
    assert not result.requires_grad
    with torch.no_grad(), torch.device("meta"):  # a default device does not matter
        results = [torch_bridge.advantages(name, rewards, 64)]
    with torch.inference_mode():
        results += [torch_bridge.advantages(name, rewards, 64)]
    assert all(torch.equal(a, expected) for a in [result, *results])


# --- uneven groups ------------------------------------------------------------------------------


@ALL
def test_a_group_of_n_is_evaluated_as_a_group_of_n(name: str) -> None:
    rng = np.random.default_rng(5)
    rewards = rewards_of(name, 3, 4, 16).numpy()
    least = max(2, ESTIMATORS[name].min_m)
    sizes = rng.permuted([least, 13, 14, 16] * 3).reshape(3, 4)
    mask = rng.permuted(np.broadcast_to(np.arange(16), rewards.shape), axis=-1) < sizes[..., None]
    expected = np.zeros_like(rewards)
    present = [mask & (sizes == n)[..., None] for n in np.unique(sizes)]
    groups = [rewards[p].reshape(p.any(-1).sum(), -1) for p in present]
    # the one estimator that learns from groups of all sizes
    one = ESTIMATORS[name]
    together = one.of_sizes(groups, 64) if name == "auto_tea" else None
    for k, (where, alike) in enumerate(zip(present, groups, strict=True)):
        found = tea_stats.advantages(name, alike, 64) if together is None else together[k]
        expected[where] = found.ravel()
    rewards[~mask] = rng.choice([np.nan, np.inf, 7.0], (~mask).sum())
    result = torch_bridge.advantages(name, torch.tensor(rewards), 64, mask=torch.tensor(mask))
    assert torch.equal(bits(result), bits(expected))


@ALL
def test_a_mask_that_leaves_everything_changes_nothing(name: str) -> None:
    rewards = rewards_of(name, 2, 16)
    result = torch_bridge.advantages(name, rewards, 64, mask=rewards == rewards)
    assert torch.equal(result, torch_bridge.advantages(name, rewards, 64))


BAD_MASKS: list[tuple[str, dict[str, Any], list[int], str]] = [
    ("rloo", {}, [16, 1], r"1 of m = 16 rollouts in group \(1,\): rewards has m = 1 .*needs m ≥ 2"),
    ("reinforce", {}, [0, 2], r"0 of m = 16 rollouts in group \(0,\): .* one rollout; drop such"),
    ("max_at_k", {"k": 8}, [9, 7], r"7 of m = 16 .*k is 8, more than the m = 7.*; drop such gr"),
    ("prefix_tea", {}, [16, 7], r"7 of m = 16 .*m is 7: at alpha = 0.25 only .*; drop such groups"),
]


@pytest.mark.parametrize(("name", "options", "counts", "message"), BAD_MASKS)
def test_too_few_left(name: str, options: Any, counts: list[int], message: str) -> None:
    mask = torch.arange(16) < torch.tensor(counts)[:, None]
    with pytest.raises(ValueError, match=f"mask leaves {message}"):
        torch_bridge.advantages(name, torch.zeros(2, 16), 64, mask=mask, **options)


def test_values_are_counted_and_checked_over_the_groups_of_all_sizes() -> None:
    rewards = torch.arange(65.0).reshape(5, 13)
    for mask in (None, rewards >= 0.0):
        with pytest.raises(ValueError, match=r"rewards has 65 distinct values; .* at most 64 of"):
            torch_bridge.advantages("beta_binomial", rewards, 64, mask=mask)
    assert (
        torch_bridge.advantages("beta_binomial", rewards, 64, mask=rewards > 0.0).isfinite().all()
    )
    with pytest.raises(ValueError, match=r"rewards\[0, 3\] is 3.0; .*0/1 rewards: threshold them"):
        torch_bridge.advantages("pass_at_k", rewards, 64, mask=rewards != 2.0)


# --- unit root mean square ----------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1e-305, 1.0, 1e290])
def test_unit_rms_is_one_positive_number(factor: float) -> None:
    rewards = factor * rewards_of("rloo", 5, 16)
    mask = torch.arange(16) < torch.tensor([16, 16, 9, 16, 12])[:, None]
    for present, count in ((None, 80), (mask, 69)):
        plain = torch_bridge.advantages("rloo", rewards, 64, mask=present) / factor
        scaled = torch_bridge.advantages("rloo", rewards, 64, mask=present, unit_rms=True)
        assert scaled.square().sum().item() == pytest.approx(count, rel=1e-12)
        torch.testing.assert_close(scaled / scaled.norm(), plain / plain.norm(), rtol=1e-9, atol=0)


def test_unit_rms_leaves_zeros_and_takes_booleans_only() -> None:
    assert not torch_bridge.advantages("rloo", torch.ones(3, 4), 64, unit_rms=True).any()
    with pytest.raises(TypeError, match="unit_rms is 1; give True or False"):
        torch_bridge.advantages("rloo", torch.ones(3, 4), 64, unit_rms=1)


def test_unit_rms_compiles_and_maps(compiled: Any) -> None:
    rewards = rewards_of("tea", 3, 4, 16)

    def function(r: Any) -> Any:
        return torch_bridge.advantages("tea", r, 64, unit_rms=True)

    result = compiled("tea", 64, unit_rms=True)(rewards)
    torch.testing.assert_close(result, function(2.0 * rewards))
    torch.testing.assert_close(
        torch.vmap(function)(rewards), torch.stack([function(r) for r in rewards])
    )


# --- bad input ----------------------------------------------------------------------------------

GOOD = torch.arange(16.0) % 2
TRUE = torch.ones(15, dtype=torch.bool)
HOLES = torch.tensor([[0.0, torch.nan, 2.0, 1.0], [0.0, 1.0, torch.inf, 1.0]])
BAD: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (([0.0], 64), {}, TypeError, "rewards is a list; give a tensor of real numbers"),
    ((np.zeros(16), 64), {}, TypeError, "rewards is a ndarray; give a tensor"),
    ((GOOD * 1j, 64), {}, TypeError, "rewards is of dtype torch.complex64; give a tensor of real"),
    ((GOOD[0], 64), {}, ValueError, r"rewards is the scalar 0.0; give .* shape \(\.\.\., m\)"),
    ((GOOD[None][:0], 64), {}, ValueError, r"rewards has shape \(0, 16\) and no element; give gr"),
    ((GOOD[:1], 64), {}, ValueError, "rewards has m = 1 rollouts in a group .* needs m ≥ 2"),
    ((HOLES, 64), {}, ValueError, r"rewards\[0, 1\] is nan; drop or repair"),
    ((HOLES, 64), {"mask": ~HOLES.isnan()}, ValueError, r"rewards\[1, 2\] is inf; drop or repair"),
    ((GOOD, 64), {"mask": [True] * 16}, TypeError, "mask is a list; give a boolean tensor"),
    ((GOOD, 64), {"mask": GOOD}, TypeError, "mask is of dtype torch.float32; give a boolean te"),
    ((GOOD, 64), {"mask": TRUE}, ValueError, r"mask has shape \(15,\); give one of shape \(16,\)"),
    ((GOOD, 0), {}, ValueError, "N is 0; give an integer ≥ 1"),
    ((GOOD, 6.0), {}, TypeError, "N is 6.0 of type float; give an integer"),
    ((GOOD, True), {}, TypeError, "N is True, a boolean"),
    ((GOOD, 64), {"alhpa": 0.5}, TypeError, "tea has no option 'alhpa'; its options: a"),
    ((GOOD, 64), {"validate": False}, TypeError, "tea has no option 'validate'"),
    ((GOOD, 64), {"alpha": object()}, TypeError, "tea has the option <object .*; give numbers, st"),
    (
        (GOOD, 64),
        {"alpha": 2.0, "mask": GOOD == GOOD},
        ValueError,
        r"^alpha is 2.0; .* in \(0, 1\]",
    ),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), BAD)
def test_bad_input(args: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        torch_bridge.advantages("tea", *args, **options)


@pytest.mark.parametrize(
    "change", [lambda t: t.bfloat16(), lambda t: t.requires_grad_(), lambda t: t.to("meta")]
)
def test_numpy_functions_refuse_tensors_that_numpy_cannot_read(change: Any) -> None:
    rewards = torch.tensor([1.0, 2.0, 3.0])
    assert tea_stats.rloo(rewards, N=4).tolist() == [-1.5, 0.0, 1.5]
    with pytest.raises(TypeError, match=r"rewards is a Tensor that .*torch_bridge\.advantages"):
        tea_stats.rloo(change(rewards), N=4)


def test_values_equal_to_a_valid_one_are_still_refused() -> None:
    torch_bridge.advantages("max_at_k", GOOD, np.array(8), k=2)
    with pytest.raises(TypeError, match="k is 2.0 of type float"):
        torch_bridge.advantages("max_at_k", GOOD, 8, k=2.0)
    with pytest.raises(ValueError, match="estimator 'teh' is unknown; give one of tea, "):
        torch_bridge.advantages("teh", GOOD, 64)


# --- one operator: compiled, exported, mapped ---------------------------------------------------


@KINDS
def test_the_operator_keeps_torchs_contract(name: str) -> None:
    rewards = rewards_of(name, 4, 16).float()
    for mask in (None, rewards == rewards):
        torch.library.opcheck(torch_bridge.advantages_op, (rewards, mask, name, 64, "{}"))


@pytest.fixture
def compiled() -> Any:
    """Return a function that compiles `advantages` to one graph, on a fresh compiler."""
    torch._dynamo.reset()

    def make(name: str, N: int, backend: str = "eager", **options: Any) -> Any:
        def function(rewards: Any, mask: Any = None) -> Any:
            return torch_bridge.advantages(name, 2 * rewards, N, mask=mask, **options)

        return torch.compile(function, backend=backend, fullgraph=True)

    yield make
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tea", {"alpha": 0.5}),
        ("prefix_tea", {}),
        ("prefix_tea", {"prefixes": (6, 8, 10)}),
        ("auto_tea", {}),
        ("linear_tea", {"tails": ("normal", "gumbel"), "design": "logistic"}),
    ],
)
def test_compiles_to_one_graph(name: str, options: dict[str, Any], compiled: Any) -> None:
    function = compiled(name, 64, backend="aot_eager", **options)
    # from the second number of groups on, it is a symbol
    for groups, m in ((3, 16), (4, 16), (5, 16), (5, 20)):
        rewards = rewards_of(name, groups, m)
        sizes = torch.tensor([m, *[13] * (groups - 1)])
        for mask in (None, torch.arange(m) < sizes[:, None]):
            expected = torch_bridge.advantages(name, 2 * rewards, 64, mask=mask, **options)
            assert torch.equal(function(rewards, mask), expected)


def test_compiled_checks_are_those_of_the_library(compiled: Any) -> None:
    with pytest.raises(ValueError, match=r"rewards\[0, 2\] is nan; drop or repair"):
        compiled("tea", 64)(torch.tensor([[0.0, 1.0, torch.nan, 2.0]]))


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("c++") is None or not (Path(sysconfig.get_path("include")) / "Python.h").exists(),
    reason="no C++ compiler, or not Python's headers",
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiles_to_machine_code(compiled: Any) -> None:
    rewards = rewards_of("tea", 6, 16)
    expected = torch_bridge.advantages("tea", 2 * rewards, 64, alpha=0.5)
    result = compiled("tea", 64, backend="inductor", alpha=0.5)(rewards)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


def test_an_exported_graph_runs_in_a_fresh_process(tmp_path: Path) -> None:
    settings = {"tea": {}, "prefix_tea": {}, "auto_tea": {}, "linear_tea": OPTIONS["linear_tea"][1]}

    class Advantages(torch.nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def forward(self, rewards: Any, mask: Any) -> Any:
            return torch_bridge.advantages(self.name, rewards, 64, mask=mask, **settings[self.name])

    rewards = torch.randn(5, 16, dtype=torch.float64)
    mask = rewards == rewards
    for name in settings:
        example = rewards[:3], mask[:3]
        groups = {0: torch.export.Dim("groups", min=2)}
        program = torch.export.export(
            Advantages(name), example, dynamic_shapes=(groups, groups), strict=False
        )
        torch.export.save(program, tmp_path / f"{name}.pt2")
        expected = torch_bridge.advantages(name, rewards, 64, **settings[name])
        torch.save((rewards, mask, expected), tmp_path / f"{name}.pt")
    code = f"""
import pathlib, torch, tea_stats.torch_bridge
for path in pathlib.Path({str(tmp_path)!r}).glob("*.pt"):
    rewards, mask, expected = torch.load(path)
    result = torch.export.load(path.with_suffix(".pt2")).module()(rewards, mask)
    assert torch.equal(result, expected), path
    print(path.stem)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert sorted(done.stdout.split()) == sorted(settings), done.stderr


@KINDS
def test_under_vmap_each_slice_is_a_batch_of_its_own(name: str) -> None:
    rewards = rewards_of(name, 3, 4, 16)
    mask = torch.arange(16) < torch.tensor([16, 13, 13, 16])[:, None]

    def function(r: Any, present: Any = None) -> Any:
        return torch_bridge.advantages(name, r, 64, mask=present)

    expected = torch.stack([function(r) for r in rewards])
    assert torch.equal(torch.vmap(function)(rewards), expected)
    expected = torch.stack([function(r, mask) for r in rewards])
    turned = rewards.movedim(0, 1)
    assert torch.equal(torch.vmap(function, in_dims=(1, None))(turned, mask), expected)
    assert torch.equal(torch.vmap(function, (None, 0))(rewards[0], mask[None]), expected[:1])


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
