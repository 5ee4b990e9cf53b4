"""The study behind "the length of the step" in docs/trainers.md, at the smallest size."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("typer")

from simulations.checks import step_length

pytestmark = pytest.mark.torch


def test_the_unit_of_the_rewards_counts_only_without_unit_rms(monkeypatch):
    monkeypatch.setattr(step_length, "STEPS", 5)

    def norms(estimator, unit_rms):
        runs = [step_length.train("sgd", 1.0, estimator, unit_rms, unit, 0) for unit in (1.0, 5.0)]
        return [run["first_norm"] for run in runs]

    for arm in (("grpo", False), ("linear_tea", True)):
        small, large = norms(*arm)
        assert large == pytest.approx(small, rel=1e-4)
    small, large = norms("linear_tea", False)
    assert large > 4.0 * small
