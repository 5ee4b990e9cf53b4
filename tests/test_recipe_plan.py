"""The recipe's configuration and plan: sizes of real models, hand numbers, one-line errors."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from simulations.core import schema
from simulations.recipes import check, plan, plan_text, sizes
from simulations.recipes.command import app
from simulations.recipes.schema import Policy, Recipe

ROOT = Path(__file__).parents[1]
CONTENT = tomllib.loads((schema.GRIDS / "recipe.toml").read_text(encoding="utf-8"))
RECIPE = schema.read(Recipe, Path("recipe"))
#: parameters, as the models' pages on the Hub have them (safetensors)
PUBLISHED = {
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "Qwen/Qwen3-4B-Instruct-2507": 4_022_468_096,
    # those of Llama-3.1-8B and Qwen3-8B, whose vocabulary gave way to one output
    "Skywork/Skywork-Reward-V2-Llama-3.1-8B": 8_030_261_248 - 128_256 * 4096 + 4096,
    "Skywork/Skywork-Reward-V2-Qwen3-8B": 8_190_735_360 - 151_936 * 4096 + 4096,
}
MODELS = {**RECIPE.policies, **RECIPE.rewards}


def run_of(name):
    return next(run for run in RECIPE.runs if run.name == name)


def changed(**tables):
    """Return the recipe with some keys of its tables changed, validated again."""
    content = {key: value for key, value in CONTENT.items()}
    for name, change in tables.items():
        content[name] = {**content[name], **change} if isinstance(change, dict) else change
    return Recipe.model_validate(content)


# --- what the paper's experiment is ---------------------------------------------------------------


def test_it_is_the_experiment_of_the_paper():
    names = {table.name for table in RECIPE.estimators.values()}
    assert names == {
        *("grpo", "grpo_z", "bon_max_mean", "bon_rl", "cat_bon", "tea", "prefix_tea"),
        *("max_at_k", "auto_tea"),
    }
    assert {(s.m, s.N) for s in RECIPE.scenarios.values()} == {((16, 64), (128, 512))}
    pairs = {(s.policy, s.prompts) for s in RECIPE.scenarios.values()}
    assert len(pairs) == len(RECIPE.policies) * len(RECIPE.prompts) == 6
    assert {model.source for model in MODELS.values()} == set(PUBLISHED)
    assert RECIPE.evaluation.rollouts >= 512 and RECIPE.seeds >= 3
    published = {(x.estimator, x.against, x.m, x.N): x.difference for x in RECIPE.published}
    assert published == {("TEA", "GRPO", None, 128): 1.57, ("TEA", "GRPO", 16, 512): 0.867}
    # estimators that learn from the batch see enough groups
    assert RECIPE.training.batch >= 16


def test_an_arm_that_is_the_same_for_several_N_is_trained_once():
    mine = [x for x in RECIPE.runs if x.scenario == RECIPE.runs[0].scenario and not x.seed]
    budgets = {arm: [x.N for x in mine if x.arm == arm and x.m == 16] for arm in RECIPE.estimators}
    for arm in ("GRPO", "GRPO-Z", "BoN max-mean", "max@m"):
        assert budgets[arm] == [(128, 512)], arm
    for arm in ("TEA", "Prefix-TEA", "CAT-BoN", "BoN-RL (Chow)", "auto TEA"):
        assert budgets[arm] == [(128,), (512,)], arm
    assert len({run.name for run in RECIPE.runs}) == len(RECIPE.runs)
    # 6 scenarios × 2 m × (4 + 5 × 2) arms × 3 seeds
    assert len(RECIPE.runs) == 504


@pytest.mark.parametrize(
    ("table", "label", "key", "value", "same"),
    [
        ("policies", "Llama-3.2-1B", "mean_tokens", 123, True),
        ("policies", "Llama-3.2-1B", "rate", 1e-5, False),
        ("prompts", "UltraFeedback", "mean_tokens", 99, True),
        ("prompts", "UltraFeedback", "longest_bytes", 1000, False),
        ("rewards", "Skywork-V2-Llama-8B", "urls", ["http://there:1"], True),
        ("rewards", "Skywork-V2-Llama-8B", "source", "another", False),
        ("backend", None, "vllm_share", 0.3, True),
        ("backend", None, "dtype", "float32", False),
        ("training", None, "save_every", 10, True),
        ("training", None, "temperature", 0.7, False),
        ("card", None, "training_share", 0.1, True),
        ("estimators", "TEA", "alpha", 0.5, False),
    ],
)
def test_what_the_check_corrects_leaves_results_valid(table, label, key, value, same):
    change = {key: value} if label is None else {label: {**CONTENT[table][label], key: value}}
    other = changed(**{table: change})
    assert other != RECIPE
    assert (other.identity == RECIPE.identity) == same
    assert (other.content == RECIPE.content) == same


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", MODELS)
def test_parameters_are_the_published_ones(label):
    assert sizes.parameters(MODELS[label]) == PUBLISHED[MODELS[label].source]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers for an old name
@pytest.mark.parametrize("label", MODELS)
def test_parameters_are_those_of_transformers(label):
    torch = pytest.importorskip("torch")
    hub = pytest.importorskip("transformers")
    model = MODELS[label]
    kind = "Qwen3" if model.kind == "qwen3" else "Llama"
    task = "CausalLM" if isinstance(model, Policy) else "SequenceClassification"
    config = getattr(hub, f"{kind}Config")(
        vocab_size=model.vocabulary,
        hidden_size=model.width,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        num_key_value_heads=model.kv_heads,
        head_dim=model.head_size,
        intermediate_size=model.inner,
        tie_word_embeddings=model.tied,
        num_labels=1,
    )
    with torch.device("meta"):
        built = getattr(hub, f"{kind}For{task}")(config)
    assert sum(weight.numel() for weight in built.parameters()) == sizes.parameters(model)
    if isinstance(model, Policy) and model.lora_rank:
        peft = pytest.importorskip("peft")
        adapters = peft.LoraConfig(r=model.lora_rank, target_modules="all-linear")
        with torch.device("meta"):
            built = peft.get_peft_model(built, adapters, low_cpu_mem_usage=True)
        count = sum(w.numel() for w in built.parameters() if w.requires_grad)
        assert count == sizes.trained(model)


# --- hand numbers ---------------------------------------------------------------------------------


def test_memory_by_hand():
    run = run_of("Llama-3.2-1B, UltraFeedback/m16/TEA/N128/seed0")
    memory = plan.memory(RECIPE, run)
    P, R = 1.2358144, 7.504928768
    assert sizes.parameters(RECIPE.rewards["Skywork-V2-Llama-8B"]) / 1e9 == pytest.approx(R)
    # float32 weights, two moments, 4 GB of context: 12 bytes a parameter
    assert plan.total(memory.lasting) == pytest.approx(12 * P + 4, rel=1e-9)
    assert plan.total(memory.drawing) == pytest.approx(0.4 * 80)
    # gradient and bfloat16 copies: 6 bytes; 8 rollouts of 512 + 512 tokens: 16 layers × 2048 × 2
    # bytes each, and (10 × 2048 + 4 × 8192) × 2 bytes in the layer at work
    tokens = 8 * 1024
    activations = tokens * (16 * 2048 * 2 + (10 * 2048 + 4 * 8192) * 2) / 1e9
    assert plan.total(memory.updating) == pytest.approx(6 * P + activations, rel=1e-9)
    rated = 16384 * (10 * 4096 + 4 * 14336) * 2 / 1e9
    assert memory.server == pytest.approx(2 * R + rated)
    assert memory.training_peak == pytest.approx(12 * P + 4 + 32, rel=1e-9)


def test_memory_with_adapters_by_hand():
    run = run_of("Llama-3.1-8B, UltraFeedback/m16/TEA/N128/seed0")
    # a layer's maps: q, o (4096, 4096), k, v (4096, 1024), three of (4096, 14336)
    A = 32 * 32 * (2 * 8192 + 2 * 5120 + 3 * 18432) / 1e9
    lasting = 2 * 8.030261248 + 4 * A + 8 * A + 4
    assert plan.total(plan.memory(RECIPE, run).lasting) == pytest.approx(lasting, rel=1e-9)


def test_hours_by_hand():
    run = run_of("Llama-3.2-1B, UltraFeedback/m16/TEA/N128/seed0")
    speed = plan.speed(RECIPE, run)
    P, R = 1.2358144e9, 7.504928768e9
    rollouts, read = 32 * 16, 150 + 300
    # forward, old log-probabilities, recomputed, gradients of states and of weights: 5 passes
    assert speed.update.value == pytest.approx(rollouts * read * 10 * P / (0.35 * 989e12))
    assert speed.rate.value == pytest.approx(rollouts * read * 2 * R / (0.45 * 989e12))
    # all 512 at a time: 300 steps on average, the longest waited for 212 more
    cache = 2 * 16 * 8 * 64 * 2
    moved = 512 * 2 * P + rollouts * 300 * (150 + 150) * cache
    assert speed.draw.value == pytest.approx(moved / (0.4 * 3.35e12) + 512 * 0.005)
    # 128 × 1024 held-out rollouts, as many at a time as fit into .6 of 80 GB beside the weights
    at_a_time = int((0.6 * 80e9 - 2 * P) / (read * cache))
    steps = 128 * 1024 / at_a_time * 300 + 212
    moved = steps * 2 * P + 128 * 1024 * 300 * 300 * cache
    assert speed.evaluation_draw.value == pytest.approx(moved / (0.4 * 3.35e12) + steps * 0.005)
    assert speed.divergence.value == pytest.approx(128 * 16 * read * 4 * P / (0.45 * 989e12))
    parts = speed.draw, speed.update, speed.rate
    ends = speed.evaluation_draw, speed.evaluation_rate, speed.divergence
    seconds = 100 * plan.total(parts) + plan.total(ends)
    assert speed.hours(100) == pytest.approx(seconds / 3600)


def test_cards_are_split_so_that_it_ends_soonest():
    whole = plan.Whole(runs=1, tokens=0.0, trainer=600.0, server=200.0, disk_GB=0.0)
    assert whole.hours(1, 0) == 800 and whole.hours(8, 0) == 100
    # six train for 800 h of waiting and working, two rate for 200 h
    assert whole.hours(6, 2) == pytest.approx(800 / 6)
    assert whole.hours(7, 1) == 200
    assert whole.split(8) == (8, 0) and whole.split(1) == (1, 0)
    # where a run does not fit one card with its server
    apart = plan.Whole(1, 0.0, trainer=600.0, server=200.0, disk_GB=0.0, together=False)
    assert apart.split(8) == (6, 2) and apart.split(1) is None


def test_whole_is_the_sum_of_its_runs():
    runs = [run_of(f"Llama-3.2-1B, UltraFeedback/m16/TEA/N128/seed{seed}") for seed in range(2)]
    one, two = plan.whole(RECIPE, runs[:1]), plan.whole(RECIPE, runs)
    speed = plan.speed(RECIPE, runs[0])
    # the start is evaluated once
    assert two.trainer - one.trainer == pytest.approx(speed.trainer(100) / 3600)
    start = speed.evaluation_draw.value / 3600
    assert one.trainer - start == pytest.approx(speed.trainer(100) / 3600)
    assert one.tokens == (100 * 512 + 2 * 131072) * 300
    # weights in bfloat16, and the text of what was drawn, four bytes a token
    assert one.disk_GB == pytest.approx((2 * 1235814400 + (51200 + 131072) * 300 * 4) / 1e9)


def test_it_fits_or_says_what_to_do():
    for run in RECIPE.runs[:: RECIPE.seeds]:
        assert plan_text.fits(RECIPE, plan.memory(RECIPE, run)).startswith("fits one card")
    policies = dict(CONTENT["policies"])
    policies["Qwen3-4B, LoRA"] = {**policies["Qwen3-4B, LoRA"], "lora_rank": 0}
    whole = changed(policies=policies)
    run = next(x for x in whole.runs if x.scenario == "Qwen3-4B, UltraFeedback")
    memory = plan.memory(whole, run)
    assert memory.training_peak > 80
    assert "does not fit: " in (text := plan_text.fits(whole, memory)) and "lora_rank" in text
    small = changed(card={"memory_GB": 50}, backend={"vllm_share": 0.3})
    text = plan_text.fits(small, plan.memory(small, RECIPE.runs[0]))
    assert text.startswith("fits, the server on another card")
    assert not plan.whole(small, RECIPE.runs[:1]).together
    lines = plan_text.report(small, RECIPE.runs[:1], (1, 2))
    assert "1 card: a run does not fit it with its server" in lines
    assert "1 train, a run each, 1 rate" in lines


@pytest.mark.parametrize("label", RECIPE.scenarios)
def test_the_check_takes_less_than_twenty_minutes(label):
    for m in (16, 64):
        run = next(x for x in RECIPE.runs if x.scenario == label and x.m == m)
        assert check.minutes(RECIPE, run) < 20
    little = check.small(RECIPE)
    assert little.evaluation.rollouts == RECIPE.evaluation.rollouts
    assert little.training.batch == RECIPE.training.batch


# --- commands and errors --------------------------------------------------------------------------


def command(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_plan_prints_its_arithmetic():
    result = command("plan", "recipe", "--only", "Llama-3.2-1B, Ultra*/m16/*")
    assert result.exit_code == 0
    text = result.output
    assert "1236 M × 4 bytes" in text and "fits one card with its server" in text
    assert "42 runs:" in text and "1 card: " in text and "8 cards: " in text
    # what is printed is what is computed
    run = run_of("Llama-3.2-1B, UltraFeedback/m16/TEA/N128/seed0")
    assert f"{plan.speed(RECIPE, run).update.value:8.2f} s" in text


def test_runs_prints_names():
    result = command("runs", "recipe", "--only", "Qwen3*/m64/TEA/*")
    assert result.exit_code == 0
    names = result.output.splitlines()
    assert len(names) == 12 and "Qwen3-4B, HH-helpful/m64/TEA/N512/seed2" in names
    assert command("runs", "recipe", "--only", names[0]).output.splitlines() == names[:1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evaluation": {"rollouts": 500}}, 'scenarios."Llama-3.2-1B, UltraFeedback": N has 512'),
        ({"evaluation": {"against": "RLOO"}}, "evaluation.against is 'RLOO', which is not an arm"),
        ({"evaluation": {"kl": 2000}}, "evaluation has kl = 2000 and rollouts = 1024"),
        ({"training": {"batch": 4096}}, "training has prompts = 2048 and batch = 4096"),
        ({"estimators": {"x": {"name": "te"}}}, 'estimators."x" in scenarios."Llama'),
        ({"estimators": {"start": {"name": "tea"}}}, "estimators has the label 'start'"),
        ({"training": {"lr": 1.0}}, "lr"),
    ],
)
def test_a_wrong_configuration_is_refused(change, message):
    with pytest.raises(ValidationError) as error:
        changed(**change)
    assert message in schema.first_problem(error.value, Recipe)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("policy", "GPT", "policy is 'GPT', which is unknown; give one of Llama-3.2-1B, "),
        ("reward", "x", "reward is 'x', which is unknown"),
        ("prompts", "x", "prompts is 'x', which is unknown"),
        ("m", [16, 16], "m has a value twice"),
        ("m", [3], "32 prompts of 3 rollouts do not divide"),
        ("m", [4], 'estimators."Prefix-TEA"'),
    ],
)
def test_a_wrong_scenario_is_refused(key, value, message):
    first = next(iter(CONTENT["scenarios"]))
    scenarios = {**CONTENT["scenarios"], first: {**CONTENT["scenarios"][first], key: value}}
    if value == [3]:
        policies = dict(CONTENT["policies"])
        policies["Llama-3.2-1B"] = {**policies["Llama-3.2-1B"], "micro_batch": 7}
    else:
        policies = CONTENT["policies"]
    with pytest.raises(ValidationError) as error:
        changed(scenarios=scenarios, policies=policies)
    assert message in schema.first_problem(error.value, Recipe)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "recipe", "--only", "nothing"], "only is 'nothing', which fits no run"),
        (["plan", "missing.toml"], "missing.toml: No such file"),
        (["train", "recipe", "--out", "x"], "504 runs are to be trained"),
        (["serve", "recipe"], "reward is None; give --reward with one of 'Skywork-V2-Llama-8B', "),
        (["evaluate", "recipe", "--out", "x"], "no run that fits '*' is trained in x"),
        (["verl", "recipe", "--only", "*"], "only is '*', which fits 504 runs"),
    ],
)
def test_commands_end_with_one_line(arguments, message, capfd, tmp_path, monkeypatch):
    if arguments[0] in ("serve", "verl", "evaluate"):
        for package in ("torch", "requests", "trl", "peft"):
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    result = command(*arguments)
    error = (result.stderr + capfd.readouterr().err).strip()
    assert result.exit_code == 2 and message in error.replace("\n", " ")
    assert "Traceback" not in error


# --- the page -------------------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")


def test_the_page_has_the_plans_numbers():
    everything, a_part = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert everything.rstrip() in command("plan", "recipe").output
    only = re.search(r"--only '([^']*)' --cards 1", PAGE).group(1)
    output = command("plan", "recipe", "--only", only, "--cards", "1").output
    assert output.rstrip().endswith(a_part.rstrip())
    # every run fits a card with its server, as the page says
    assert plan.whole(RECIPE, RECIPE.runs).together


def test_the_pages_commands_are_there():
    lines = re.findall(r"tea-stats recipe (\w+) recipe", PAGE)
    known = {command.callback.__name__ for command in app.registered_commands}
    assert set(lines) <= known and len(set(lines)) == 8
    for name in re.findall(r"--only '([^'*]*/seed\d)'", PAGE):
        assert run_of(name)
    assert f"{RECIPE.evaluation.rollouts} rollouts of each of {RECIPE.evaluation.prompts}" in PAGE
    assert f"{RECIPE.seeds} training runs" in PAGE
