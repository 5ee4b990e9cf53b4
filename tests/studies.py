"""What the tests of resumable studies share: a machine, a folder's contents, damage, a kill."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
GRIDS = ROOT / "simulations" / "grids"


@contextmanager
def one_thread():
    """Give an engine without the seconds that a process takes to start."""
    with ThreadPoolExecutor(1) as pool:
        yield pool, 1


def contents(out):
    """Every result of a folder, by file name, as text of its numbers."""
    files = sorted(path.relative_to(out) for path in out.rglob("*.parquet"))
    return {str(path): pd.read_parquet(out / path).to_csv(float_format="%r") for path in files}


# --- damage -------------------------------------------------------------------------------------


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    # inside the first column's data, where no length or offset stands
    content[60] ^= 0xFF
    path.write_bytes(bytes(content))


def replace_by_a_sibling(path):
    path.write_bytes(next(p for p in sorted(path.parent.iterdir()) if p != path).read_bytes())


def replace_by_text(path):
    path.write_text("not a table\n")


DAMAGE = [truncate, flip_a_byte, replace_by_a_sibling, replace_by_text]


# --- a kill -------------------------------------------------------------------------------------


def kill_and_resume(module, config, out, jobs):
    """Kill a study's command after three jobs, run it again, and return how many were kept."""
    psutil = pytest.importorskip("psutil")
    command = [sys.executable, "-m", module, str(config), "--workers", "1", "--out", out]
    options = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def finished():
        return len(list((out / jobs).rglob("[!.]*.parquet")))

    process = subprocess.Popen(command, **options)
    give_up = time.monotonic() + 120
    while finished() < 3 and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    # no worker is left behind
    assert workers and not psutil.wait_procs(workers, timeout=20)[1]
    kept = finished()
    assert kept >= 3 and not list(out.glob("*.parquet"))
    subprocess.run(command, check=True, **options)
    return kept
