"""Write enumerated prompts as laws that other studies read: an .npz file each.

python -m simulations.lm.exact.export results/lm_exact --out FOLDER

A file REWARD-PROMPT.npz has the arrays rewards and logits (leaves,), log-probabilities before
training, and scores (leaves, d) along random directions of the adapters and in the core of the
head. A grid takes it as `family = "Leaves", file = "…"` (`simulations.core.leaves`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from simulations.core import store
from simulations.core.command import one_line_errors, tell
from simulations.core.store import slug
from simulations.lm.exact.plan import measured_scenarios
from simulations.lm.exact.schema import ExactStudy, Part
from simulations.lm.exact.study import Study


def export(results: Path, out: Path) -> list[Path]:
    """Write the laws of a results folder whose scores are known; return the files.

    Raises
    ------
    ValueError
        If there is no such folder, or it has no prompt with scores yet.
    """
    path = results / "manifest.json"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the results folder of an exact study")
    content = json.loads(path.read_text(encoding="utf-8"))["configuration"]
    jobs = Study(ExactStudy.model_validate(content), results)
    written = []
    for label in measured_scenarios(jobs.study, Part.all):
        for prompt in jobs.trained[: jobs.study.quality.count]:
            tree, rated, scored = jobs.files(label, prompt)
            if scored.exists() and rated.exists():
                parts = store.read(scored)
                arrays = {
                    "rewards": store.read(rated)["rewards"],
                    "logits": store.read(tree)["start"],
                    "scores": np.concatenate([parts["adapter"], parts["head"]], axis=1),
                }
                file = out / f"{jobs.study.scenarios[label].reward}-{slug(prompt.id)}.npz"
                store.write(arrays, file)
                written.append(file)
    if not written:
        raise ValueError(f"{results} has no prompt with scores; run --part quality")
    return written


def main(
    results: Annotated[Path, typer.Argument(help="Folder of simulations.validate_lm.")],
    out: Annotated[Path, typer.Option(help="Folder for the laws.")] = Path("results/lm_laws"),
) -> None:
    """Write enumerated prompts as laws that grids read."""
    with one_line_errors():
        files = export(results, out)
    tell(f"{out}: {len(files)} laws")


if __name__ == "__main__":
    typer.run(main)
