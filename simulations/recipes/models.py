"""Models of the recipe: from the Hub, a folder, or random weights of the same classes.

As in `simulations.lm.models`, weights are safetensors and no code that comes with a model is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulations.core import store
from simulations.lm import first_line, models
from simulations.recipes.schema import RANDOM, Model, Reward

#: says who speaks, and ends each turn with the token that ends an answer
CHAT = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
PAD = "<pad>"


def place(model: Model, label: str, out: Path) -> str:
    """Return what `from_pretrained` takes: the source, or the folder of a random model.

    A random model is made once, below `out`; its weights follow from label and sizes alone.
    """
    if model.source != RANDOM:
        return model.source
    folder = out / "models" / store.slug(label)
    if not (folder / "config.json").exists():
        build(model, label, folder)
    return str(folder)


def build(model: Model, label: str, folder: Path) -> None:
    """Write a model of random weights, and a tokenizer that spells bytes, into a folder."""
    import torch

    hub = models.transformers()
    tokenizer = models.spelling()
    tokenizer.add_special_tokens({"pad_token": PAD})
    tokenizer.chat_template = CHAT
    if model.vocabulary != len(tokenizer):
        raise ValueError(
            f"vocabulary is {model.vocabulary}; a random model spells bytes: give {len(tokenizer)}"
        )
    kind = "Qwen3" if model.kind == "qwen3" else "Llama"
    task = "SequenceClassification" if isinstance(model, Reward) else "CausalLM"
    settings = {
        "vocab_size": model.vocabulary,
        "hidden_size": model.width,
        "intermediate_size": model.inner,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_size,
        "tie_word_embeddings": model.tied,
        # larger than usual, so that a random model has opinions
        "initializer_range": 0.2,
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if isinstance(model, Reward):
        settings["num_labels"] = 1
    config = getattr(hub, f"{kind}Config")(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(store.digest([label, model.model_dump()])[:8], 16))
        built = getattr(hub, f"{kind}For{task}")(config)
    partial = folder.with_name(f".{folder.name}.partial")
    built.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(folder)


def check_device(device: str) -> None:
    """Raise ValueError where torch does not find the device of a configuration."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"backend.device is {device!r}, which torch {torch.__version__} does not find "
            f"({first_line(error)}); without a card, `tea-stats recipe try` runs tiny models"
        ) from None


def tokenizer(where: str) -> Any:
    """Load a tokenizer."""
    return _loaded("AutoTokenizer", where)


def causal(where: str, model: Model, **settings: Any) -> Any:
    """Load a causal language model of the configured sizes."""
    check(where, model)
    return _loaded("AutoModelForCausalLM", where, use_safetensors=True, **settings)


def classifier(where: str, model: Reward, **settings: Any) -> Any:
    """Load a reward model of the configured sizes."""
    check(where, model)
    return _loaded("AutoModelForSequenceClassification", where, use_safetensors=True, **settings)


def _loaded(kind: str, where: str, **settings: Any) -> Any:
    hub = models.transformers()
    try:
        return getattr(hub, kind).from_pretrained(where, trust_remote_code=False, **settings)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{where} cannot be loaded ({first_line(error)}); give a folder with safetensors, or "
            "the name of a model on the Hub (some need `hf auth login` and a licence accepted)"
        ) from None


def revision(where: str) -> str | None:
    """Return the commit that a model of the Hub was loaded from; None of a folder."""
    commit: str | None = getattr(_loaded("AutoConfig", where), "_commit_hash", None)
    return commit


def check(where: str, model: Model) -> None:
    """Raise ValueError where a model has other sizes than its configuration plans by."""
    config = _loaded("AutoConfig", where)
    theirs = {
        "kind": config.model_type,
        "vocabulary": config.vocab_size,
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "kv_heads": config.num_key_value_heads,
        "head_size": getattr(config, "head_dim", None)
        or config.hidden_size // config.num_attention_heads,
        "inner": config.intermediate_size,
    }
    if isinstance(model, Reward):
        if config.num_labels != 1:
            raise ValueError(
                f"{where} has {config.num_labels} outputs; give a reward model, which has one"
            )
    else:
        theirs["tied"] = bool(config.tie_word_embeddings)
    for name, value in theirs.items():
        if getattr(model, name) != value:
            raise ValueError(
                f"{where} has {name} = {value!r} and the configuration {getattr(model, name)!r}; "
                "correct it there, the plan follows from it"
            )
