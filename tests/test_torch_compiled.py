"""What the torch bridge promises a training loop: no gradient, no host access, one graph."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tea_stats import ESTIMATORS

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode

from tea_stats import torch_bridge
from tea_stats.torch_bridge import _constants
from tests.test_torch_bridge import ALL, outcome, variants

pytestmark = pytest.mark.torch

# --- no gradient, no host access ----------------------------------------------------------------


@ALL
def test_no_gradient_flows(name: str) -> None:
    rewards = (torch.arange(32.0).reshape(2, 16) % 2).requires_grad_()
    assert not torch_bridge.advantages(name, rewards, 64).requires_grad
    mask = torch.ones_like(rewards, dtype=torch.bool)
    assert not torch_bridge.advantages(name, rewards, 64, mask=mask).requires_grad


@ALL
def test_nothing_on_the_host_depends_on_the_rewards(name: str) -> None:
    """Tensors without values: a host access, or a constant on another device, is an error."""
    for options in variants(name):
        shape = (3, 5, 16)
        if isinstance(outcome(ESTIMATORS[name].function, np.zeros(shape), 64, **options), str):
            continue
        without_values = torch.empty(shape, device="meta")
        found = torch_bridge.advantages(name, without_values, 64, validate=False, **options)
        assert found.shape == shape
        assert found.device.type == "meta"
        with FakeTensorMode():
            fake = torch.empty(shape)
            assert torch_bridge.advantages(name, fake, 64, validate=False, **options).shape == shape
            with pytest.raises(DataDependentOutputException):
                torch_bridge.advantages(name, fake, 64, **options)
        # the fake constants have not been kept
        torch_bridge.advantages(name, torch.zeros(shape), 64, **options)


def test_a_default_device_does_not_matter() -> None:
    rewards = torch.randn(3, 16)
    expected = torch_bridge.advantages("prefix_tea", rewards, 64)
    _constants.cached_plan.cache_clear()
    with torch.device("meta"):
        found = torch_bridge.advantages("prefix_tea", rewards, 64)
        uneven = torch_bridge.advantages("prefix_tea", rewards, 64, mask=rewards == rewards)
    assert torch.equal(found, expected)
    assert torch.equal(uneven, expected)


class HostReads(TorchDispatchMode):
    """Counts the operations for whose result the host waits."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        waits = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique")
        self.count += any(word in func.__name__ for word in waits)
        return func(*args, **(kwargs or {}))


@ALL
def test_the_check_reads_one_value(name: str) -> None:
    rewards = torch.arange(32.0).reshape(2, 16) % 2
    with HostReads() as validated:
        torch_bridge.advantages(name, rewards, 64)
    with HostReads() as trusted:
        torch_bridge.advantages(name, rewards, 64, validate=False)
    assert (validated.count, trusted.count) == (1, 0)


# --- one graph ----------------------------------------------------------------------------------


@pytest.fixture
def compiled() -> Any:
    """Return `compiled(name, N, **options)`: one graph, on a fresh compiler."""
    torch._dynamo.reset()

    def make(name: str, N: int, backend: str = "eager", **options: Any) -> Any:
        def function(rewards: Any) -> Any:
            return torch_bridge.advantages(name, rewards, N, **options)

        return torch.compile(function, backend=backend, fullgraph=True)

    yield make
    torch._dynamo.reset()


@ALL
def test_compiles_to_one_graph(name: str, compiled: Any) -> None:
    function = compiled(name, 64)
    # from the second number of groups on, it is a symbol
    for groups in (3, 4, 5):
        rewards = (torch.arange(16.0 * groups).reshape(groups, 16) * 0.37).round() % 2
        assert torch.equal(function(rewards), torch_bridge.advantages(name, rewards, 64))


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("c++") is None or not (Path(sysconfig.get_path("include")) / "Python.h").exists(),
    reason="no C++ compiler, or not Python's headers",
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiles_to_machine_code(compiled: Any) -> None:
    function = compiled("tea", 64, backend="inductor", alpha=0.5)
    rewards = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    expected = torch_bridge.advantages("tea", rewards, 64, alpha=0.5)
    torch.testing.assert_close(function(rewards), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["tea", "max_at_k", "prefix_tea"])
def test_compiles_through_autograd_with_options(name: str, compiled: Any) -> None:
    options = variants(name)[-1]
    function = compiled(name, 64, backend="aot_eager", **options)
    # another group size is another set of constants
    for m in (16, 20, 24):
        rewards = torch.randn(4, m, generator=torch.Generator().manual_seed(m))
        expected = torch_bridge.advantages(name, rewards, 64, **options)
        torch.testing.assert_close(function(rewards), expected, rtol=1e-12, atol=1e-12)


def test_compiled_checks_are_part_of_the_graph(compiled: Any) -> None:
    function = compiled("tea", 64)
    with pytest.raises(RuntimeError, match="an entry that is not finite; call advantages uncomp"):
        function(torch.tensor([[0.0, 1.0, torch.nan, 2.0]]))


def test_compiled_with_a_mask_the_graph_breaks_and_the_numbers_stay() -> None:
    torch._dynamo.reset()
    rewards = torch.tensor([[0.0, 1.0, 3.0], [1.0, torch.nan, 2.0]])

    def function(rewards: Any) -> Any:
        return torch_bridge.advantages("rloo", rewards * 2, 8, mask=torch.isfinite(rewards))

    assert torch.equal(torch.compile(function, backend="eager")(rewards), function(rewards))
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="uneven"):
        torch.compile(function, backend="eager", fullgraph=True)(rewards)
    torch._dynamo.reset()


# --- constants are kept, and rightly so ---------------------------------------------------------


def test_constants_are_made_once() -> None:
    rewards = torch.randn(3, 16)
    _constants.cached_plan.cache_clear()
    for _ in range(3):
        torch_bridge.advantages("prefix_tea", rewards, 64, prefixes=[8, 12, 16])
    assert _constants.cached_plan.cache_info().misses == 1
    assert _constants.cached_plan.cache_info().hits == 2


def test_values_equal_to_a_valid_one_are_still_refused() -> None:
    rewards = torch.randn(3, 16)
    torch_bridge.advantages("max_at_k", rewards, 1, k=2)
    with pytest.raises(TypeError, match="N is True, a boolean"):
        torch_bridge.advantages("max_at_k", rewards, True, k=2)
    with pytest.raises(TypeError, match="k is 2.0 of type float"):
        torch_bridge.advantages("max_at_k", rewards, 1, k=2.0)


def test_constants_made_in_inference_mode_serve_outside_it() -> None:
    _constants.cached_plan.cache_clear()
    rewards = torch.randn(3, 16)
    with torch.inference_mode():
        inside = torch_bridge.advantages("max_at_k", rewards, 8)
    outside = torch_bridge.advantages("max_at_k", rewards, 8)
    assert torch.equal(inside, outside)
    assert not any(
        c.is_inference()
        for c in _constants.cached_plan("max_at_k", 16, 8, rewards.device, torch.float64)[1][1:]
    )


def test_options_that_cannot_be_hashed() -> None:
    rewards = torch.randn(3, 16)
    by_list = torch_bridge.advantages("prefix_tea", rewards, 8, prefixes=[8, 16])
    by_array = torch_bridge.advantages(
        "prefix_tea", rewards, np.array(8), prefixes=np.array([8, 16])
    )
    assert torch.equal(by_list, by_array)
