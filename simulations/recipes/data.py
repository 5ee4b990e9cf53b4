"""Prompts of the recipe: data sets of the Hub, or files of JSON lines, chosen once and kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simulations.core import store
from simulations.lm import first_line, prompts as files
from simulations.recipes import INSTALL
from simulations.recipes.schema import Prompts, Recipe

#: who speaks in a transcript, as in Anthropic/hh-rlhf
SPEAKER = re.compile(r"\n\n(Human|Assistant): ?")
ROLES = {"Human": "user", "Assistant": "assistant"}
Message = dict[str, str]


def chosen(recipe: Recipe, label: str, out: Path) -> pd.DataFrame:
    """Return the prompts of a study, which are chosen at the first call and then kept in `out`.

    Returns
    -------
    DataFrame
        Columns part ("train" or "heldout"), id, text and messages (a list as JSON). A prompt that
        is held out is in no other part.
    """
    import json

    table, plan = recipe.prompts[label], recipe.evaluation
    counts = {"heldout": plan.prompts, "train": recipe.training.prompts}

    def make() -> pd.DataFrame:
        rows, taken = [], set()
        for place, (part, count) in enumerate(counts.items()):
            found = [text for text in distinct(read(table, part)) if usable(table, text)]
            order = np.random.default_rng([recipe.seed, place]).permutation(len(found))
            mine = [found[i] for i in order if found[i] not in taken][:count]
            if len(mine) < count:
                raise ValueError(
                    f'prompts."{label}" has {len(mine)} prompts for {part} of at most '
                    f"{table.longest_bytes} bytes, fewer than {count}; reduce that number"
                )
            taken |= set(mine)
            for text in mine:
                spoken = json.dumps(messages(table, text), ensure_ascii=False)
                name = f"{part}-{store.digest(text)}"
                rows.append({"part": part, "id": name, "text": text, "messages": spoken})
        return pd.DataFrame(rows)

    key = store.digest([table.model_dump(exclude={"mean_tokens"}), counts, recipe.seed])
    path = out / "prompts" / f"{store.slug(label)}.parquet"
    kept: pd.DataFrame = store.once(path, make, prompts=key)
    return kept


def part(table: pd.DataFrame, name: str) -> list[tuple[str, list[Message]]]:
    """Return id and messages of a part's prompts."""
    import json

    rows = table[table["part"] == name]
    return [(x, json.loads(y)) for x, y in zip(rows["id"], rows["messages"], strict=True)]


def distinct(texts: Iterable[str]) -> list[str]:
    """Return texts without repetitions and blank ones, in their order."""
    return [text for text in dict.fromkeys(texts) if text.strip()]


def usable(table: Prompts, text: str) -> bool:
    """Return whether a prompt is short enough, and of its form."""
    if len(text.encode()) > table.longest_bytes:
        return False
    return table.form == "text" or bool(messages(table, text))


def messages(table: Prompts, text: str) -> list[Message]:
    r"""Return a prompt as messages, the last of which is the user's; [] if there are none such.

    Of a transcript the last answer is left out.

    Examples
    --------
    >>> two = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant: Well"
    >>> messages(Prompts(train="", heldout="", form="dialogue"), two)[-1]
    {'role': 'user', 'content': 'Why?'}
    """
    if table.form == "text":
        return [{"role": "user", "content": text}]
    start, *parts = SPEAKER.split(text)
    turns = [
        {"role": ROLES[who], "content": what.strip()}
        for who, what in zip(parts[::2], parts[1::2], strict=True)
    ]
    while turns and turns[-1]["role"] == "assistant":
        turns.pop()
    roles = [turn["role"] for turn in turns]
    alternate = roles == [("user", "assistant")[i % 2] for i in range(len(roles))]
    whole = not start.strip() and alternate and all(turn["content"] for turn in turns)
    return turns if whole else []


def read(table: Prompts, part: str) -> list[str]:
    """Return all texts of a part: of a data set's split, or of a file."""
    split = getattr(table, part)
    if table.source is None:
        return [prompt.text for prompt in files.read(split)]
    try:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed; {INSTALL}") from None
    where: dict[str, Any] = {"split": split}
    if table.folder is not None:
        where["data_dir"] = table.folder
    try:
        rows = load_dataset(table.source, **where)
        return [str(text) for text in rows[table.column]]
    except (OSError, ValueError, KeyError, DatasetsError) as error:
        raise ValueError(
            f"{table.source} cannot be read ({first_line(error)}); give a data set of the Hub with "
            f"the split {split!r} and the column {table.column!r}, or no source and two files"
        ) from None
