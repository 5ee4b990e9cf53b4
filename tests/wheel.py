"""Install the wheel into a bare environment, outside the repository, and run what the README shows.

python tests/wheel.py                                      the newest versions of everything
python tests/wheel.py --constraint tests/lowest.txt        the lowest that are supported
python tests/wheel.py --python python3.13 --keep /tmp/env  another interpreter; keep the environment

`--tests` also runs the fast tests there; `--training` installs torch and the extra `lm` as well,
trains a random model, and draws the figures. It needs a package index, and nothing else of ours.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: a wheel that is larger has something in it that nobody meant to ship
LARGEST = 6e6
#: writes a log like the tutorial's: 64 prompts, 64 rollouts each
LOG = """
import json, numpy as np
rewards = np.random.default_rng(0).gumbel(size=(64, 64))
for prompt, row in enumerate(rewards):
    for reward in row:
        print(json.dumps({"prompt": prompt, "reward": reward}))
"""
#: a grid of seconds, of which the figures below can be drawn
GRID = """
seed = 1
m = [8, 16]
N = [32, 64]
reps = { 8 = 2000, 16 = 2000 }
[laws.Normal]
family = "Normal"
[estimators.TEA]
name = "tea"
[estimators."max@m"]
name = "max_at_k"
"""
#: where the package came from, what stands in site-packages under its names, the index's page
PLACES = """
import importlib.metadata as m, importlib.util as u, json, tea_stats
names = ("simulations", "analysis")
clashes = [x for x in names if u.find_spec(x)]
text = m.metadata("tea-stats").get_payload()
print(json.dumps([tea_stats.__file__, tea_stats.__version__, clashes, text]))
"""
#: the part of the tests that needs nothing but the extra `sim`, two minutes of it
FAST = (
    *("affine", "beta_binomial", "estimators_definitions", "estimators_tea", "estimators_unbiased"),
    *("families_finite", "linear_tea", "monte_carlo", "order_statistics", "reward_log", "store"),
    *("tails", "installed", "grid", "analysis_report", "command_line_laws"),
)


class Trial:
    """An environment with nothing but the wheel, and an empty folder to work in."""

    def __init__(self, python: str, folder: Path, constraint: Path | None) -> None:
        self.folder, self.bin = folder / "work", folder / "env" / "bin"
        self.constraint = () if constraint is None else ("--constraint", str(constraint.resolve()))
        self.folder.mkdir(parents=True)
        subprocess.run([python, "-m", "venv", folder / "env"], check=True)

    def install(self, *what: str) -> None:
        """Install from the package index, within the constraints."""
        pip = (self.bin / "python", "-m", "pip", "--disable-pip-version-check", "-q")
        subprocess.run([*pip, "install", *self.constraint, *what], check=True)

    def run(self, *command: str, code: int = 0, says: str = "", **options: str) -> str:
        """Run a command of the environment; its output must contain `says`."""
        plain = {x: y for x, y in os.environ.items() if not x.startswith("PYTHON")}
        print("$", *(x if "\n" not in x else "…" for x in command), flush=True)
        done = subprocess.run(
            [self.bin / command[0], *command[1:]],
            cwd=self.folder,
            env={**plain, "COLUMNS": "120", **options},
            capture_output=True,
            text=True,
        )
        output = done.stdout + done.stderr
        if done.returncode != code or says not in output:
            sys.exit(f"{output}\nexit code {done.returncode}, expected {code} and {says!r}")
        return done.stdout if code == 0 else done.stderr


def build(folder: Path) -> Path:
    """Build the wheel from a source distribution's content; return its path."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / 1e6:.1f} MB")
    assert size < LARGEST, f"{wheel.name} has {size:,} bytes; more than {LARGEST:,.0f}"
    return wheel


def library(trial: Trial, wheel: Path) -> None:
    """Try the library without extras."""
    trial.install(str(wheel))
    place, version, clashes, readme = json.loads(trial.run("python", "-c", PLACES))
    assert str(trial.bin.parent) in place and f"-{version}-" in wheel.name, (place, version)
    inside = trial.bin.parent.glob("lib/*/site-packages/tea_stats/_studies/top_level/*")
    assert {path.name for path in inside} == {"simulations", "analysis"}
    assert not clashes, f"top-level modules in site-packages: {clashes}"
    assert readme.startswith("# tea_stats") and "pip install 'tea-stats[cli" in readme
    relative = re.findall(r"\]\((?!https?:)[^)]*\)|<img", readme)
    assert not relative, f"an index cannot show {relative}"
    error = trial.run("tea-stats", code=1, says="pip install 'tea-stats[cli]'")
    assert len(error.splitlines()) == 1, error


