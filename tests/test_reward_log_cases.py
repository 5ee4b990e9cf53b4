"""Troubles that people reported of their logs, `tests/reward_cases`, and what is right for each."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
from typer.testing import CliRunner

from tea_stats import reward_log
from tea_stats.command_line import app
from tea_stats.reward_log import LogError

CASES = Path(__file__).parent / "reward_cases"


def groups(log):
    return [(label, group.tolist()) for label, group in zip(log.prompts, log, strict=True)]


def run(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.mark.parametrize(
    ("file", "line"), [("some", 3), ("first", 2), ("shifted", 2), ("trailing", 2)]
)
def test_rows_longer_than_the_header_are_refused(file, line):
    with pytest.raises(
        LogError, match=rf"{file}.csv, line {line}: .* fields where .*; quote fields"
    ):
        reward_log.read(CASES / "02" / f"{file}.csv")
    done = run("predict", CASES / "02" / f"{file}.csv", "--N", 8)
    assert done.exit_code == 2 and f"line {line}" in done.stderr


@pytest.mark.parametrize("file", ["sections", "zeros", "hashes", "huge_exponent", "big"])
@pytest.mark.parametrize("chunk", [1, 8192])
def test_labels_that_look_like_numbers_are_text(file, chunk, monkeypatch):
    monkeypatch.setattr("tea_stats.reward_log.chunks.CHUNK", chunk)
    expected = {}
    with open(CASES / "03" / f"{file}.csv", newline="") as stream:
        for row in csv.DictReader(stream):
            expected.setdefault(row["prompt"], []).append(float(row["reward"]))
    assert groups(reward_log.read(CASES / "03" / f"{file}.csv")) == list(expected.items())


def test_labels_of_other_files_that_look_like_numbers(tmp_path):
    (tmp_path / "a.tsv").write_text("id\treward\n1.0\t1\n1\t2\n+1\t3\n1.0\t4\n")
    assert [label for label, _ in groups(reward_log.read(tmp_path / "a.tsv"))] == ["1.0", "1", "+1"]
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"prompt": ["1.1", "1.10", "1.1", "NA"], "reward": [1.0, 2, 3, 4]})
    for name in ("a.parquet", "a.csv", "a.json"):
        getattr(table, f"to_{name[2:]}")(tmp_path / name)
        assert len(reward_log.read(tmp_path / name)) == 3, name


def test_json_keeps_its_types_apart():
    log = reward_log.read(CASES / "03" / "json.jsonl")
    assert groups(log) == [(1, [1, 3]), (True, [2, 4]), ("1", [5])]
    assert [type(label) for label in log.prompts] == [int, bool, str]
    assert groups(reward_log.read(CASES / "03" / "string.jsonl")) == [
        ('["a"]', [1, 3]),
        ('["a"]', [2, 4]),
    ]


def test_the_index_of_pandas_is_no_rollout():
    with open(CASES / "09" / "matrix.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    values = np.array([[float(row[f"r{i}"]) for i in range(6)] for row in rows])
    for options in ({"wide": True}, {"wide": True, "reward": "r*"}, {}):
        log = reward_log.read(CASES / "09" / "matrix.csv", **options)
        assert np.array_equal(log.matrix(), values), options
        # the pattern matches no column but those
        assert log.prompts == tuple(row["prompt"] for row in rows)
    done = run("predict", CASES / "09" / "matrix.csv", "--wide", "--N", 4, "--method", "max_at_k",
               "--these-prompts", "--json")  # fmt: skip
    best = np.mean([[max(c) for c in itertools.combinations(row, 4)] for row in values])
    assert json.loads(done.stdout)["curves"]["max_at_k"]["value"][-1] == pytest.approx(best)
    assert "r0 … r5 (6 columns)" in json.loads(done.stdout)["reading"]["summary"]


def test_a_missing_prompt_of_a_nullable_column():
    pytest.importorskip("pyarrow")
    for command in ("predict", "diagnose"):
        done = run(command, CASES / "13" / "na.parquet", "--N", 4)
        assert done.exit_code == 2 and "row 2: prompt is missing; give every row one" in done.stderr


@pytest.mark.parametrize(
    "reward", ["1" + "0" * 400, "-1" + "0" * 400, "1e400", "[2, 1" + "0" * 400 + "]"]
)
def test_a_reward_beyond_the_largest_float(tmp_path, reward):
    path = tmp_path / "huge.jsonl"
    path.write_text(f'{{"prompt": "a", "reward": {reward}}}\n{{"prompt": "b", "reward": 2}}\n')
    with pytest.raises(LogError, match="line 1: the reward is -?inf, missing or not finite"):
        reward_log.read(path)
    with pytest.raises(LogError, match="line 1: the reward is inf"):
        reward_log.read(CASES / "14" / "huge.jsonl")


@pytest.mark.parametrize("file", ["text", "messages"])
def test_half_a_character_is_read_and_replaced_in_print(file):
    path = CASES / "15" / f"{file}.jsonl"
    assert reward_log.read(path).rewards.tolist() == [0.1, 0.4, 0.3, 0.9]
    options = ("--N", 4, "--method", "max_at_k", "--per-prompt")
    done = run("predict", path, *options)
    assert done.exit_code == 0 and "cut ?" in done.stdout
    labels = json.loads(run("predict", path, *options, "--json").stdout)["prompt_labels"]
    assert "cut ?" in labels[0]


def test_a_byte_order_mark_anywhere(tmp_path, monkeypatch):
    content = (CASES / "16" / "bom.jsonl").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert groups(reward_log.read("-")) == [("a", [0.1, 0.4, 0.3, 0.9])]
    (tmp_path / "two.jsonl").write_bytes(content + content)
    assert len(reward_log.read(tmp_path / "two.jsonl").rewards) == 8
    (tmp_path / "utf16.jsonl").write_text(content.decode("utf-8-sig"), encoding="utf-16")
    assert len(reward_log.read(tmp_path / "utf16.jsonl").rewards) == 4
    (tmp_path / "document.json").write_bytes(b"\xef\xbb\xbf" + b'[{"prompt": 1, "reward": [1, 2]}]')
    assert len(reward_log.read(tmp_path / "document.json").rewards) == 2


def test_a_byte_order_mark_before_the_toml_of_a_grid():
    pytest.importorskip("pydantic")
    from simulations.grid import schema

    assert schema.read(schema.Grid, CASES / "16" / "bom.toml").seed == 1


def test_a_folder_of_parts_is_read():
    pytest.importorskip("pyarrow")
    assert groups(reward_log.read(CASES / "27" / "run.parquet")) == [("a", [0, 1]), ("b", [0, 0.5])]
    assert run("predict", CASES / "27" / "run.parquet", "--N", 4).exit_code == 0


def test_rewards_of_tokens_are_refused(tmp_path):
    with pytest.raises(LogError, match="line 2: reward is a list of 3, .*for each token"):
        reward_log.read(CASES / "28" / "tokens.jsonl")
    # also where the rows of a prompt are far apart, or one of them is a single token
    path = tmp_path / "a.jsonl"
    rows = [{"prompt": p, "reward": [0, 1]} for p in range(9000)] + [
        {"prompt": 0, "reward": [0, 0]}
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(LogError, match="line 9001: .*so it is on line 1 for the same prompt"):
        reward_log.read(path)
    path.write_text('{"prompt": 1, "reward": [0.5]}\n{"prompt": 1, "reward": [1]}\n')
    assert reward_log.read(path).rewards.tolist() == [0.5, 1]
