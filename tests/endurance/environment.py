"""Run a small grid and its figures where the machine refuses: each ends in one line, and resumes.

python -m tests.endurance.environment     # some minutes; as root it mounts full and read-only disks

Each trouble is set up, the command is run in a process of its own, its end is checked (one line
that begins with "error:", no traceback, nothing half-written left behind), the trouble is taken
away, and the same command must then give the tables of a run without trouble, to the bit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from tests.studies import ROOT, contents

GRID = """
seed = 3
m = [8, 16]
N = [16, 64]
block_rewards = 8192
reps = { 8 = 30_000, 16 = 12_000 }

[laws.Normal]
family = "Normal"

[laws.Gumbel]
family = "Gumbel"

[estimators.TEA]
name = "tea"

[estimators."linear TEA"]
name = "linear_tea"
"""

Command = list[str]


def run(command: Command, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of the project, after a line of shell such as a limit."""
    shell = f'{before}\nexec "$0" "$@"'
    arguments = ["bash", "-c", shell, sys.executable, "-m", *command]
    environment = {**os.environ, "COLUMNS": "400"}
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, env=environment)


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line in which a command ended; AssertionError if it ended otherwise."""
    assert done.returncode in (1, 2), f"ended with {done.returncode}: {done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(line.split(": ")) >= 3 and "; " in line, line
    return line


def leftovers(folder: Path) -> list[Path]:
    """Return what was begun and not finished."""
    return [path for path in folder.rglob(".*") if path.is_file()]


# --- troubles -------------------------------------------------------------------------------------


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a disk in memory; root only."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a mounted disk."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def full_disk(config: Path, folder: Path, kilobytes: int) -> Command:
    """Fill a disk of this size, then enlarge it; return the command that resumes."""
    disk = folder / "disk"
    command = ["simulations.grid", str(config), "--out", str(disk / "out")]
    line = error_of(run(command))
    assert "no space left" in line and "free some space" in line, line
    assert not leftovers(disk), leftovers(disk)
    remount(disk, "size=50m")
    return command


def full_when_finished(config: Path, folder: Path) -> Command:
    """Fill the disk of a finished study, whose manifest is written again by another run."""
    disk = folder / "disk"
    command = ["simulations.grid", str(config), "--out", str(disk / "out")]
    assert run(command).returncode == 0
    manifest = (disk / "out" / "manifest.json").read_bytes()
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"0" * 512)
    assert "no space left" in error_of(run(command))
    assert (disk / "out" / "manifest.json").read_bytes() == manifest
    assert not leftovers(disk / "out")
    filler.unlink()
    return command


def read_only(config: Path, folder: Path, finished: bool) -> Command:
    """Make the disk read-only, before the study or when it is finished."""
    disk = folder / "disk"
    command = ["simulations.grid", str(config), "--out", str(disk / "out")]
    if finished:
        assert run(command).returncode == 0
    remount(disk, "ro")
    line = error_of(run(command))
    assert "read-only" in line and "make it writable" in line, line
    remount(disk, "rw")
    return command


def read_only_figures(config: Path, folder: Path) -> Command:
    """Draw figures onto a read-only disk."""
    disk, out = folder / "disk", folder / "out"
    command = ["simulations.grid", str(config), "--out", str(out)]
    assert run(command).returncode == 0
    remount(disk, "ro")
    figures = ["analysis.figures", str(out), "--out", str(disk / "figures"), "--only", "bias_vs_m"]
    line = error_of(run(figures))
    assert "read-only" in line and "make it writable" in line, line
    remount(disk, "rw")
    assert run(figures).returncode == 0
    return command


def bad_out(config: Path, folder: Path, place: str, prepare: Callable[[Path], object]) -> Command:
    """Give an --out that is no folder."""
    prepare(folder)
    line = error_of(run(["simulations.grid", str(config), "--out", str(folder / place)]))
    assert "--out" in line, line
    return ["simulations.grid", str(config), "--out", str(folder / "another")]


def few_files(config: Path, folder: Path) -> Command:
    """Allow 16 open files."""
    command = ["simulations.grid", str(config), "--out", str(folder / "out")]
    line = error_of(run(command, "ulimit -n 16"))
    assert "too many open files" in line and "ulimit" in line, line
    assert not leftovers(folder / "out")
    return command


def a_file(folder: Path) -> None:
    (folder / "file").write_text("x")


#: by name: what is done, and the disk it needs
TROUBLES: dict[str, tuple[Callable[[Path, Path], Command], str]] = {
    "out is a file": (lambda c, f: bad_out(c, f, "file", a_file), ""),
    "out is under a file": (lambda c, f: bad_out(c, f, "file/out", a_file), ""),
    "out is too long": (lambda c, f: bad_out(c, f, "x" * 300, lambda folder: None), ""),
    "out is a dangling link": (
        lambda c, f: bad_out(c, f, "link", lambda folder: (folder / "link").symlink_to("nowhere")),
        "",
    ),
    "out is under a dangling link": (
        lambda c, f: bad_out(c, f, "link/x", lambda folder: (folder / "link").symlink_to("/no/x")),
        "",
    ),
    "16 open files": (few_files, ""),
    "disk full at the start": (lambda c, f: full_disk(c, f, 0), "size=4k"),
    "disk full in a block": (lambda c, f: full_disk(c, f, 40), "size=40k"),
    "disk full when finished": (full_when_finished, "size=2m"),
    "read-only parent": (lambda c, f: read_only(c, f, finished=False), "size=2m"),
    "read-only results": (lambda c, f: read_only(c, f, finished=True), "size=2m"),
    "read-only figures": (read_only_figures, "size=2m"),
}


def check(name: str, folder: Path) -> None:
    """Go through one trouble; AssertionError if it ends otherwise than it should."""
    (folder / "grid.toml").write_text(GRID)
    config = folder / "grid.toml"
    trouble, disk = TROUBLES[name]

    def resumed() -> dict[str, str]:
        command = trouble(config, folder)
        done = run(command)
        assert done.returncode == 0, done.stderr
        return contents(Path(command[-1]))

    if disk:
        with mounted(folder / "disk", disk):
            tables = resumed()
    else:
        tables = resumed()
    assert run(["simulations.grid", str(config), "--out", str(folder / "whole")]).returncode == 0
    assert tables == contents(folder / "whole")


def may_mount() -> bool:
    """Return whether a disk can be mounted here."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
        try:
            if subprocess.run(command, capture_output=True).returncode:
                return False
        except OSError:
            return False
        subprocess.run(["umount", folder], check=True)
        return True


def main(
    only: Annotated[list[str] | None, typer.Option(help="A trouble; may be repeated.")] = None,
) -> None:
    """Go through every trouble that this machine can make."""
    mounts, failed, skipped = may_mount(), 0, 0
    chosen = only or list(TROUBLES)
    for name in chosen:
        disk = TROUBLES[name][1]
        if disk and not mounts:
            skipped += 1
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(name, Path(folder))
            except AssertionError as error:
                failed += 1
                print(f"{name}: FAILED: {error}")
            else:
                print(f"{name}: one line, resumed to the same tables", flush=True)
    print(f"{len(chosen) - skipped} troubles, {failed} failed, {skipped} need root")
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    typer.run(main)