def commands(trial: Trial, wheel: Path) -> None:
    """Try the command line and the studies."""
    trial.install(f"{wheel}[sim]")
    (trial.folder / "rewards.jsonl").write_text(trial.run("python", "-c", LOG))
    (trial.folder / "tiny.toml").write_text(GRID)
    trial.run("tea-stats", "predict", "rewards.jsonl", "--N", "1024", says="backtest")
    trial.run("tea-stats", "diagnose", "rewards.jsonl", "--verdicts-only", says="Gaussian tail")
    trial.run("tea-stats", "estimators", says="auto_tea")
    trial.run("tea-stats", "simulate", "Normal", "tea", "--batches", "20", says="cosine")
    trial.run("tea-stats", "grid", "tiny.toml", says="results/tiny/table.parquet")
    trial.run("tea-stats", "grid", "nosuch", code=2, says="or one of bandit")
    trial.run("tea-stats", "figures", "results/tiny", "--only", "bias_vs_m", says="1 of 1 figures")
    trial.run("tea-stats", "report", "results/tiny", says="Least error")
    # the summaries that come with the package
    trial.run("tea-stats", "ranking", "league", says="auto TEA")
    trial.run("tea-stats", "figures", "lm_pool", says="4 figures")
    trial.run("tea-stats", "figures", "paper", "--only", "winners", says="1 of 1 figures")
    # each study's own help; without torch, training ends in one line
    for name in ("bandit", "pools", "explorer", "slopes"):
        trial.run("tea-stats", name, "--help", says=f"tea-stats {name}")
    if "No module" in trial.run(
        "python", "-c", "try: import torch\nexcept ImportError as e: print(e)"
    ):
        trial.run("tea-stats", "validate", code=2, says="pip install 'tea-stats[lm]'")


def training(trial: Trial, wheel: Path, torch: str) -> None:
    """Train a random model of two layers, by rollouts and by enumeration; draw what came out."""
    trial.install(torch)
    trial.install(f"{wheel}[sim,lm]")
    for preset in ("smoke", "exact_smoke"):
        out = f"results/lm_{preset}"
        trial.run("tea-stats", "validate", "--preset", preset, "--out", out)
        # a second call has nothing left to do
        trial.run("tea-stats", "validate", "--preset", preset, "--out", out)
        trial.run("tea-stats", "figures", out, says="figures")


def tests(trial: Trial) -> None:
    """Run the fast tests on the installed wheel's dependencies."""
    trial.install("hypothesis", "mpmath", "pytest", "pytest-xdist")
    files = [str(ROOT / "tests" / f"test_{name}.py") for name in FAST]
    # one cache of kernels per environment: those of other versions are not of use here
    cache = {"NUMBA_CACHE_DIR": str(trial.folder / "numba"), "CI": ""}
    marks = "not slow and not torch and not dask and not browser"
    # matplotlib tries whether an array of one number is finite, of which numpy 2.0 warns
    quiet = "ignore:Conversion of an array with ndim:DeprecationWarning"
    options = (
        "-q",
        "-p",
        "no:cacheprovider",
        "-n",
        "2",
        "--hypothesis-profile",
        "fixed",
        "--rootdir",
        str(ROOT),
        "-W",
        quiet,
    )
    output = trial.run(
        "python", "-m", "pytest", *options, "-m", marks, *files, says=" passed", **cache
    )
    print(output.strip().splitlines()[-1])


def main() -> None:
    """Build, install and try."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--python", default=sys.executable)
    options.add_argument("--constraint", type=Path)
    options.add_argument("--tests", action="store_true")
    options.add_argument("--training", action="store_true")
    options.add_argument("--torch", default="torch", help="what pip installs as torch")
    options.add_argument("--keep", type=Path, help="a folder for the environment")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.keep or Path(temporary)).resolve()
        wheel = build(Path(temporary))
        trial = Trial(chosen.python, folder, chosen.constraint)
        library(trial, wheel)
        commands(trial, wheel)
        if chosen.tests:
            tests(trial)
        if chosen.training:
            training(trial, wheel, chosen.torch)
    print("the wheel works")


if __name__ == "__main__":
    main()
