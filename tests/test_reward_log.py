"""Reward logs: the same rewards from every kind of file, one line for what is wrong with one."""

from __future__ import annotations

import gzip
import io
import json
import sys

import numpy as np
import pytest
from hypothesis import example, given, strategies as st

from tea_stats import reward_log
from tea_stats.estimators import ties
from tea_stats.reward_log import RewardLog, chunks

ROWS = [("b", 0.5), ("a", 1.0), ("b", -2.25), ("b", 1e-300), ("a", 0.1)]


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def json_lines(rows, prompt="prompt", reward="reward"):
    return "".join(json.dumps({prompt: p, reward: r, "other": [1]}) + "\n" for p, r in rows)


def csv_text(rows):
    return "reward,other,prompt\n" + "".join(f"{r!r},x,{p}\n" for p, r in rows)


# --- the log -------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5), min_size=1, max_size=6))
@example([[1e9, 999999999.9999999]])
def test_groups_go_in_and_come_out(groups):
    log = RewardLog.from_groups(groups)
    assert len(log) == len(groups)
    # rewards that are equal up to rounding are one value
    flat = iter(ties.rounded(np.concatenate(groups)).tolist())
    assert np.allclose(np.concatenate(list(log)), np.concatenate(groups), rtol=2e-15, atol=0.0)
    groups = [[next(flat) for _ in group] for group in groups]
    assert [list(group) for group in log] == groups
    assert log.sizes.tolist() == [len(group) for group in groups]
    again = {}
    for places, rewards in log.by_size():
        again |= {int(place): list(row) for place, row in zip(places, rewards, strict=True)}
    assert again == dict(enumerate(groups))
    if len(set(map(len, groups))) == 1:
        assert np.array_equal(log.matrix(), groups)
    else:
        with pytest.raises(ValueError, match=r"prompts have \d to \d rollouts; use by_size"):
            log.matrix()


@pytest.mark.parametrize(
    ("groups", "prompts", "message"),
    [
        ([], None, "groups is empty"),
        ([[1.0], []], None, r"groups\[1\]: rewards has shape .* no element"),
        ([[[1.0]]], None, r"groups\[0\] has shape \(1, 1\)"),
        ([[1.0], [np.nan]], None, r"groups\[1\]: rewards\[0\] is nan"),
        ([[1.0]], ["a", "b"], "prompts has 2 labels for 1 groups"),
    ],
)
def test_bad_groups(groups, prompts, message):
    with pytest.raises(ValueError, match=message):
        RewardLog.from_groups(groups, prompts)


# --- every kind of file --------------------------------------------------------------------------


def files(folder):
    """Return one file of each kind with the same rows."""
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    computed = [
        write(folder / "a.csv", csv_text(ROWS)),
        write(folder / "a.jsonl", json_lines(ROWS)),
        write(folder / "a.NDJSON", json_lines(ROWS).replace("\n", "\n\n")),
        write(folder / "bom.csv", "\ufeff" + csv_text(ROWS)),
    ]
    for path in computed[:2]:
        zipped = folder / (path.name + ".gz")
        zipped.write_bytes(gzip.compress(path.read_bytes()))
        computed.append(zipped)
    computed.append(folder / "a.parquet")
    pd.DataFrame(ROWS, columns=["prompt", "reward"]).to_parquet(computed[-1])
    lists = folder / "lists.jsonl"
    computed.append(write(lists, json_lines([("b", [0.5, -2.25, 1e-300]), ("a", [1.0, 0.1])])))
    computed.append(folder / "lists.parquet")
    pd.DataFrame({"prompt": ["b", "a"], "reward": [[0.5, -2.25, 1e-300], [1.0, 0.1]]}).to_parquet(
        computed[-1]
    )
    return computed


