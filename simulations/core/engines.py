"""Where jobs are computed: processes of this machine, or a Dask cluster. Both are Executors."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING

from tea_stats import __version__

if TYPE_CHECKING:
    from distributed import Client

#: how long to wait for a scheduler
PATIENCE = "10s"
#: jobs are the parallelism; inside one, every sum keeps its order
ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


@contextmanager
def local(workers: int) -> Iterator[tuple[Executor, int]]:
    """Give an executor of this machine's processes, and how many jobs it computes at a time."""
    os.environ |= ONE_THREAD
    spawn = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_end_with_parent) as pool:
        try:
            yield pool, workers
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """End this worker when its parent is gone: a killed parent cannot stop its workers."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def dask(workers: int, address: str | None) -> Iterator[tuple[Executor, int]]:
    """Give an executor of a Dask cluster: the one at `address`, or processes of this machine.

    Workers, and the scheduler, need tea_stats installed in the version of this process. A worker
    that dies loses its jobs in progress; the scheduler gives them to another.

    Raises
    ------
    ValueError
        If dask.distributed is not installed, the address does not answer, no worker is there, or
        a worker has another version of tea_stats.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise ValueError(
            "engine is 'dask' and dask.distributed is not installed; "
            "pip install 'tea-stats[dask]', or give --engine local"
        ) from None
    os.environ |= ONE_THREAD
    with ExitStack() as stack:
        cluster = address or stack.enter_context(
            LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
            )
        )
        try:
            client = stack.enter_context(Client(cluster, timeout=PATIENCE))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"address is {address!r}, which does not answer ({error}); start "
                "`dask scheduler` there, and `dask worker` on each machine"
            ) from None
        threads = _threads(client, address)
        from tea_stats._studies.cluster import Reach, reach

        client.run_on_scheduler(reach)  # it unpickles jobs too
        client.register_plugin(Reach())
        yield client.get_executor(), threads


def _threads(client: Client, address: str | None) -> int:
    """Return the number of threads of a cluster; ValueError if a worker has another version."""
    versions = client.run(version, "tea-stats")
    if not versions:
        raise ValueError(f"address is {address!r}, which has no worker; start `dask worker` there")
    for worker, theirs in versions.items():
        if theirs != __version__:
            raise ValueError(
                f"worker {worker} has tea_stats {theirs}, not {__version__}; install the same one"
            )
    return sum(client.nthreads().values())
