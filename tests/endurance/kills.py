"""Kill studies at random moments, resume them, and compare every table with an undisturbed run's.

python -m tests.endurance.kills --kills 20 --study grid --study training    # default: all

A run is killed (SIGKILL, to the command alone or to its whole process group) after a random time,
again and again, until the study is finished: then its tables must be those of a run that nobody
killed, to the bit, and a new folder is begun. Workers must end with the command that started them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from tests.studies import ROOT

GRID = """
seed = 3
m = [8, 16]
N = [16, 64]
block_rewards = 65536
[precision]
relative_se = 0.01
max_reps = 200_000
[laws.Normal]
family = "Normal"
[laws.Gumbel]
family = "Gumbel"
[estimators.TEA]
name = "tea"
[estimators."Prefix-TEA"]
name = "prefix_tea"
m = [16]
[response]
m = [16]
N = [64]
"""
BANDIT = """
seed = 2
responses = 128
steps = 12
rollouts = 32
runs = 64
tuning_runs = 8
quality_draws = 256
kl_limit = 0.5
reference = "TEA .5"
fractions = [0.5]
budgets = [[8, 32], [16, 64]]
[laws.Normal]
family = "Normal"
[laws.Gumbel]
family = "Gumbel"
[policies.features]
step_sizes = [0.1, 0.2, 0.4]
[estimators."TEA .5"]
name = "tea"
alpha = 0.5
[estimators.RLOO]
name = "rloo"
"""
POOLS = """
seed = 4
model = "tiny"
count = 2
rollouts = 96
new_tokens = 6
rows = 16
rewards = ["letters"]
[measure]
rewards = ["letters"]
m = [8]
N = [32]
reps = 64
reference = "TEA .5"
estimators."TEA .5" = { name = "tea", alpha = 0.5 }
"""


@dataclass(frozen=True)
class Study:
    """A study to be killed: its configuration, its command, the columns that are times."""

    config: str
    command: tuple[str, ...]
    times: tuple[str, ...] = ()

    def arguments(self, folder: Path) -> list[str]:
        """Return the command with its folder and its configuration in place."""
        places = {"CONFIG": folder.parent / "config.toml", "OUT": folder, "POOLS": folder / "pools"}
        return [sys.executable, "-m", *(str(places.get(word, word)) for word in self.command)]


STUDIES = {
    "grid": Study(GRID, ("simulations.grid", "CONFIG", "--workers", "2", "--out", "OUT")),
    "bandit": Study(BANDIT, ("simulations.bandit", "CONFIG", "--workers", "2", "--out", "OUT")),
    "pools": Study(
        POOLS, ("simulations.lm_pool", "draw", "CONFIG", "--out", "OUT", "--pools", "POOLS")
    ),
    "training": Study(
        (ROOT / "simulations" / "grids" / "lm_smoke.toml").read_text(encoding="utf-8"),
        ("simulations.validate_lm", "--config", "CONFIG", "--out", "OUT"),
        ("seconds_sample", "seconds_reward", "seconds_advantage", "seconds_update"),
    ),
    "exact": Study(
        (ROOT / "simulations" / "grids" / "lm_exact_smoke.toml").read_text(encoding="utf-8"),
        ("simulations.validate_lm", "--config", "CONFIG", "--out", "OUT"),
    ),
}


def started(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, with its messages in a file."""
    with log.open("wb") as file:
        return subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)


def results(study: Study, folder: Path) -> dict[str, str]:
    """Return every table and array of a folder as text, times left out."""
    texts = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path).drop(columns=list(study.times), errors="ignore")
            texts[name] = frame.to_csv(float_format="%r")
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                texts[name] = repr({key: arrays[key].tolist() for key in arrays.files})
    return texts


def alive(group: int) -> bool:
    """Return whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def killed(name: str, kills: int, seed: int = 0) -> tuple[int, int]:
    """Kill a study so many times; return how many there were, and how many studies were finished.

    Raises
    ------
    AssertionError
        If a table differs, a resumed run fails, or a worker outlives its command.
    """
    study, rng = STUDIES[name], np.random.default_rng([seed, *name.encode()])
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "config.toml").write_text(study.config, encoding="utf-8")
        whole, log = Path(place) / "whole", Path(place) / "messages"
        begun = time.monotonic()
        assert started(study.arguments(whole), log).wait() == 0, log.read_text()
        seconds, expected = time.monotonic() - begun, results(study, whole)
        done = finished = 0
        while done < kills:
            folder = Path(place) / f"killed{finished}"
            while True:
                process = started(study.arguments(folder), log)
                try:
                    moment = rng.uniform(0.1, 1.0) * seconds
                    assert process.wait(moment) == 0, log.read_text()[-3000:]
                    break
                except subprocess.TimeoutExpired:
                    # the command alone, or its workers with it
                    kill = os.kill if rng.integers(2) else os.killpg
                    kill(process.pid, signal.SIGKILL)
                    process.wait()
                    done += 1
                deadline = time.monotonic() + 60.0
                while alive(process.pid):
                    assert time.monotonic() < deadline, f"{name}: a worker is left"
                    time.sleep(0.05)
            assert results(study, folder) == expected, f"{name}: a table differs"
            finished += 1
    return done, finished


def main(
    kills: Annotated[int, typer.Option(min=1, help="Kills of each study.")] = 20,
    study: Annotated[list[str] | None, typer.Option(help="May be repeated. Default: all.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Kill studies, and print how often each was killed."""
    for name in study or STUDIES:
        done, finished = killed(name, kills, seed)
        print(f"{name}: {done} kills, {finished} finished studies, every table equal", flush=True)


if __name__ == "__main__":
    typer.run(main)
