"""Shared by all tests: Hypothesis profiles, and a missing package is a failure in CI."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# a thread for each worker: threads of several torch processes wait for each other at full speed;
# it counts only if torch has not been imported yet
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

CI = os.environ.get("CI", "").lower() not in ("", "0", "false")

# numba compiles at the first call, so that no example's time means anything: no deadline
settings.register_profile("local", deadline=None)
settings.register_profile("fixed", deadline=None, derandomize=True, database=None)
settings.load_profile("fixed" if CI else "local")


@pytest.fixture(scope="session")
def small_grid(tmp_path_factory):
    """Return the results folder of a small grid that tests of figures and reports share."""
    from tests.analysis_grid import measure

    return measure(tmp_path_factory.mktemp("small_grid"))


def _forbid_missing_package(report):
    """Turn a skip by `pytest.importorskip` into a failure in CI."""
    if CI and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if "could not import" in reason:
            report.outcome = "failed"
            report.longrepr = f"{reason}; CI is set, so every optional package must be installed"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """See skips raised inside a test or a fixture."""
    return _forbid_missing_package((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """See skips raised while a module is imported."""
    return _forbid_missing_package((yield))
