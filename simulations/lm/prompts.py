"""Prompts: files of JSON lines, each with "id" and "prompt"."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "prompts"


@dataclass(frozen=True)
class Prompt:
    """One instruction, and its name in results."""

    id: str
    text: str


def read(path: Path | str, count: int | None = None) -> list[Prompt]:
    """Read the first `count` prompts of a file, or of one in simulations/prompts by its name.

    Raises
    ------
    ValueError
        If the file is missing, a line is malformed, or there are too few prompts; the message names
        file and line.

    Examples
    --------
    >>> read("pool", 1)[0].id
    'pool-001'
    """
    path = Path(path)
    if not path.suffix:
        path = FOLDER / f"{path}.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f'{path}: {reason}; give a file of lines {{"id": …, "prompt": …}}, or one of '
            f"{', '.join(sorted(file.stem for file in FOLDER.glob('*.jsonl')))}"
        ) from None
    prompts = [_parse(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    ids = [prompt.id for prompt in prompts]
    repeated = sorted({name for name in ids if ids.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}: id {repeated[0]!r} comes twice; give each prompt its own")
    if count is not None and len(prompts) < count:
        raise ValueError(
            f"{path} has {len(prompts)} prompts, fewer than the {count} needed; add some, or "
            "reduce count"
        )
    if not prompts:
        raise ValueError(f"{path} has no prompt; add a line")
    return prompts[:count]


def _parse(path: Path, number: int, line: str) -> Prompt:
    try:
        content = json.loads(line)
        name, text = content["id"], content["prompt"]
    except (ValueError, KeyError, TypeError):
        name = text = None
    if not (isinstance(name, str) and name and isinstance(text, str) and text.strip()):
        raise ValueError(
            f'{path}, line {number}: not a prompt; give {{"id": "a name", "prompt": "a text"}}'
        )
    return Prompt(name, text)
