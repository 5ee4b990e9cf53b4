"""Which column is what, by option or by name; steps, resumed logs, duplicates, several files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tea_stats import reward_log
from tea_stats.reward_log import LogError


def groups(log):
    return {str(label): group.tolist() for label, group in zip(log.prompts, log, strict=True)}


@pytest.fixture
def lines(tmp_path):
    def write(rows, name="a.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def rows(**columns):
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


# --- rewards -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        ("rewards.total", [1, 2]),
        ("rewards.parts.format", [0.5, 0.25]),
        ("rewards.total=2", [2, 4]),
        ("rewards.total+rewards.parts.format", [1.5, 2.25]),
        ("rewards.total=1, rewards.parts.format=-2", [0, 1.5]),
        (None, [1, 2]),
    ],
)
def test_nested_rewards_and_sums(lines, reward, expected):
    nested = [{"total": 1, "parts": {"format": 0.5}}, {"total": 2, "parts": {"format": 0.25}}]
    path = lines(rows(prompt=["a", "a"], rewards=nested))
    assert reward_log.read(path, reward=reward).rewards.tolist() == expected


def test_nested_columns_of_a_parquet_file(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.Table.from_pylist(
        rows(meta=[{"id": 7}, {"id": 7}], rewards=[{"total": 1.0}, {"total": 2.0}])
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    log = reward_log.read(tmp_path / "a.parquet", prompt="meta.id", reward="rewards.total")
    assert groups(log) == {"7": [1, 2]}


def test_columns_named_with_dots_and_commas_are_themselves(tmp_path):
    (tmp_path / "a.csv").write_text('"a,b",r.x,r\n1,5,6\n1,7,8\n')
    log = reward_log.read(tmp_path / "a.csv", prompt="a,b", reward="r.x")
    assert groups(log) == {"1": [5, 7]}


def test_a_missing_part_of_a_sum_counts_as_zero_and_is_said(lines):
    path = lines(rows(prompt=["a"] * 3, x=[1, None, 3], y=[10, 20, None]))
    log = reward_log.read(path, reward="x+y")
    assert log.rewards.tolist() == [11, 20, 3]
    assert any("2 missing parts of sums count as 0" in note for note in log.reading.notes)
    path = lines(rows(prompt=["a"] * 2, x=[1, None], y=[10, None]))
    with pytest.raises(LogError, match="line 2: the reward is nan"):
        reward_log.read(path, reward="x+y")


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"format_reward": [1, 2], "answer_reward": [1, 2]}, {}, "--reward 'format_reward=1,a"),
        ({"rewards": [{"a": 1, "b": 2}] * 2}, {}, "rewards holds a, b; name one .--reward re"),
        ({"reward": [1, 2]}, {"reward": "reward.x"}, "nothing at 'reward.x'"),
        ({"reward": [1, 2]}, {"reward": "reward=x"}, "the weight 'x' is not a number"),
        ({"reward": [1, 2]}, {"reward": "reward+y"}, "no column 'y'"),
        ({"reward": [1, 2]}, {"where": "split"}, "where is 'split'; give a column and its value"),
        ({"reward": [1, 2]}, {"where": "split=x"}, "no column 'split'"),
        ({"reward": [1, 2], "split": ["y", "y"]}, {"where": "split=x"}, "no row where split=x"),
        ({"reward": [1, 2]}, {"rollout": "n"}, "no column 'n'"),
        ({"reward": [1, 2], "step": [1, 1]}, {"step": 5}, "step is 5, but the log has the steps 1"),
        ({"reward": [1, 2], "step": [1, 2]}, {}, "at step 2;.*--step all"),
        ({"reward": [1, 2], "step": [1, None]}, {}, "line 2: step is None; give every row a step"),
        ({"reward": ["x", "y"]}, {"success": ">= x"}, "success is '>= x'; give a comparison"),
        ({"reward": [[1], {"a": 1}]}, {}, "line 2: reward is {'a': 1}, not a number"),
    ],
)  # fmt: skip
def test_one_line_for_columns_that_are_not_as_said(lines, columns, options, message):
    path = lines(rows(prompt=["a", "a"], **columns))
    with pytest.raises(ValueError, match=message) as caught:
        reward_log.read(path, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["0.5", " 1e-3 ", "-2"], [0.5, 1e-3, -2]),
        (["true", "False", "YES"], [1, 0, 1]),
        (["passed", "failed", "correct"], [1, 0, 1]),
        (["C", "I", "P"], [1, 0, 0.5]),
        (["passed", "failed: assert x == 3", "timed out"], [1, 0, 0]),
        (["right", "Wrong", "partial"], [1, 0, 0.5]),
        (["Accepted", "Wrong Answer", "Time Limit Exceeded"], [1, 0, 0]),
        (["4/5", "0/5", "5 / 5"], [0.8, 0, 1]),
        (["\N{MINUS SIGN}1", "+1", "\N{MINUS SIGN}0.5"], [-1, 1, -0.5]),
        ([True, 2, 0.25], [1, 2, 0.25]),
    ],
)
def test_rewards_as_text(lines, tmp_path, cells, expected):
    assert reward_log.read(lines(rows(prompt=["a"] * 3, reward=cells))).rewards.tolist() == expected
    text = "prompt,reward\n" + "".join(f"a,{cell}\n" for cell in cells)
    (tmp_path / "a.csv").write_text(text)
    assert reward_log.read(tmp_path / "a.csv").rewards.tolist() == expected


@pytest.mark.parametrize("cell", ["1_000", "1,000", "0x10", "85%", "good", "１,5", "1/0"])
def test_text_that_is_no_number(lines, cell):
    path = lines(rows(prompt=["a"] * 2, reward=["1", cell]))
    with pytest.raises(LogError, match="line 2: reward is .* not a number"):
        reward_log.read(path)


@pytest.mark.parametrize(
    ("success", "expected"),
    [
        (">= .5", [0, 1, 1]), ("> 0.5", [0, 0, 1]), ("== 1", [0, 0, 1]), ("1", [0, 0, 1]),
        ("< .5", [1, 0, 0]),
    ],
)  # fmt: skip
def test_success(lines, success, expected):
    path = lines(rows(prompt=["a"] * 3, reward=[0, 0.5, 1]))
    log = reward_log.read(path, success=success)
    assert log.rewards.tolist() == expected and log.is_binary


def test_success_of_text_and_of_sums(lines):
    path = lines(rows(prompt=["a"] * 3, reward=["ok", "wrong", "ok"], x=[1, 2, 3]))
    assert reward_log.read(path, success="== ok").rewards.tolist() == [1, 0, 1]
    assert reward_log.read(path, reward="x=2", success=">= 4").rewards.tolist() == [0, 1, 1]
    with pytest.raises(LogError, match="counts successes already"):
        counts = lines(rows(prompt=["a", "b"], n=[3, 4], c=[1, 2]))
        reward_log.read(counts, success=">= 1")


def test_numbers_of_a_semicolon_file(tmp_path):
    (tmp_path / "a.csv").write_text('prompt;reward\na;0,5\na;"1,25"\na;-3\na;1.5\n')
    assert reward_log.read(tmp_path / "a.csv").rewards.tolist() == [0.5, 1.25, -3, 1.5]
    (tmp_path / "a.csv").write_text("sep=;\nprompt;reward\na;1\na;x\n")
    with pytest.raises(LogError, match="line 4: reward is 'x'"):
        reward_log.read(tmp_path / "a.csv")


# --- prompts -------------------------------------------------------------------------------------


def test_two_columns_are_one_prompt(lines):
    path = lines(rows(task=["x", "y"] * 2, id=[1] * 4, reward=[1, 2, 3, 4]))
    assert groups(reward_log.read(path, prompt="task,id")) == {"x / 1": [1, 3], "y / 1": [2, 4]}


def test_numbers_of_any_kind_that_are_equal_are_one_prompt(lines):
    path = lines(rows(prompt=[1, 1.0, True, "1", "1.0"] * 2, reward=range(10)))
    log = reward_log.read(path)
    assert log.prompts == (1, True, "1", "1.0")
    assert [type(label) for label in log.prompts] == [int, bool, str, str]
    assert log.sizes.tolist() == [4, 2, 2, 2]


def test_where_keeps_rows(lines):
    path = lines(
        rows(prompt=["a"] * 6, split=["x", "y"] * 3, ok=[True, True, False] * 2, reward=range(6))
    )
    assert reward_log.read(path, where="split=x").rewards.tolist() == [0, 2, 4]
    assert reward_log.read(path, where=["split=x", "ok=true"]).rewards.tolist() == [0, 4]


def test_wide_leaves_out_what_is_no_rollout(tmp_path):
    text = ",prompt,step,r0,r1,r10\n0,a,1,.1,.2,.3\n1,b,1,.4,.5,.6\n"
    (tmp_path / "a.csv").write_text(text)
    for options in ({"wide": True}, {}, {"wide": True, "reward": "r*"}):
        log = reward_log.read(tmp_path / "a.csv", **options)
        assert log.matrix().tolist() == [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], options
    assert log.reading.reward == "r0, r1, r10 (3 columns)"


# --- steps ---------------------------------------------------------------------------------------


def test_the_last_step_is_used_and_said(lines):
    path = lines(rows(prompt=list("aabb") * 3, step=[2] * 4 + [10] * 4 + [9] * 4, reward=range(12)))
    log = reward_log.read(path)
    assert groups(log) == {"a": [4, 5], "b": [6, 7]}
    assert log.reading.steps == (2, 9, 10)
    assert "3 steps: the last one used (step = 10)" in log.reading.summary()
    assert "--step 2 … 10 or all, --by step" in log.reading.otherwise()
    for wanted in (9, "9", "9.0"):
        assert groups(reward_log.read(path, step=wanted)) == {"a": [8, 9], "b": [10, 11]}
    assert reward_log.read(path, step="all").sizes.tolist() == [6, 6]
    logs = reward_log.read_steps(path)
    assert list(logs) == [2, 9, 10] and groups(logs[10]) == groups(log)


def test_steps_in_the_names_of_files_and_in_text(lines, tmp_path):
    for step in (2, 10):
        lines(rows(prompt=["a"] * 2, reward=[step, step]), f"step_{step}/rollouts.jsonl")
    assert groups(reward_log.read(tmp_path)) == {"a": [10, 10]}
    assert list(reward_log.read_steps(tmp_path)) == [2, 10]
    path = lines(rows(prompt=["a"] * 4, model=["x", "x", "y", "y"], reward=range(4)))
    assert list(reward_log.read_steps(path, by="model")) == ["x", "y"]
    # a word that is 1 as a reward is no step 1
    path = lines(rows(prompt=["a"] * 4, model=["C", "C", "pass", "pass"], reward=range(4)))
    assert list(reward_log.read_steps(path, by="model")) == ["C", "pass"]
    with pytest.raises(LogError, match="no column of steps"):
        reward_log.read_steps(path)


def test_a_last_step_that_is_cut_off_is_noted(lines):
    path = lines(rows(prompt=["a"] * 14, step=[1] * 6 + [2] * 6 + [3] * 2, reward=range(14)))
    notes = reward_log.read(path).reading.notes
    assert any("the last step has 2 rollouts, others have 6" in note for note in notes)


# --- rewards that are not on the first level -----------------------------------------------------


def test_rewards_and_prompts_inside_objects(lines):
    inside = [{"score": r, "length": 7} for r in range(4)]
    path = lines(rows(prompt=["a"] * 4, metrics=inside))
    log = reward_log.read(path)
    assert (log.reading.reward, groups(log)) == ("metrics.score", {"a": [0, 1, 2, 3]})
    path = lines(rows(meta=[{"problem_id": k // 2} for k in range(4)], metrics=inside))
    assert groups(reward_log.read(path)) == {"0": [0, 1], "1": [2, 3]}
    # a reward of the row comes first
    path = lines(rows(prompt=["a"] * 4, reward=[9] * 4, metrics=inside))
    assert groups(reward_log.read(path)) == {"a": [9] * 4}


@pytest.mark.parametrize("name", ["samples", "generations", "Responses"])
def test_rollouts_in_a_list_of_objects(lines, tmp_path, name):
    def own(k):
        return [{"id": f"{k}-{i}", "text": "t", "score": k + i / 2} for i in range(3)]

    records = [{"id": k, "prompt": f"p{k}", name: own(k)} for k in range(2)]
    expected = {"p0": [0, 0.5, 1], "p1": [1, 1.5, 2]}
    log = reward_log.read(lines(records))
    assert groups(log) == expected
    assert f"rollouts in {name}" in log.reading.format
    (tmp_path / "a.json").write_text(json.dumps({"model": "m", "problems": {}, "data": records}))
    assert groups(reward_log.read(tmp_path / "a.json")) == expected
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pytest.importorskip("pyarrow").Table.from_pylist(records * 3)
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    log = reward_log.read(tmp_path / "a.parquet", step="all")
    assert groups(log) == {name: own * 3 for name, own in expected.items()}
    with pytest.raises(LogError, match=f"{name} holds what is no object"):
        reward_log.read(lines([*records, {"prompt": "q", name: [1]}]))


def test_comments_above_a_header(tmp_path):
    (tmp_path / "a.csv").write_text("# run 7\n# of May\nprompt,reward\na,1\na,2\n")
    assert groups(reward_log.read(tmp_path / "a.csv")) == {"a": [1, 2]}
    (tmp_path / "a.csv").write_text("# run 7\nprompt,reward\na,1\na,x\n")
    with pytest.raises(LogError, match="line 4"):
        reward_log.read(tmp_path / "a.csv")


def test_rewards_that_differ_by_rounding_are_equal(lines):
    one, other = 0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1
    log = reward_log.read(lines(rows(prompt=["a"] * 4, reward=[one, other, 0.0, 1e-12])))
    assert log.rewards.tolist() == [other, other, 0.0, 1e-12]
    assert reward_log.RewardLog.from_groups([[one, other]]).rewards.tolist() == [other, other]


# --- resumed logs and duplicates -----------------------------------------------------------------


def test_a_resumed_log_counts_once(lines):
    once = rows(prompt=list("aabb"), rollout_id=[0, 1, 0, 1], reward=[1, 2, 3, 4])
    path = lines(once + once[2:])
    log = reward_log.read(path)
    assert groups(log) == {"a": [1, 2], "b": [3, 4]}
    assert log.reading.repeated == 2
    assert groups(reward_log.read(path, rollout="none")) == {"a": [1, 2], "b": [3, 4, 3, 4]}
    # written again with other rewards: those of the run that went on
    later = lines([*once, *rows(prompt=["b"], rollout_id=[1], reward=[9])])
    log = reward_log.read(later)
    assert groups(log) == {"a": [1, 2], "b": [3, 9]}
    assert any("came again with another reward" in note for note in log.reading.notes)


def test_the_prompts_own_number_numbers_no_rollouts(lines):
    path = lines(rows(prompt=list("aabb"), sample_id=[7, 7, 8, 8], reward=[1, 1, 0, 0]))
    assert reward_log.read(path).sizes.tolist() == [2, 2]
    # a column that the user names is believed
    path = lines(rows(prompt=["a"] * 4, seed=[0, 0, 1, 1], reward=[1, 2, 3, 4]))
    assert reward_log.read(path, rollout="seed").rewards.tolist() == [2, 4]


def test_steps_number_their_rollouts_anew(lines):
    path = lines(
        rows(prompt=["a"] * 4, step=[1, 1, 2, 2], rollout_id=[0, 1, 0, 1], reward=range(4))
    )
    log = reward_log.read(path, step="all")
    assert log.rewards.tolist() == [0, 1, 2, 3] and log.reading.repeated == 0


def test_duplicate_completions(lines):
    path = lines(
        rows(
            prompt=list("abab" * 2),
            completion=["x", "x", "y", "z", "x", "z", None, "x"],
            reward=range(8),
        )
    )
    log = reward_log.read(path)
    texts = dict(zip(log.prompts, np.split(log.completions, log.offsets[1:-1]), strict=True))
    a, b = texts["a"], texts["b"]
    assert a[0] == a[2] and len(set(a.tolist())) == 3  # x, y, x and one without text
    assert b[0] == b[3] and b[1] == b[2] and b[0] != b[1]
    assert log.reading.duplicates == 3
    assert "3 duplicate completions" in log.reading.summary()
    assert reward_log.read(lines(rows(prompt=["a"] * 2, reward=[1, 2]))).completions is None


def test_texts_beside_lists_of_rewards(lines):
    path = lines([{"prompt": "a", "rewards": [1, 2, None], "responses": ["x", "x", "y"]}])
    log = reward_log.read(path, drop_missing=True)
    assert log.completions[0] == log.completions[1] and log.reading.dropped == 1


# --- several files -------------------------------------------------------------------------------


def test_files_globs_and_folders_are_one_log(lines, tmp_path):
    first = lines(rows(prompt=["a", "b"], reward=[1, 2]), "logs/2.jsonl")
    second = lines(rows(prompt=["a", "b"], reward=[3, 4]), "logs/10.jsonl")
    expected = {"a": [1, 3], "b": [2, 4]}
    for path in (
        [first, second],
        tmp_path / "logs",
        f"{tmp_path}/logs/*.jsonl",
        f"{tmp_path}/**/*.jsonl",
    ):
        log = reward_log.read(path)
        assert groups(log) == expected, path
        assert len(log.reading.files) == 2
    # the same file twice is read once
    assert groups(reward_log.read([first, second, first, tmp_path / "logs"])) == expected


def test_files_of_different_kinds_are_one_log(lines, tmp_path):
    first = lines(rows(prompt=["a", "b"], reward=[1, 2]))
    (tmp_path / "b.csv").write_text("extra,reward,prompt\n,3,a\n,4,b\n")
    log = reward_log.read([first, tmp_path / "b.csv"])
    assert groups(log) == {"a": [1, 3], "b": [2, 4]}
    (tmp_path / "c.csv").write_text("question,reward\na,3\n")
    with pytest.raises(LogError, match="c.csv has no column 'prompt', as .*a.jsonl has"):
        reward_log.read([first, tmp_path / "c.csv"])


def test_metadata_in_a_folder_is_left_out(lines, tmp_path):
    lines(rows(prompt=["a"] * 2, reward=[1, 2]), "run/rollouts.jsonl")
    (tmp_path / "run" / "config.json").write_text('{"lr": 1}')
    (tmp_path / "run" / "_SUCCESS").write_text("")
    (tmp_path / "run" / ".part.jsonl").write_text("{broken")
    assert groups(reward_log.read(tmp_path / "run")) == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nothing.jsonl", "does not exist; give the path of a file, a folder or a glob"),
        ("*.nothing", "matches no file"),
        ("empty", "is a folder without a file whose name ends in"),
    ],
)
def test_paths_that_are_nothing(tmp_path, path, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LogError, match=message):
        reward_log.read(tmp_path / path)
    with pytest.raises(LogError, match="no file is given"):
        reward_log.read([])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04\x95", "is a pickle"),
        (b"SQLite format 3\0", "is an SQLite database"),
        (b"PK\x03\x04", "cannot be read as an inspect_ai log"),
        (b"a,b\0c\n", "zero bytes"),
        (b"\x28\xb5\x2f\xfdxxx", "cannot be decompressed"),
    ],
)
def test_files_that_are_no_logs(tmp_path, content, message):
    pytest.importorskip("pyarrow")
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(LogError, match=message):
        reward_log.read(tmp_path / "a.csv")


def test_what_was_read_as_content(lines):
    path = lines(rows(prompt=["a"] * 3, reward=[1, 2, None], other=[1, 2, 3]))
    reading = reward_log.read(path, drop_missing=True).reading
    content = reading.content()
    assert (content["rows"], content["dropped"], content["others"]) == (3, 1, ("other",))
    assert content["summary"] == "prompt = prompt, reward = reward, 1 prompt × 2, 1 reward dropped"
    assert reading.lines()[0] == f"read (JSON lines): {content['summary']}"
    json.dumps(content)
