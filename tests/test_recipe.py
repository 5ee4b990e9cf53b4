"""The recipe's dry-run: its own scripts on random models of the same classes, on two processes.

The reward servers run here, training in two processes of torchrun, the rest by the commands.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

for package in ("torch", "transformers", "peft", "trl", "requests", "datasets"):
    pytest.importorskip(package)

import torch

from analysis.core import write
from analysis.lm import recipe as analysed, recipe_figures
from simulations.core import schema, store
from simulations.recipes import (
    check,
    data,
    evaluate,
    folder,
    generation,
    models,
    server,
    training,
)
from simulations.recipes.client import Client, Unreachable
from simulations.recipes.command import app
from simulations.recipes.schema import Recipe
from tea_stats import reward_log
from tea_stats.command_line import app as tea_stats

pytestmark = [
    pytest.mark.torch,
    pytest.mark.slow,
    pytest.mark.xdist_group("recipe"),
    # warnings of TRL, transformers and torch
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

ROOT = Path(__file__).parents[1]
m, N, ROLLOUTS, PROMPTS = 16, 32, 48, 3


class Dry:
    """The finished dry-run: its configuration, folder, runs and reward models."""

    def __init__(self, path, out, raters):
        self.path, self.out, self.raters = path, out, raters
        self.recipe = schema.read(Recipe, path)
        self.runs = {(run.scenario, run.arm): run for run in self.recipe.runs}

    def folder(self, scenario, arm):
        return folder.of_run(self.recipe, self.runs[scenario, arm], self.out)

    def evaluation(self, scenario, arm):
        place = self.folder(scenario, arm)
        return store.read(place.evaluation, **place.mark)

    def log(self, scenario, arm):
        with gzip.open(self.folder(scenario, arm).rewards, "rt") as lines:
            return pd.DataFrame([json.loads(line) for line in lines])


def command(*arguments):
    result = CliRunner().invoke(app, [str(x) for x in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    base = tmp_path_factory.mktemp("recipe")
    out, path = base / "out", base / "dry.toml"
    recipe = schema.read(Recipe, Path("recipe_dry"))
    text = (schema.GRIDS / "recipe_dry.toml").read_text()
    raters = {}
    with contextlib.ExitStack() as stack:
        for label, table in recipe.rewards.items():
            where = models.place(table, label, base)
            raters[label] = server.Rater(where, table, "cpu", "float32")
            served = stack.enter_context(server.serve(raters[label], "127.0.0.1", 0))
            threading.Thread(target=served.serve_forever, daemon=True).start()
            stack.callback(served.shutdown)
            port = served.server_address[1]
            text = text.replace(table.urls[0], f"http://127.0.0.1:{port}")
        path.write_text(text)
        torchrun = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone"]
        torchrun += ["--nproc_per_node", "2", "-m", "tea_stats", "recipe", "train"]
        done = subprocess.run(
            [*torchrun, path, "--out", out],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        command("evaluate", path, "--out", out)
        command("tables", path, "--out", out)
        yield Dry(path, out, raters)


SCENARIOS = ("tiny Llama", "tiny Qwen3")
ARMS = ("GRPO", "TEA", "max@m")
BOTH = pytest.mark.parametrize("scenario", SCENARIOS)


# --- training -------------------------------------------------------------------------------------


@BOTH
def test_two_processes_train_on_whole_groups(dry, scenario):
    plan = dry.recipe.training
    for arm in ARMS:
        log = dry.log(scenario, arm)
        groups = log.groupby(["step", "prompt"]).size()
        assert (groups == m).all() and len(groups) == plan.batch * plan.steps
        assert log["reward"].notna().all() and log.groupby("group")["reward"].std().min() > 0
        place = dry.folder(scenario, arm)
        steps = store.read(place.steps, **place.mark)
        assert (steps["processes"] == 2).all() and len(steps) == plan.steps
        # both processes' tokens; the trainer's own counts and the log's
        assert steps["drawn_tokens"].tolist() == log.groupby("step")["tokens"].sum().tolist()
        assert (steps[["draw_s", "rate_s", "update_s", "memory_GB"]] > 0).all(axis=None)
        means = log.groupby(["step", "prompt"])["reward"]
        for column, value in (("reward", means.mean()), ("best", means.max())):
            np.testing.assert_allclose(steps[column], value.groupby("step").mean())
        names = {path.name for path in place.path.iterdir()}
        assert not [name for name in names if name.startswith(("rewards-", "steps-", "checkp"))]


@BOTH
def test_arms_differ_in_their_advantages_alone(dry, scenario):
    first = {arm: dry.log(scenario, arm).query("step == 0") for arm in ARMS}
    later = {arm: dry.log(scenario, arm).query("step == 1") for arm in ARMS}
    for arm in ARMS[1:]:
        assert first[arm].drop(columns="group").equals(first["GRPO"].drop(columns="group"))
        assert later[arm]["prompt"].tolist() == later["GRPO"]["prompt"].tolist()
        assert later[arm]["reward"].tolist() != later["GRPO"]["reward"].tolist()
    assert later["TEA"]["reward"].tolist() != later["max@m"]["reward"].tolist()


def test_weights_or_adapters_are_kept(dry):
    llama, qwen = (dry.folder(scenario, "TEA").policy for scenario in SCENARIOS)
    assert (llama / "model.safetensors").exists() and not (qwen / "model.safetensors").exists()
    assert (qwen / "adapter_model.safetensors").exists()


def test_finished_runs_are_not_trained_again(dry, monkeypatch):
    monkeypatch.setattr(training, "Timed", None)  # to be called by nobody
    for run in dry.runs.values():
        training.train(dry.recipe, run, dry.out)
    assert command("runs", dry.path, "--out", dry.out, "--missing") == ""


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(dry, tmp_path, monkeypatch):
    run = dry.runs["tiny Qwen3", "TEA"]
    whole = training.train(dry.recipe, run, tmp_path / "whole")
    rate, asked = Client.rate, []

    def breaks(client, conversations):
        asked.append(len(conversations))
        if len(asked) == 2:
            raise Unreachable("the second step's rewards do not come")
        return rate(client, conversations)

    monkeypatch.setattr(Client, "rate", breaks)
    with pytest.raises(Unreachable):
        training.train(dry.recipe, run, tmp_path / "parts")
    place = folder.of_run(dry.recipe, run, tmp_path / "parts")
    assert training.latest(place.checkpoints).name == "checkpoint-1"
    # what a kill leaves in the log of a step that comes again
    with (place.path / "rewards-0.jsonl").open("a") as log:
        log.write('{"step": 1, "prompt": "x", "reward": 0.0, "tokens": 1}\n{"step": 1, "pro')
    parts = training.train(dry.recipe, run, tmp_path / "parts")
    assert len(asked) == 3
    assert parts.rewards.read_bytes() == whole.rewards.read_bytes()
    for path in whole.policy.glob("*.safetensors"):
        assert (parts.policy / path.name).read_bytes() == path.read_bytes()


def test_a_server_that_is_away_ends_training_with_one_line(dry, tmp_path):
    text = dry.path.read_text().replace("http://127.0.0.1:", "http://127.0.0.1:1")
    text = text.replace("batch = 25\n", "batch = 25\nretries = 0\n")
    (tmp_path / "away.toml").write_text(text)
    arguments = ["train", tmp_path / "away.toml", "--out", tmp_path / "out"]
    arguments += ["--only", dry.runs["tiny Llama", "TEA"].name]
    result = CliRunner().invoke(app, [str(x) for x in arguments])
    assert result.exit_code == 2 and "recipe serve` there" in result.stderr


def test_on_a_card_weights_that_train_are_float32(dry, tmp_path):
    backend = dry.recipe.backend.model_copy(update={"dtype": "bfloat16"})
    recipe = dry.recipe.model_copy(update={"backend": backend})
    for scenario in SCENARIOS:
        run = dry.runs[scenario, "TEA"]
        policy = recipe.policy(run)
        where = models.place(policy, recipe.scenario(run).policy, tmp_path)
        place = folder.of_run(recipe, run, tmp_path)
        trainer = training.Timed(
            model=where,
            processing_class=models.tokenizer(where),
            reward_funcs=lambda completions, **x: [0.0] * len(completions),
            train_dataset=training.Dataset.from_list([{"id": "x", "prompt": "y"}] * 4),
            args=training.settings(recipe, run, place, 1),
            peft_config=training.adapters(recipe, run),
            N=N,
            estimator="tea",
        )
        weights = list(trainer.model.parameters())
        assert {w.dtype for w in weights if w.requires_grad} == {torch.float32}
        frozen = {w.dtype for w in weights if not w.requires_grad}
        assert frozen == ({torch.bfloat16} if policy.lora_rank else set())
        assert trainer.args.bf16
    assert sum(w.numel() for w in weights if w.requires_grad) > 0


# --- evaluation -----------------------------------------------------------------------------------


@BOTH
def test_held_out_rewards_are_the_servers(dry, scenario):
    table = dry.evaluation(scenario, "TEA")
    assert len(table) == PROMPTS * ROLLOUTS
    log = pd.read_json(dry.folder(scenario, "TEA").heldout, lines=True, precise_float=True)
    assert log["reward"].tolist() == table["reward"].tolist()
    chosen = data.chosen(dry.recipe, "our own", dry.out)
    prompts = dict(data.part(chosen, "heldout"))
    assert set(log["prompt"]) == set(prompts)
    assert not set(log["prompt"]) & {name for name, _ in data.part(chosen, "train")}
    talk = [
        [*prompts[row.prompt], {"role": "assistant", "content": row.completion}]
        for row in log.itertuples()
    ]
    rater = dry.raters[dry.recipe.scenarios[scenario].reward]
    assert rater.rate(talk)[0] == pytest.approx(log["reward"].tolist(), abs=1e-4)
    # the start and each arm draw with the same seeds, and differ
    other = pd.read_json(dry.folder(scenario, "GRPO").heldout, lines=True, precise_float=True)
    assert other["completion"].tolist() != log["completion"].tolist()


@BOTH
def test_divergence_is_that_of_each_answer_alone(dry, scenario):
    run = dry.runs[scenario, "TEA"]
    policy, place = dry.recipe.policy(run), dry.folder(scenario, "TEA")
    start = models.place(policy, dry.recipe.scenarios[scenario].policy, dry.out)
    adapter = place.policy if policy.lora_rank else None
    where = start if adapter else str(place.policy)
    now = generation.loaded(dry.recipe, policy, where, adapter)
    then = generation.loaded(dry.recipe, policy, start, None)
    tokenizer = models.tokenizer(start)
    prompts = dict(data.part(data.chosen(dry.recipe, "our own", dry.out), "heldout"))
    kept = pd.concat([store.read(path) for path in sorted(place.path.glob("parts/*.parquet"))])
    kept = kept[kept["ids"] != ""]
    kl = dry.evaluation(scenario, "TEA").dropna(subset="kl")
    assert len(kept) == len(kl) == PROMPTS * dry.recipe.evaluation.kl
    for row in kept.itertuples():
        prefix = generation.spelled(tokenizer, prompts[row.prompt])
        answer = json.loads(row.ids)
        assert len(answer) == row.tokens
        ids = torch.tensor([[*prefix, *answer]])
        with torch.no_grad():
            gap = sum(
                sign
                * model(ids)
                .logits[0, len(prefix) - 1 : -1]
                .log_softmax(-1)[range(len(answer)), answer]
                .sum()
                .item()
                for model, sign in ((now, 1), (then, -1))
            )
        (value,) = kl.query("prompt == @row.prompt and rollout == @row.rollout")["kl"]
        assert value == pytest.approx(gap, abs=1e-4)
    assert kl["kl"].abs().max() > 1e-3
    untrained = folder.of_start(dry.recipe, scenario, dry.out)
    assert (store.read(untrained.evaluation, **untrained.mark)["kl"].dropna() == 0).all()


def test_rollouts_follow_the_policy():
    """The law of transformers' rollouts is the policy's own, whatever its page recommends."""
    recipe = schema.read(Recipe, Path("recipe_dry"))
    recipe = recipe.model_copy(
        update={"training": recipe.training.model_copy(update={"new_tokens": 1})}
    )
    policy = recipe.policies["tiny Llama"]
    with pytest.MonkeyPatch.context() as patch:
        # as Qwen3's page does: it would cut the law off
        patch.setattr(models, "causal", opinionated(models.causal))
        where = models.place(policy, "tiny Llama", Path(os.environ.get("TMPDIR", "/tmp")) / "dry")
        turns = [{"role": "user", "content": "Why?"}]
        (answers,) = generation.transformers(recipe, policy, where, None)([turns], 4000, [3])
        model, tokenizer = models.causal(where, policy), models.tokenizer(where)
    counts = np.bincount([answer.tokens[0] for answer in answers], minlength=policy.vocabulary)
    with torch.no_grad():
        ids = torch.tensor([generation.spelled(tokenizer, turns)])
        law = model(ids).logits[0, -1].double().softmax(-1).numpy()
    expected = 4000 * law
    order = np.argsort(expected)[::-1]
    # tokens of five expected answers or more, the rest together
    large = order[: int((expected >= 5).sum())]
    rest = 4000 - expected[large].sum()
    chi = ((counts[large] - expected[large]) ** 2 / expected[large]).sum()
    chi += (4000 - counts[large].sum() - rest) ** 2 / rest
    degrees = len(large)
    assert degrees > 50 and abs(chi - degrees) < 5 * np.sqrt(2 * degrees)


def test_vllm_is_asked_for_the_policys_own_law(monkeypatch):
    """Calls of the documented form; vLLM itself is not here."""
    made = []

    class LLM:
        def __init__(self, **settings):
            made.append(settings)
            self.llm_engine = SimpleNamespace(
                engine_core=SimpleNamespace(shutdown=lambda: made.append("shut down"))
            )

        def chat(self, turns, plans, lora_request, use_tqdm):
            made.append((turns, plans, lora_request))
            one = SimpleNamespace(text="a", token_ids=(5, 0), finish_reason="stop")
            cut = SimpleNamespace(text="b", token_ids=(5,), finish_reason="length")
            return [SimpleNamespace(outputs=[one, cut]) for _ in turns]

    request = lambda *what: what  # noqa: E731
    for name, content in {
        "vllm": {"LLM": LLM, "SamplingParams": lambda **x: x},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": request},
    }.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**content))
    recipe = schema.read(Recipe, Path("recipe"))
    policy = recipe.policies["Llama-3.1-8B, LoRA"]
    turns = [[{"role": "user", "content": x}] for x in "?!"]
    with generation.drawing(recipe, policy, "there", Path("adapters"), 2048) as draw:
        answers = draw(turns, 2, [7, 8])
    assert answers == [[("a", [5, 0], True), ("b", [5], False)]] * 2
    engine, (asked, plans, lora), end = made
    assert asked == turns and lora == ("trained", 1, "adapters") and end == "shut down"
    assert [plan["seed"] for plan in plans] == [7, 8]
    law = {"n": 2, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
    assert all(plan.items() >= {**law, "max_tokens": 512}.items() for plan in plans)
    assert engine["model"] == "there" and engine["max_lora_rank"] == policy.lora_rank
    assert engine["max_model_len"] >= 2048 + 512 and engine["gpu_memory_utilization"] == 0.6


def test_without_vllm_the_cure_is_named():
    recipe = schema.read(Recipe, Path("recipe"))
    with (
        pytest.raises(ValueError, match="vllm is not installed; pip install"),
        generation.drawing(recipe, recipe.policies["Llama-3.2-1B"], "there", None, 2048),
    ):
        pass


def opinionated(causal):
    def load(*arguments, **settings):
        model = causal(*arguments, **settings)
        model.generation_config.update(top_k=20, top_p=0.8, temperature=0.7, do_sample=True)
        return model

    return load


def test_a_killed_evaluation_goes_on(dry, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(dry.out, out)
    run = dry.runs["tiny Llama", "TEA"]
    place = folder.of_run(dry.recipe, run, out)
    before = place.evaluation.read_bytes()
    # times of drawing are measured, all else is the same
    columns = ["prompt", "rollout", "reward", "tokens", "ended", "kl"]
    expected = store.read(place.evaluation)[columns]
    place.evaluation.unlink()
    (place.path / "parts" / "2.parquet").unlink()
    drawn = []
    rollouts = evaluate.rollouts
    monkeypatch.setattr(evaluate, "rollouts", lambda *x: drawn.append(x[2]) or rollouts(*x))
    evaluate.evaluate(dry.recipe, run, out)
    assert drawn == [range(2, 3)] and before
    assert store.read(place.evaluation, **place.mark)[columns].equals(expected)


def test_answers_for_a_judge(dry):
    place = dry.folder("tiny Llama", "TEA")
    rows = [json.loads(line) for line in place.judge.read_text().splitlines()]
    log = pd.read_json(place.heldout, lines=True, precise_float=True)
    assert [row["N"] for row in rows] == [1, N] * PROMPTS
    for row in rows:
        first = log[log["prompt"] == row["prompt"]].head(row["N"])
        assert row["reward"] == first["reward"].max()
        assert row["completion"] in first["completion"].tolist()
        assert row["messages"][-1]["role"] == "user"


# --- logs, tables and figures ---------------------------------------------------------------------


def test_logs_are_read_by_predict_diagnose_and_compare(dry):
    place = dry.folder("tiny Llama", "TEA")
    for scenario in SCENARIOS:
        log = reward_log.read(dry.folder(scenario, "TEA").heldout)
        assert log.matrix().shape == (PROMPTS, ROLLOUTS)
        rewards = dry.folder(scenario, "TEA").rewards
        training_log = reward_log.read(rewards, prompt="group", step="all")
        assert training_log.matrix().shape == (8, m)
    for arguments in (
        ["predict", place.heldout, "--N", 64, "--json"],
        ["diagnose", place.rewards, "--prompt", "group", "--verdicts-only", "--json"],
        ["compare", place.heldout, dry.folder("tiny Llama", "GRPO").heldout, "--N", 32, "--json"],
    ):
        result = CliRunner().invoke(tea_stats, [str(x) for x in arguments])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)


@BOTH
def test_curves_are_means_over_all_subsets(dry, scenario):
    curves = store.read(dry.out / "curves.parquet")
    table = dry.evaluation(scenario, "TEA")
    rewards = table["reward"].to_numpy().reshape(PROMPTS, ROLLOUTS)
    two = np.array(list(combinations(range(ROLLOUTS), 2)))
    pairs = rewards[:, two].max(-1).mean()
    mine = curves.query("scenario == @scenario and estimator == 'TEA'").set_index("N")
    assert mine.loc[1, "value"] == pytest.approx(rewards.mean())
    assert mine.loc[2, "value"] == pytest.approx(pairs)
    assert mine["value"].is_monotonic_increasing and N in mine.index
    gap = store.read(dry.out / "differences.parquet").query(
        "scenario == @scenario and estimator == 'TEA' and N == @N"
    )
    values = curves.query("scenario == @scenario and N == @N").set_index("estimator")["value"]
    for against in ("GRPO", "start"):
        (row,) = gap[gap["against"] == against].itertuples()
        assert row.difference == pytest.approx(values["TEA"] - values[against])
        assert row.low <= row.difference <= row.high


def test_the_papers_table_and_figures_are_drawn(dry, tmp_path, capsys):
    analysed.main(dry.out, tmp_path, tmp_path / "summary")
    text = capsys.readouterr().out
    study = analysed.load(dry.out)
    rows = analysed.table(study)
    assert len(rows) == len(SCENARIOS) * len(ARMS)
    tea = rows[rows["estimator"] == "TEA"]
    assert (tea["published"] == 1.57).all() and tea["difference"].notna().all()
    assert rows[rows["estimator"] == "GRPO"]["difference"].isna().all()
    for value in [*tea["value"], *tea["difference"]]:
        assert f"{value:.3f}" in text
    assert text.count("+1.57") == len(SCENARIOS) and "arXiv:2605.10716" in text
    assert len(pd.read_csv(tmp_path / "recipe.csv")) == len(rows)
    for name in ("recipe_gain", "recipe_curves"):
        for kind in ("png", "pdf"):
            assert (tmp_path / f"{name}.{kind}").stat().st_size > 5000
    # the small copy draws the same
    copy = analysed.load(tmp_path / "summary")
    write.save({"again": lambda: recipe_figures.gain(copy)}, tmp_path, ["png"])
    again = analysed.table(copy)
    pd.testing.assert_frame_equal(again, rows, rtol=1e-5)


def test_the_figure_shows_ours_and_the_published_value(dry):
    study = analysed.load(dry.out)
    figure = recipe_figures.gain(study)
    axes = figure.axes[0]
    drawn = [line.get_xydata().tolist() for line in axes.get_lines()]
    place = [label.get_text() for label in axes.get_yticklabels()].index("TEA")
    (mine,) = study.at_trained(study.differences).query(
        "scenario == 'tiny Llama' and estimator == 'TEA' and against == 'GRPO'"
    )["difference"]
    assert [[1.57, place]] in drawn
    assert any(points and points[0] == pytest.approx([mine, place]) for points in drawn)


def test_results_of_another_configuration_are_refused(dry, tmp_path):
    (tmp_path / "other.toml").write_text(dry.path.read_text().replace("steps = 2", "steps = 3"))
    result = CliRunner().invoke(
        app, ["tables", str(tmp_path / "other.toml"), "--out", str(dry.out)]
    )
    assert result.exit_code == 2 and "holds results of another configuration" in result.stderr
    manifest = json.loads((dry.out / "manifest.json").read_text())
    assert manifest["configuration"]["training"]["steps"] == 2
    assert {"torch", "trl", "vllm"} <= set(manifest["runs"][-1]["packages"])


# --- without a card -------------------------------------------------------------------------------


def test_all_of_it_is_one_command(dry, tmp_path):
    """One arm of one scenario, one step; a second call finds everything done."""
    text = dry.path.read_text().replace("steps = 2", "steps = 1")
    cuts = (
        ('[scenarios."tiny Qwen3"]', "[backend]"),
        ('[rewards."tiny Qwen3 reward"]', '[prompts."our own"]'),
        ('[estimators."TEA"]', None),
    )
    for first, after in cuts:
        begin = text.index(first)
        text = text[:begin] + ("" if after is None else text[text.index(after) :])
    (tmp_path / "one.toml").write_text(text.replace("127.0.0.1", "127.0.0.1:1/"))
    out = tmp_path / "out"
    for _ in range(2):
        command("try", tmp_path / "one.toml", "--out", out)
        curves = store.read(out / "curves.parquet")
        assert set(curves["estimator"]) == {"GRPO", "start"}


def test_models_that_are_not_random_are_not_tried(tmp_path):
    result = CliRunner().invoke(app, ["try", "recipe", "--out", str(tmp_path)])
    assert result.exit_code == 2 and "rewards are served apart: `serve`, then" in result.stderr


def test_a_card_that_is_not_there_is_one_line(dry, tmp_path):
    text = dry.path.read_text().replace('device = "cpu"', 'device = "cuda:99"')
    (tmp_path / "card.toml").write_text(text)
    for arguments in (
        ["serve", "--reward", "tiny Llama reward"],
        ["train", "--only", dry.runs["tiny Llama", "TEA"].name],
    ):
        name, *more = arguments
        line = [name, tmp_path / "card.toml", "--out", tmp_path / "out", *more]
        result = CliRunner().invoke(app, [str(x) for x in line])
        assert result.exit_code == 2, result.output
        assert "backend.device is 'cuda:99', which torch" in result.stderr
        assert "`tea-stats recipe try`" in result.stderr


def test_training_without_vllm_names_the_cure(dry, tmp_path):
    text = dry.path.read_text().replace('generation = "transformers"', 'generation = "vllm"')
    (tmp_path / "vllm.toml").write_text(text)
    line = ["train", tmp_path / "vllm.toml", "--out", tmp_path / "out"]
    result = CliRunner().invoke(app, [*map(str, line), "--only", "tiny Llama/m16/TEA/N32/seed0"])
    assert result.exit_code == 2 and "vllm is not installed; pip install" in result.stderr


# --- the check ------------------------------------------------------------------------------------


def test_check_runs_a_little_and_names_what_deviates(dry, tmp_path):
    output = command(
        "check", dry.path, "--out", tmp_path, "--only", dry.runs["tiny Llama", "TEA"].name
    )
    rows = [line for line in output.splitlines() if "(" in line]
    assert len(rows) == 6 and "drawing while training" in output
    # a plan for a processor core is far from this one's speed
    assert "deviates" in output and "Deviates by more than 1.3" in output


def test_a_check_that_ends_in_its_own_process_says_why_in_a_line(capsys):
    def part(*_):
        raise ValueError("the reward server is away")

    with pytest.raises(SystemExit) as end:
        check._to_the_end(part, None, None, None)
    assert end.value.code == 2
    assert "error: the reward server is away" in capsys.readouterr().err


def test_check_compares_with_the_plan():
    line = check.Line("drawing", planned=100.0, measured=125.0, unit="tokens/s")
    assert line.ratio == 1.25 and not line.deviates
    assert check.Line("drawing", 100.0, 135.0, "tokens/s").deviates
    assert check.Line("drawing", 100.0, 70.0, "tokens/s").deviates
    assert "All within a factor of 1.3" in check.report([line])
