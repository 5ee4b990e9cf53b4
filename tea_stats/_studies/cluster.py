"""The studies on the workers of a Dask cluster."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin

from tea_stats._studies import reach

__all__ = ["Reach", "reach"]


class Reach(WorkerPlugin):
    """Makes `simulations` importable on every worker, those that join later included."""

    name = "tea_stats studies"

    def setup(self, worker: Any) -> None:
        """Run on each worker before its first job."""
        reach()