@pytest.mark.parametrize("chunk", [100_000, 2])
def test_every_kind_of_file_gives_the_same_log(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(chunks, "CHUNK", chunk)
    for path in files(tmp_path):
        log = reward_log.read(path)
        assert log.prompts == ("b", "a"), path
        assert [group.tolist() for group in log] == [[0.5, -2.25, 1e-300], [1.0, 0.1]], path


def test_names_of_columns_booleans_and_labels(tmp_path):
    messages = [[{"role": "user", "content": "?"}], [{"content": "?", "role": "user"}], [], []]
    rows = list(zip(messages, [True, False, 1, 0.5], strict=True))
    log = reward_log.read(
        write(tmp_path / "a.jsonl", json_lines(rows, "chat", "score")),
        prompt="chat",
        reward="score",
    )
    assert [group.tolist() for group in log] == [[1.0, 0.0], [1.0, 0.5]]
    assert json.loads(log.prompts[0]) == messages[0]
    text = 'prompt,reward\n"two\nlines",True\nnull,False\n"two\nlines",True\n'
    log = reward_log.read(write(tmp_path / "a.csv", text))
    assert log.prompts == ("two\nlines", "null")
    assert log.rewards.tolist() == [1.0, 1.0, 0.0]


def test_standard_input(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(json_lines(ROWS).encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    assert reward_log.read("-").prompts == ("b", "a")


def test_lists_without_prompts_are_a_prompt_each(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"reward": [1, 2]}\n{"reward": [3, true]}\n')
    log = reward_log.read(path)
    assert log.prompts == (1, 2)
    assert np.array_equal(log.matrix(), [[1.0, 2.0], [3.0, 1.0]])


def test_wide_files(tmp_path):
    text = "name,r_0,r_1,cost\nx,1,2,9\ny,3,,9\n"
    path = write(tmp_path / "a.csv", text)
    log = reward_log.read(path, wide=True, prompt="name", reward="r_*", drop_missing=True)
    assert log.prompts == ("x", "y")
    assert [group.tolist() for group in log] == [[1.0, 2.0], [3.0]]
    plain = reward_log.read(write(tmp_path / "b.csv", "p,q\n1,2\n3,4\n"), wide=True)
    assert plain.prompts == (1, 2)
    assert np.array_equal(plain.matrix(), [[1.0, 2.0], [3.0, 4.0]])


def test_missing_rewards_can_be_left_out(tmp_path):
    rows = [("a", 1.0), ("a", None), ("b", float("nan")), ("a", 2.0), ("c", float("inf"))]
    log = reward_log.read(write(tmp_path / "a.jsonl", json_lines(rows)), drop_missing=True)
    assert log.prompts == ("a",)
    assert log.rewards.tolist() == [1.0, 2.0]
    text = "prompt,reward\na,1\na,n/a\nb,\na,2\n"
    assert len(reward_log.read(write(tmp_path / "a.csv", text), drop_missing=True)) == 1


# --- what is wrong -------------------------------------------------------------------------------

BAD = {
    "no such column": ("a.csv", csv_text(ROWS), {"reward": "score"}, "no column 'score'; it has: "),
    "no such prompt": ("a.jsonl", json_lines(ROWS), {"prompt": "q"}, "no column 'q'.*--prompt"),
    "not there": ("b.csv", None, {}, "b.csv does not exist"),
    "empty csv": ("a.csv", "", {}, "a.csv is empty"),
    "header only": ("a.csv", "prompt,reward\n", {}, "a.csv is empty"),
    "empty jsonl": ("a.jsonl", "\n\n", {}, "a.jsonl is empty"),
    "empty lists": ("a.jsonl", '{"reward": []}\n', {}, "no reward that is a finite number"),
    "all missing": ("a.csv", "prompt,reward\na,\n", {"drop_missing": True}, "no reward that is"),
    "NaN": ("a.csv", 'prompt,reward\n"a\nb",1\n\na,\n', {}, r"line 5: .*nan.*--drop-missing"),
    "null": ("a.jsonl", '{"prompt":1,"reward":1}\n\n{"prompt":1,"reward":null}\n', {}, "line 3: "),
    "infinite": ("a.jsonl", '{"prompt":1,"reward":-Infinity}\n', {}, "line 1: the reward is -inf"),
    "text csv": (
        "a.csv",
        "prompt,reward\na,1\na,good\n",
        {},
        "line 3: reward is 'good', not a num",
    ),
    "text json": (
        "a.jsonl",
        json_lines([("a", 1.0), ("a", "two")]),
        {},
        "line 2: reward is 'two', not",
    ),
    "text in list": (
        "a.jsonl",
        '{"reward": [1, "x"]}\n',
        {},
        "line 1: reward is 'x', not a number",
    ),
    "no prompt": ("a.csv", "prompt,reward\n,1\n", {}, "line 2: prompt is missing; .*--prompt"),
    "one each": ("a.csv", "prompt,reward\na,1\nb,2\n", {}, "one rollout of each of its 2 prompts"),
    "spreadsheet": ("a.xlsx", "PK\x03\x04", {}, "File is not a zip file; the file is damaged"),
    "broken json": (
        "a.jsonl",
        '{"prompt":1,"reward":1}\n{"pro',
        {},
        "line 2: '{\"pro' is not a JSON",
    ),
    "array": ("a.jsonl", "[1, 2]\n", {}, "line 1: .* is not a JSON object; write one"),
    "broken csv": ("a.csv", 'prompt,reward\n"a,1\n', {}, "line 2: .*a quote is not closed"),
    "not parquet": ("a.parquet", "prompt", {}, "cannot be read as Parquet.*rename it"),
    "a row too long": (
        "a.csv",
        "prompt,reward\na,1\nb, c,1\n",
        {},
        "line 3: 'b, c,1' has 3 fields",
    ),
    "a row too short": ("a.csv", "prompt,reward\na,1\nb\n", {}, "line 3: 'b' has 1 fields"),
    "twice": ("a.csv", "prompt,reward,reward\na,1,2\n", {}, "two columns 'reward'; rename one"),
    "no names": ("a.csv", "0.5,0.25\n1,2\n", {}, "line 1: 0.5, 0.25 are numbers where names"),
    "wide text": ("a.csv", "p,q\na,b\n", {"wide": True}, "no column of numbers beside 'prompt'"),
    "wide none": ("a.csv", "p,q\n1,2\n", {"wide": True, "reward": "r*"}, "no column like 'r\\*'"),
    "wide mixed": ("a.csv", "p,q\n1,x\n", {"wide": True, "reward": "*"}, "line 2: q is 'x', not"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_line_says_file_row_and_cure(tmp_path, name):
    file, text, options, message = BAD[name]
    pytest.importorskip("pyarrow")
    path = tmp_path / file
    if text is not None:
        write(path, text)
    with pytest.raises(ValueError, match=message) as caught:
        reward_log.read(path, **options)
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_row_of_a_later_chunk_and_of_a_parquet_file(tmp_path, monkeypatch):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(chunks, "CHUNK", 3)
    rows = [("a", 1.0)] * 7 + [("a", None)]
    with pytest.raises(ValueError, match="line 8: "):
        reward_log.read(write(tmp_path / "a.jsonl", json_lines(rows)))
    pd.DataFrame(rows, columns=["prompt", "reward"]).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="row 8: "):
        reward_log.read(tmp_path / "a.parquet")


def test_arguments_of_the_wrong_type(tmp_path):
    path = write(tmp_path / "a.csv", csv_text(ROWS))
    for options in ({"prompt": 1}, {"reward": 2}, {"wide": 1}, {"drop_missing": "yes"}):
        with pytest.raises(TypeError, match=next(iter(options))):
            reward_log.read(path, **options)


def test_a_message_is_one_line_whatever_the_file_holds():
    message = str(reward_log.LogError("a.csv, line 1:\nx\x1b[31m\udce9\u2028y"))
    assert message == "a.csv, line 1: x\\x1b[31m\\udce9 y" and message.isprintable()
