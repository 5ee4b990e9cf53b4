"""Logs whose numbers would be wrong in silence: other columns, other tasks, copies, batches."""

from __future__ import annotations

import gzip
import json
import zipfile

import numpy as np
import pytest

pytest.importorskip("pyarrow")
import pandas as pd

from tea_stats import reward_log
from tea_stats.reward_log import LogError, agreement
from tea_stats.reward_log.chunks import of_records


def groups(log):
    pairs = zip(log.prompts, log, strict=True)
    return {str(label): sorted(rewards.tolist()) for label, rewards in pairs}


def lines(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def noted(log):
    return " ".join(log.reading.notes)


# --- sums of reward functions ---------------------------------------------------------------------


def completions(weights=(1.0, 1.0), **more):
    rng = np.random.default_rng(1)
    rows = []
    for prompt in ("p", "q"):
        scores = rng.choice([0.0, 0.5, 1.0], size=(2, 8))
        total = np.dot(weights, scores)
        advantages = (total - total.mean()) / (total.std(ddof=1) + 1e-4)
        for i in range(8):
            parts = {"correct": scores[0, i], "format": scores[1, i]}
            row = {"step": 3, "prompt": prompt, "completion": f"{prompt}{i}", **parts}
            rows.append({**row, **more, "advantage": np.float32(advantages[i])})
    return pd.DataFrame(rows)


def test_a_number_beside_the_rewards_is_no_part_of_their_sum(tmp_path):
    table = completions()
    table["completion_length"] = np.random.default_rng(2).integers(50, 900, len(table))
    table.to_parquet(tmp_path / "completions_00003.parquet")
    log = reward_log.read(tmp_path / "completions_00003.parquet")
    total = table["correct"] + table["format"]
    expected = {name: sorted(total[part.index]) for name, part in table.groupby("prompt")}
    assert groups(log) == expected
    assert "completion_length left out: with it the sum does not rank" in noted(log)


def test_weights_of_the_trainer_are_noticed(tmp_path):
    completions(weights=(1.0, -0.3)).to_parquet(tmp_path / "weighed.parquet")
    log = reward_log.read(tmp_path / "weighed.parquet")
    # correct alone may rank alike in few groups; here it does not
    assert "(--reward 'correct=1,format=1')" in noted(log)
    completions().to_parquet(tmp_path / "plain.parquet")
    assert "as TRL's is by default" in noted(reward_log.read(tmp_path / "plain.parquet"))


def test_agreement_is_about_ranks_within_a_prompt():
    rows = [
        {"prompt": "p", "a": 0.0, "b": 5.0, "advantage": -1.0},
        {"prompt": "p", "a": 1.0, "b": 3.0, "advantage": 1.0},
        {"prompt": "q", "a": -9.0, "b": 3.0, "advantage": 0.0},
        {"prompt": "q", "a": -9.0, "b": 3.0, "advantage": 1e-9},
    ]
    chunk = of_records("x", rows, range(4), "line")
    assert agreement.agrees(chunk, ("a",), "prompt", "advantage")
    assert not agreement.agrees(chunk, ("b",), "prompt", "advantage")
    assert agreement.largest(chunk, ("a", "b"), "prompt", "advantage") == ("a",)
    assert agreement.largest(chunk, ("b",), "prompt", "advantage") is None


# --- rows that are batches ------------------------------------------------------------------------


def test_a_row_that_is_a_batch_is_a_row_for_each_entry(tmp_path):
    rows = [
        {
            "step": step,
            "prompt": ["p", "p", "q", "q"],
            "completion": list("abcd"),
            "reward": [1.0, 0.0, 1.0, step],
        }
        for step in (1, 2)
    ]
    log = reward_log.read(lines(tmp_path / "batch.jsonl", rows))
    assert groups(log) == {"p": [0.0, 1.0], "q": [1.0, 2.0]} and log.reading.steps == (1, 2)
    named = [
        {
            "gen_step": [row["step"]] * 4,
            "prompt": row["prompt"],
            "completion": row["completion"],
            "Accuracy": row["reward"],
            "advantages": [1.0, -1.0, 1.0, -1.0] if row["step"] == 0 else [1.0, -1.0, -1.0, 1.0],
        }
        for row in rows
    ]
    named[0]["advantages"] = [1.0, -1.0, 0.0, 0.0]
    log = reward_log.read(lines(tmp_path / "completions.jsonl", named))
    assert groups(log) == {"p": [0.0, 1.0], "q": [1.0, 2.0]}
    assert log.reading.reward == "Accuracy" and not log.reading.notes


def test_one_prompt_made_of_several_texts_stays_one(tmp_path):
    rows = [{"prompt": ["be brief", "2 + 2?"], "reward": [0.0, 1.0]}]
    assert len(reward_log.read(lines(tmp_path / "log.jsonl", rows))) == 1
    chat = [{"prompt": [{"role": "user", "content": p}], "reward": [0.0, 1.0]} for p in "pq"]
    assert len(reward_log.read(lines(tmp_path / "chat.jsonl", chat))) == 2


# --- several tasks, models, copies ----------------------------------------------------------------


def evaluation(task, value, model="m"):
    samples = [
        {"id": i, "epoch": epoch, "input": "?", "scores": {"match": {"value": value}}}
        for i in (1, 2)
        for epoch in (1, 2)
    ]
    return {"version": 2, "eval": {"task": task, "model": model}, "samples": samples}


@pytest.mark.parametrize("archive", [False, True])
def test_samples_of_two_tasks_with_one_number_are_two(tmp_path, archive):
    paths = []
    for task, value in (("a", "C"), ("b", "I")):
        content = evaluation(task, value)
        path = tmp_path / (f"{task}.eval" if archive else f"{task}.json")
        if archive:
            with zipfile.ZipFile(path, "w") as log:
                log.writestr("header.json", json.dumps({"eval": content["eval"]}))
                for i, sample in enumerate(content["samples"]):
                    log.writestr(f"samples/{i}.json", json.dumps(sample))
        else:
            path.write_text(json.dumps(content))
        paths.append(path)
    ones, zeros = [1.0, 1.0], [0.0, 0.0]
    expected = {"a / 1": ones, "a / 2": ones, "b / 1": zeros, "b / 2": zeros}
    assert groups(reward_log.read(paths)) == expected
    assert groups(reward_log.read(paths[0])) == {"1": ones, "2": ones}
    again = tmp_path / ("again.eval" if archive else "again.json")
    again.write_bytes(paths[0].read_bytes())
    both = reward_log.read([paths[0], again])  # one task: its name tells nothing
    assert set(groups(both)) == {"1", "2"}


def test_counts_of_several_runs_add_up_and_models_are_named(tmp_path):
    rows = [
        {"model": m, "problem": p, "n": 100, "c": c} for m, c in (("A", 5), ("B", 50)) for p in "xy"
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "counts.csv", index=False)
    log = reward_log.read(tmp_path / "counts.csv")
    assert groups(log) == {p: [0.0] * 145 + [1.0] * 55 for p in "xy"}
    assert "several values of model (A, B), taken together (--by model" in noted(log)
    one = reward_log.read(tmp_path / "counts.csv", where="model=A")
    assert groups(one) == {p: [0.0] * 95 + [1.0] * 5 for p in "xy"} and not one.reading.notes
    # 0 or 1 of each rollout, n its number
    single = [{"problem": p, "n": i + 1, "correct": i % 2} for p in "xy" for i in range(4)]
    pd.DataFrame(single).to_csv(tmp_path / "single.csv", index=False)
    assert groups(reward_log.read(tmp_path / "single.csv")) == {
        p: [0.0, 0.0, 1.0, 1.0] for p in "xy"
    }


def test_counts_that_pandas_wrote_as_floats(tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text("problem,n,c\nx,4.0,1.0\ny,4.0,4.0\n")
    assert groups(reward_log.read(path)) == {"x": [0.0, 0.0, 0.0, 1.0], "y": [1.0] * 4}
    path.write_text("problem,n,c\nx,4.0,1.5\ny,4.0,4.0\n")
    with pytest.raises(LogError):
        reward_log.read(path)


def test_what_differs_within_a_prompt_and_step_is_noted(tmp_path):
    rows = [
        {"epoch": epoch, "step": step, "prompt": "p", "reward": 10 * epoch + step + i}
        for epoch in (0, 1)
        for step in (1, 2)
        for i in (0, 1)
    ]
    log = reward_log.read(lines(tmp_path / "epochs.jsonl", rows))
    assert "several values of epoch (0, 1)" in noted(log)
    running = [{**row, "step": row["step"] + 2 * row["epoch"]} for row in rows]
    assert not reward_log.read(lines(tmp_path / "running.jsonl", running)).reading.notes


def test_a_folder_with_a_log_and_its_copy_is_refused(tmp_path):
    rows = [{"prompt": "p", "reward": i} for i in range(3)]
    text = lines(tmp_path / "run.jsonl", rows).read_bytes()
    assert groups(reward_log.read(tmp_path)) == {"p": [0.0, 1.0, 2.0]}
    (tmp_path / "run.jsonl.gz").write_bytes(gzip.compress(text))
    with pytest.raises(LogError, match="run.jsonl and run.jsonl.gz, which may be one log twice"):
        reward_log.read(tmp_path)
    (tmp_path / "run.jsonl.gz").unlink()
    pd.DataFrame(rows).to_csv(tmp_path / "run.csv", index=False)
    with pytest.raises(LogError, match="name the files"):
        reward_log.read(tmp_path)
    lines(tmp_path / "other.jsonl", rows)
    (tmp_path / "run.csv").unlink()
    assert groups(reward_log.read(tmp_path)) == {"p": [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]}


def test_models_of_several_files_are_named(tmp_path):
    paths = [
        lines(
            tmp_path / f"{model}.jsonl",
            [
                {"instance_id": p, "model_name_or_path": model, "resolved": model == "a"}
                for p in "pq"
            ],
        )
        for model in "ab"
    ]
    log = reward_log.read(paths)
    assert groups(log) == {"p": [0.0, 1.0], "q": [0.0, 1.0]}
    assert "several values of model_name_or_path (a, b)" in noted(log)


def test_summaries_of_a_row_are_no_rollouts(tmp_path):
    table = {"problem": ["p", "q"], "r0": [0, 1], "r1": [1, 1], "mean": [0.5, 1.0], "std": [0.5, 0]}
    pd.DataFrame(table).to_csv(tmp_path / "matrix.csv", index=False)
    for wide in (True, False):
        log = reward_log.read(tmp_path / "matrix.csv", wide=wide)
        assert groups(log) == {"p": [0.0, 1.0], "q": [1.0, 1.0]}


def test_names_of_evaluations_that_score_one_metric(tmp_path):
    rows = [{"doc": {"id": p}, "metric": {"extractive_match": i % 2}} for p in "pq" for i in (0, 1)]
    log = reward_log.read(lines(tmp_path / "details.jsonl", rows))
    assert groups(log) == {"p": [0.0, 1.0], "q": [0.0, 1.0]}
    assert log.reading.reward == "metric.extractive_match"
    runs = [
        lines(
            tmp_path / f"output-rs{i}.jsonl",
            [{"problem": p, "symbolic_correct": i > 0} for p in "pq"],
        )
        for i in range(3)
    ]
    assert groups(reward_log.read(runs)) == {"p": [0.0, 1.0, 1.0], "q": [0.0, 1.0, 1.0]}
