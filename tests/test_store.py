"""Results on disk: whole files, work that is done once, names."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import typer

from simulations.core import command, engines, jobs, manifests, store
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


@pytest.mark.parametrize("name", ["table.parquet", "score.json", "part.npz"])
def test_a_file_of_another_job_is_not_taken(name, tmp_path):
    values = {"value": np.arange(2.0)} if name.endswith("npz") else {"value": [0.0, 1.0]}
    content = pd.DataFrame(values) if name.endswith("parquet") else values
    path = tmp_path / name
    store.write(content, path, job="one")
    assert list(store.read(path, job="one")) == ["value"]
    with pytest.raises(store.Damaged, match="its mark job is not two"):
        store.read(path, job="two")
    store.write(content, path)
    with pytest.raises(store.Damaged, match="its mark job is not one"):
        store.read(path, job="one")


def test_a_table_without_a_hash_is_of_an_earlier_version_and_accepted(tmp_path):
    path = tmp_path / "table.parquet"
    TABLE.to_parquet(path)
    pd.testing.assert_frame_equal(store.read(path), TABLE)


def test_a_table_whose_content_is_not_that_of_its_hash_is_damaged(tmp_path, monkeypatch):
    path = tmp_path / "table.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(store, "seal", lambda content: "0")
        store.write(TABLE, path)
    with pytest.raises(store.Damaged, match="its content is not that of its hash"):
        store.read(path)


def test_the_hash_is_of_values_whatever_pandas_calls_their_type():
    text = ["a", None, "b"]
    kinds = [pd.Series(text, dtype=kind) for kind in ("object", "string", "category")]
    assert len({store.seal(pd.DataFrame({"x": kind})) for kind in kinds}) == 1
    assert store.seal(TABLE) != store.seal(TABLE.astype("float32"))


# --- the manifest -------------------------------------------------------------------------------

IDENTITY = {"seed": 3, "laws": {"a": "Normal", "b": "Gumbel"}, "reps": {"8": 4}}


def opened(out, configuration=IDENTITY, **more):
    with manifests.run(
        out, manifests.describe(configuration, seeds={"master": 3}), **more
    ) as manifest:
        return manifest


def edit(path, *keys, value):
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("keys", "value", "reason"),
    [
        (("runs",), None, "runs is null"),
        (("runs",), [{}], "runs has {}"),
        (("runs",), [1], "runs has 1"),
        (("hash",), 7, "hash is 7"),
        (("hash",), "0" * 16, "hash is 0000000000000000, which is not that of its configuration"),
        (("configuration",), None, "configuration is null"),
        (("configuration",), [], r"configuration is \[\]"),
        (("configuration", "seed"), 4, "which is not that of its configuration"),
        (("configuration", "laws", "a"), "Beta", "which is not that of its configuration"),
        (("seeds", "master"), 4, "seeds is not that of its configuration"),
        (("seeds",), None, "seeds is not that of its configuration"),
    ],
)
def test_a_manifest_that_was_changed_is_refused_in_one_line(keys, value, reason, tmp_path):
    opened(tmp_path)
    edit(tmp_path / "manifest.json", *keys, value=value)
    before = (tmp_path / "manifest.json").read_bytes()
    with pytest.raises(store.Refused, match=rf"manifest\.json is damaged \(.*{reason}") as error:
        opened(tmp_path)
    assert "give another --out, or remove" in str(error.value) and "\n" not in str(error.value)
    assert (tmp_path / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    "text", ["null", "[]", "[1]", '"x"', "3", "{}", "", "{", "\x00", "[" * 9999]
)
def test_whatever_stands_in_a_manifest_is_one_line(text, tmp_path):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(store.Refused, match=r"manifest\.json is damaged .* give another --out"):
        opened(tmp_path)


def test_the_order_of_laws_is_part_of_the_identity_and_that_of_other_keys_is_not(tmp_path):
    opened(tmp_path)
    other = dict(reversed(IDENTITY.items()))
    assert len(opened(tmp_path, other)["runs"]) == 2
    other = IDENTITY | {"laws": {"b": "Gumbel", "a": "Normal"}}
    with pytest.raises(store.Refused, match=r"its laws are in the order a, b\); give them in that"):
        opened(tmp_path, other)


def test_a_run_killed_while_its_first_manifest_was_written_is_begun_again(tmp_path):
    (tmp_path / ".manifest.json.4242").write_text("{")
    assert len(opened(tmp_path)["runs"]) == 1


# --- the machine --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", sorted(store.CURES))
def test_an_error_of_the_machine_is_one_line_and_leaves_nothing(number, tmp_path, monkeypatch):
    path = tmp_path / "out" / "table.parquet"
    store.write(TABLE, path)

    def fail(self, *_):
        Path(os.fspath(self)).touch()
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(store.Refused, match=rf"^{path}: .*; {re.escape(store.CURES[number])}$"):
        store.write(TABLE + 1, path)
    assert [x.name for x in path.parent.iterdir()] == ["table.parquet"]
    pd.testing.assert_frame_equal(store.read(path), TABLE)


def test_commands_end_in_one_line_for_any_error_of_the_machine(capsys):
    with pytest.raises(typer.Exit) as ended, command.one_line_errors():
        open("/no/such/folder/file")
    assert ended.value.exit_code == 2
    error = capsys.readouterr().err
    assert error == f"error: /no/such/folder/file: no such file or directory; {store.FOLDER}\n"


# --- workers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "has"),
    [(PackageNotFoundError("tea-stats"), "no tea_stats"), ("0.0.1", "tea_stats 0.0.1")],
)
def test_a_worker_without_the_package_is_named_with_the_cure(theirs, has):
    versions = {"tcp://a:1": engines.__version__, "tcp://b:2": theirs}
    client = SimpleNamespace(run=lambda *_, on_error: versions if on_error == "return" else 1 / 0)
    cure = rf"pip install 'tea-stats=={engines.__version__}' there"
    with pytest.raises(ValueError, match=rf"^worker tcp://b:2 has {has}, not .*; {cure}"):
        engines._threads(client, "tcp://here:1")


def test_a_worker_that_lacks_a_module_is_one_line(tmp_path):
    def missing():
        raise ModuleNotFoundError("No module named 'simulations'", name="simulations")

    job = jobs.Job(tmp_path / "x.parquet", {}, missing, ())
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(ValueError, match="a worker lacks the module simulations; pip install"):
            list(jobs.compute([job], pool, 1))
