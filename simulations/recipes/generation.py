"""Held-out rollouts: drawn by vLLM on a card, by transformers anywhere. One function chooses.

vLLM was not at hand where this was written: its branch follows its documentation, and `check` is
the first thing to run on a card. Everything around it runs in the tests, with transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from simulations.recipes import models
from simulations.recipes.data import Message
from simulations.recipes.schema import Policy, Recipe

#: transformers draws so many rollouts at a time
ROWS = 64
NO_VLLM = (
    "vllm is not installed; pip install 'trl[vllm]', or set backend.generation to 'transformers', "
    "which is slow"
)


class Answer(NamedTuple):
    """A rollout: text, tokens with the one that ended it, and whether one did or it was cut off."""

    text: str
    tokens: list[int]
    ended: bool


#: (conversations, how many of each, a seed for each) → rollouts of each
Draw = Callable[[Sequence[Sequence[Message]], int, Sequence[int]], list[list[Answer]]]


@contextmanager
def drawing(
    recipe: Recipe, policy: Policy, where: str, adapter: Path | None, longest: int
) -> Iterator[Draw]:
    """Give a function that draws rollouts of a policy, at the temperature of training.

    Parameters
    ----------
    recipe, policy
        The configuration, and the policy's part of it.
    where : str
        What `from_pretrained` takes.
    adapter : Path, optional
        Folder of adapters.
    longest : int
        Bytes of the longest prompt, and so at least its tokens.
    """
    if recipe.backend.generation == "vllm":
        with vllm(recipe, policy, where, adapter, longest) as draw:
            yield draw
    else:
        yield transformers(recipe, policy, where, adapter)


def transformers(recipe: Recipe, policy: Policy, where: str, adapter: Path | None) -> Draw:
    """Return a function that draws with `model.generate`."""
    model = loaded(recipe, policy, where, adapter)
    tokenizer = models.tokenizer(where)
    ends = ending(model, tokenizer)
    settings = {
        "max_new_tokens": recipe.training.new_tokens,
        "do_sample": True,
        "temperature": recipe.training.temperature,
        # a model's own defaults, which would be taken otherwise, may cut its law off
        "top_p": 1.0,
        "top_k": 0,
        "repetition_penalty": 1.0,
        "eos_token_id": ends,
        "pad_token_id": tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0],
    }

    def one(conversation: Sequence[Message], count: int, seed: int) -> list[Answer]:
        prompt = torch.tensor([spelled(tokenizer, conversation)], device=model.device)
        answers: list[Answer] = []
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(seed)
            while len(answers) < count:
                rows = min(ROWS, count - len(answers))
                ids = model.generate(
                    prompt.expand(rows, -1),
                    attention_mask=torch.ones_like(prompt).expand(rows, -1),
                    **settings,
                )
                for row in ids[:, prompt.shape[1] :].tolist():
                    kept = until(row, ends)
                    text = tokenizer.decode(kept, skip_special_tokens=True)
                    answers.append(Answer(text, kept, kept[-1] in ends))
        return answers

    return lambda conversations, count, seeds: [
        one(conversation, count, seed)
        for conversation, seed in zip(conversations, seeds, strict=True)
    ]


@contextmanager
def vllm(
    recipe: Recipe, policy: Policy, where: str, adapter: Path | None, longest: int
) -> Iterator[Draw]:
    """Give a function that draws with vLLM, whose memory is free again after the block."""
    try:
        from vllm import LLM, SamplingParams
        from vllm.lora.request import LoRARequest
    except ModuleNotFoundError:
        raise ValueError(NO_VLLM) from None
    engine = LLM(
        model=where,
        dtype=recipe.backend.dtype,
        max_model_len=longest + 256 + recipe.training.new_tokens,
        gpu_memory_utilization=recipe.backend.vllm_share_alone,
        enable_prefix_caching=True,
        seed=recipe.seed,
        **({"enable_lora": True, "max_lora_rank": policy.lora_rank} if adapter else {}),
    )
    request = LoRARequest("trained", 1, str(adapter)) if adapter else None

    def draw(
        conversations: Sequence[Sequence[Message]], count: int, seeds: Sequence[int]
    ) -> list[list[Answer]]:
        plans = [
            # rollout i of a prompt has the seed `seed + i`
            SamplingParams(
                n=count,
                temperature=recipe.training.temperature,
                top_p=1.0,
                top_k=0,
                repetition_penalty=1.0,
                max_tokens=recipe.training.new_tokens,
                seed=seed,
            )
            for seed in seeds
        ]
        turns = [list(conversation) for conversation in conversations]
        outputs = engine.chat(turns, plans, lora_request=request, use_tqdm=False)
        return [
            [Answer(x.text, list(x.token_ids), x.finish_reason == "stop") for x in done.outputs]
            for done in outputs
        ]

    try:
        yield draw
    finally:
        # the engine is a process of its own; only its end gives the memory back
        engine.llm_engine.engine_core.shutdown()
        torch.cuda.empty_cache()


def loaded(recipe: Recipe, policy: Policy, where: str, adapter: Path | None) -> Any:
    """Load a policy with transformers, with its adapters if there are any."""
    dtype = getattr(torch, recipe.backend.dtype)
    model = models.causal(where, policy, dtype=dtype)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    return model.to(recipe.backend.device).eval().requires_grad_(False)


def ending(model: Any, tokenizer: Any) -> list[int]:
    """Return the tokens that end an answer: the tokenizer's, and those of the model."""
    named = model.generation_config.eos_token_id
    named = named if isinstance(named, list) else [named]
    return [x for x in dict.fromkeys([*named, tokenizer.eos_token_id]) if x is not None]


def spelled(tokenizer: Any, conversation: Sequence[Message]) -> list[int]:
    """Return a conversation's tokens up to where the answer begins."""
    ids = tokenizer.apply_chat_template(
        list(conversation), tokenize=True, add_generation_prompt=True, return_dict=False
    )
    return list(ids)


def until(tokens: list[int], ends: Sequence[int]) -> list[int]:
    """Return tokens up to the first that ends an answer, that one included."""
    for place, token in enumerate(tokens):
        if token in ends:
            return tokens[: place + 1]
    return tokens
