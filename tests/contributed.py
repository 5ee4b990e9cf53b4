"""Apply the blocks of docs/contributing.md to a copy of the repository, as a contributor would."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "contributing.md"
#: what a contributor's work needs of the repository
PARTS = ("analysis", "docs", "paper", "simulations", "tea_stats", "tests")


def copy(folder):
    """Copy the repository, compiled kernels included, without results or built pages."""
    skipped = shutil.ignore_patterns("_build", "generated", "build", "*.npz", "*.png")
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=skipped)
    for name in ("README.md", "pyproject.toml"):
        shutil.copy2(ROOT / name, folder / name)


def apply(folder, title):
    """Apply the blocks of a section, its files and its changes; return the files touched."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.M | re.S)
    touched = []
    for kind, block in re.findall(r"^```(python|diff)\n(.*?)^```", section, re.M | re.S):
        if kind == "python":
            first, _, text = block.partition("\n")
            touched.append(folder / first.removeprefix("# "))
            assert not touched[-1].exists()
            touched[-1].write_text(text, encoding="utf-8")
            continue
        for change in block.split("--- ")[1:]:
            name, _, lines = change.partition("\n")
            touched.append(folder / name)
            touched[-1].write_text(patched(touched[-1].read_text("utf-8"), lines), "utf-8")
    return touched


def patched(text, change):
    """Insert the lines marked + after the line above them, which the text has once."""
    lines = text.splitlines()
    for above, added in re.findall(r"^ (.*)\n((?:\+.*\n)+)", change, re.M):
        assert lines.count(above) == 1, above
        place = lines.index(above) + 1
        lines[place:place] = [line.removeprefix("+") for line in added.splitlines()]
    return "\n".join([*lines, ""])
