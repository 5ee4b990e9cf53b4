"""Results on disk: whole files, work that is done once, names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulations.core import store
from tests.studies import replace_by_text, truncate

TABLE = pd.DataFrame({"value": np.arange(3.0)})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("table.parquet", TABLE),
        ("score.json", {"value": 0.5, "names": ["a"]}),
        ("part.npz", {"scores": np.arange(6.0).reshape(2, 3), "texts": np.array(["a", "b"])}),
    ],
)
def test_what_is_made_once_is_kept_until_it_is_damaged(name, content, tmp_path, capsys):
    path, made, skipped = tmp_path / "folder" / name, [], []

    def make():
        made.append(path)
        return content

    def once():
        return store.once(path, make, skipped=lambda: skipped.append(path))

    for same in (once(), once()):
        assert list(same) == list(content)
        assert all(np.array_equal(same[key], content[key]) for key in same)
    assert (len(made), len(skipped)) == (1, 1)
    for damage in (truncate, replace_by_text):
        damage(path)
        once()
        assert f"{path} is damaged (" in capsys.readouterr().err.replace("\n", "")
    assert (len(made), len(skipped)) == (3, 1)


def test_a_file_with_other_marks_is_made_again(tmp_path):
    path = tmp_path / "table.parquet"
    store.once(path, lambda: TABLE, block="one")
    pd.testing.assert_frame_equal(store.once(path, lambda: TABLE + 1, block="one"), TABLE)
    pd.testing.assert_frame_equal(store.once(path, lambda: TABLE + 1, block="two"), TABLE + 1)
    with pytest.raises(store.Damaged, match="its mark block is not one"):
        store.read(path, block="one")


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "table.parquet"
    store.write(TABLE, path)
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.write(TABLE + 1, path)
    pd.testing.assert_frame_equal(store.read(path), TABLE)


def test_labels_that_look_alike_have_folders_of_their_own():
    labels = ["a b", "a-b", "a (b)", "A b", "a  b"]
    assert len({store.slug(label).lower() for label in labels}) == len(labels)
