"""A policy: a language model and its tokenizer, with the texts that go in and come out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


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
    first : int
        First layer that training changes. What enters it is a constant, the same for rollouts, for
        their log-probabilities and for the policy as loaded. 0 if nothing is known to be constant.
    plain_head : bool
        Logits are known to be a linear map of what the decoder gives.
    """

    name: str
    model: Any
    tokenizer: Any
    temperature: float
    ends: tuple[int, ...]
    start: Any = field(default=None, repr=False)
    first: int = 0
    plain_head: bool = False

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def pad(self) -> int:
        """A token for the places after a completion's end; which one has no influence."""
        return self.ends[0]

    def encode(self, prompts: Sequence[str], new_tokens: int) -> list[list[int]]:
        """Return prompts as tokens; ValueError for one that leaves no room for its answer."""
        longest = int(getattr(self.model.config, "max_position_embeddings", 0) or 2**31)
        encoded = [self._tokens(prompt) for prompt in prompts]
        for prompt, tokens in zip(prompts, encoded, strict=True):
            if len(tokens) < 2:
                raise ValueError(f"prompt {prompt!r} has {len(tokens)} tokens; give at least 2")
            if len(tokens) + new_tokens > longest:
                raise ValueError(
                    f"prompt {prompt[:40]!r}… has {len(tokens)} tokens, and with {new_tokens} new "
                    f"ones that is more than the model's {longest}; shorten it, or give fewer "
                    "new_tokens"
                )
        return encoded

    def _tokens(self, prompt: str) -> list[int]:
        """Return a prompt as tokens, in the model's chat format if it has one."""
        if not getattr(self.tokenizer, "chat_template", None):
            return self.tokenizer(f"{prompt}\n")["input_ids"]
        chat = [{"role": "user", "content": prompt}]
        return self.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_dict=True
        )["input_ids"]

    def decode(self, tokens: Tensor, mask: Tensor) -> list[str]:
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
            yield replace(self, model=self.start, start=None, first=0)
        elif hasattr(self.model, "disable_adapter"):
            with self.model.disable_adapter():
                yield self
        else:
            yield self

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Compute with adapters added to the maps they adapt: the same policy, fewer products.

        The maps' own weights are put back as they were, to the bit. In half precision the sum would
        lose small changes, so nothing is merged there.
        """
        adapted = [
            module
            for module in self.model.modules()
            if hasattr(module, "get_delta_weight")
            and not module.disable_adapters
            and module.get_base_layer().weight.dtype.itemsize >= 4
        ]
        if not adapted:
            yield
            return
        weights = [module.get_base_layer().weight for module in adapted]
        before = [weight.data for weight in weights]
        try:
            for module, weight in zip(adapted, weights, strict=True):
                for name in module.active_adapters:
                    weight.data = weight.data + module.get_delta_weight(name).detach()
            with self.model.disable_adapter():
                yield
        finally:
            for weight, data in zip(weights, before, strict=True):
                weight.data = data

    @contextmanager
    def watched(self) -> Iterator[list[Tensor]]:
        """Collect the states that enter the first trained layer, one tensor for each call."""
        seen: list[Tensor] = []

        def keep(module: Any, arguments: tuple[Tensor, ...]) -> None:
            seen.append(arguments[0].detach())

        hook = decoder(self).layers[self.first].register_forward_pre_hook(keep)
        try:
            yield seen
        finally:
            hook.remove()

    @contextmanager
    def upper(self) -> Iterator[Any]:
        """Give the decoder without the layers below `first`; it is fed what enters that one."""
        inner = decoder(self)
        layers = inner.layers
        inner.layers = layers[self.first :]
        try:
            yield inner
        finally:
            inner.layers = layers


def decoder(policy: Policy) -> Any:
    """Return the part of the model that holds layers, norm and rotary embedding."""
    model = policy.model
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    inner = getattr(model, "model", None)
    missing = [name for name in ("layers", "norm", "rotary_emb") if not hasattr(inner, name)]
    if missing:
        raise ValueError(
            f"model {policy.name!r} has no {' and no '.join(missing)}; give a decoder of the Llama "
            "kind, such as 'smollm2'"
        )
    return inner


def first_layer(policy: Policy, layers: int) -> int:
    """Return the first of the last `layers` layers of the model."""
    depth = len(decoder(policy).layers)
    if not 1 <= layers <= depth:
        raise ValueError(
            f"adapter.layers is {layers} and model {policy.name!r} has {depth} layers; give a "
            f"number from 1 to {depth}"
        )
    return depth - layers
