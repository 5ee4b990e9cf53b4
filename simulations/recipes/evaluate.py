"""Held-out rollouts of a trained policy, or of the start: rewards, lengths, KL from the start.

Prompts are taken a few at a time, and each part is kept, so that a killed evaluation goes on.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.nn.utils.rnn import pad_sequence

from simulations.core import store
from simulations.core.progress import tell
from simulations.recipes import data, folder, generation, models
from simulations.recipes.client import Client
from simulations.recipes.data import Message
from simulations.recipes.folder import Folder
from simulations.recipes.schema import START, Policy, Recipe, Run

#: apart from the seeds of training
EVALUATION = 1


def evaluate(recipe: Recipe, run: Run, out: Path, policy: Path | None = None) -> Folder:
    """Evaluate a trained run unless that is done; return its folder.

    Parameters
    ----------
    recipe, run, out
        The configuration, one of its runs, and the results folder.
    policy : Path, optional
        Folder of the trained weights or adapters, where another trainer has left them; default:
        where `training.train` does.
    """
    place = folder.of_run(recipe, run, out)
    if place.evaluated():
        return place
    if policy is None:
        if not place.trained():
            raise ValueError(f"{run.name} is not trained; run `train` first, or give --policy")
        policy = place.policy
    _evaluate(recipe, run.scenario, place, out, policy)
    tell(f"{run.name}: evaluated")
    return place


def evaluate_start(recipe: Recipe, scenario: str, out: Path) -> Folder:
    """Evaluate a scenario's policy as it was loaded."""
    place = folder.of_start(recipe, scenario, out)
    if not place.evaluated():
        _evaluate(recipe, scenario, place, out, None)
        tell(f"{scenario}/{START}: evaluated")
    return place


def _evaluate(recipe: Recipe, label: str, place: Folder, out: Path, trained: Path | None) -> None:
    scenario, plan = recipe.scenarios[label], recipe.evaluation
    policy = recipe.policies[scenario.policy]
    prompts = data.part(data.chosen(recipe, scenario.prompts, out), "heldout")
    start = models.place(policy, scenario.policy, out)
    client = Client(recipe.rewards[scenario.reward])
    client.check()
    adapter = trained if policy.lora_rank else None
    where = start if trained is None or adapter else str(trained)
    marks = {**place.mark, "trained": "" if trained is None else fingerprint(trained)}
    edges = [*range(0, len(prompts), plan.prompts_at_a_time), len(prompts)]
    paths = [place.path / "parts" / f"{first}.parquet" for first in edges[:-1]]
    todo = [path for path in paths if store.kept(path, **marks) is None]
    longest = recipe.prompts[scenario.prompts].longest_bytes
    if todo:
        with generation.drawing(recipe, policy, where, adapter, longest) as draw:
            for path, (first, last) in zip(paths, pairwise(edges), strict=True):
                if path in todo:
                    table = rollouts(recipe, prompts, range(first, last), draw, client)
                    store.write(table, path, **marks)
    table = pd.concat([store.read(path, **marks) for path in paths], ignore_index=True)
    if trained is None:
        table["kl"] = table["ids"].map(lambda ids: 0.0 if ids else math.nan)
    else:
        models_of = start, where, adapter
        table["kl"] = store.once(
            place.path / "kl.parquet",
            lambda: divergence(recipe, policy, *models_of, dict(prompts), table),
            **marks,
        )["kl"]
    _finish(place, table, prompts, scenario.N)


def fingerprint(trained: Path) -> str:
    """Return a hash of trained weights: rollouts of others are drawn again."""
    files = sorted(trained.glob("*.safetensors"))
    if not files:
        raise ValueError(f"{trained} has no safetensors; give the folder of a trained policy")
    marks = []
    for path in files:
        with path.open("rb") as content:
            marks.append([path.name, hashlib.file_digest(content, "sha256").hexdigest()])
    return store.digest(marks)


def rollouts(
    recipe: Recipe,
    prompts: Sequence[tuple[str, list[Message]]],
    places: range,
    draw: generation.Draw,
    client: Client,
) -> pd.DataFrame:
    """Draw and rate rollouts of some prompts.

    Returns
    -------
    DataFrame
        One row per rollout: prompt, rollout, reward (NaN if there is none), tokens, ended (or cut
        off), completion, ids (of the first rollouts, as JSON; else ""), draw_s and rate_s (of the
        part).
    """
    plan = recipe.evaluation
    seeds = [int(store.digest([recipe.seed, EVALUATION, i])[:7], 16) for i in places]
    begun = time.monotonic()
    drawn = draw([prompts[i][1] for i in places], plan.rollouts, seeds)
    drew = time.monotonic() - begun
    conversations = [
        [*prompts[i][1], {"role": "assistant", "content": answer.text}]
        for i, answers in zip(places, drawn, strict=True)
        for answer in answers
    ]
    rated = client.used.seconds
    rewards = iter(client.rate(conversations))
    rated = client.used.seconds - rated
    rows = []
    for i, answers in zip(places, drawn, strict=True):
        for number, answer in enumerate(answers):
            reward = next(rewards)
            rows.append(
                {
                    "prompt": prompts[i][0],
                    "rollout": number,
                    "reward": math.nan if reward is None else reward,
                    "tokens": len(answer.tokens),
                    "ended": answer.ended,
                    "completion": answer.text,
                    "ids": json.dumps(answer.tokens) if number < plan.kl else "",
                }
            )
    return pd.DataFrame(rows).assign(draw_s=drew, rate_s=rated)


def divergence(
    recipe: Recipe,
    policy: Policy,
    start: str,
    where: str,
    adapter: Path | None,
    prompts: dict[str, list[Message]],
    table: pd.DataFrame,
) -> pd.DataFrame:
    """Return log π − log π_start of each rollout whose tokens were kept, NaN of others.

    The mean over rollouts of the policy estimates KL(π ‖ π_start) of whole answers, in nats,
    without bias. Both are computed by transformers, so that vLLM's rounding is not in it.
    """
    model = generation.loaded(recipe, policy, where, adapter)
    before = None if adapter else generation.loaded(recipe, policy, start, None)
    tokenizer = models.tokenizer(start)
    kept = table[table["ids"] != ""]
    prefix = {name: generation.spelled(tokenizer, prompts[name]) for name in set(kept["prompt"])}
    pairs = [(prefix[x], json.loads(y)) for x, y in zip(kept["prompt"], kept["ids"], strict=True)]
    values = pd.Series(math.nan, index=table.index)
    size = policy.micro_batch
    for first in range(0, len(pairs), size):
        part = pairs[first : first + size]
        now = logprobs(model, part, recipe.training.temperature)
        without: AbstractContextManager[Any] = nullcontext()
        if before is None:
            without = model.disable_adapter()
        with without:
            then = logprobs(before or model, part, recipe.training.temperature)
        values.loc[kept.index[first : first + size]] = (now - then).tolist()
    return pd.DataFrame({"kl": values})


@torch.inference_mode()
def logprobs(
    model: Any, pairs: Sequence[tuple[list[int], list[int]]], temperature: float
) -> torch.Tensor:
    """Return the log-probability of each answer after its prompt, summed over its tokens."""
    rows = [torch.tensor([*prompt, *answer]) for prompt, answer in pairs]
    ids = pad_sequence(rows, batch_first=True).to(model.device)
    place = torch.arange(ids.shape[1])
    begins = torch.tensor([[len(prompt)] for prompt, _ in pairs])
    ends = torch.tensor([[len(row)] for row in rows])
    attention = (place < ends).long().to(model.device)
    answers = ((place >= begins) & (place < ends))[:, 1:].to(model.device)
    logits = model(input_ids=ids, attention_mask=attention).logits[:, :-1]
    each = (logits.float() / temperature).log_softmax(-1)
    each = each.gather(-1, ids[:, 1:, None])[..., 0]
    return (each.double() * answers).sum(-1).cpu()


def _finish(
    place: Folder,
    table: pd.DataFrame,
    prompts: Sequence[tuple[str, list[Message]]],
    budgets: Sequence[int],
) -> None:
    """Write the log for `tea-stats predict`, the answers for a judge, and the table."""
    rows = zip(table["prompt"], table["reward"], table["tokens"], table["completion"], strict=True)
    folder.write_log(
        place.heldout,
        (
            {
                "prompt": prompt,
                "reward": None if math.isnan(reward) else reward,
                "tokens": tokens,
                "completion": completion,
            }
            for prompt, reward, tokens, completion in rows
        ),
    )
    folder.write_log(place.judge, best_answers(table, prompts, budgets))
    store.write(table.drop(columns=["completion", "ids"]), place.evaluation, **place.mark)


def best_answers(
    table: pd.DataFrame, prompts: Sequence[tuple[str, list[Message]]], budgets: Sequence[int]
) -> list[dict[str, Any]]:
    """Return the answer that best-of-N would return: the best of a prompt's first N rollouts."""
    rows = []
    for name, conversation in prompts:
        mine = table[table["prompt"] == name]
        for N in (1, *budgets):
            first = mine.head(N)
            if first["reward"].notna().any():
                best = first.loc[first["reward"].idxmax()]
                row = {"prompt": name, "messages": conversation, "N": N}
                row |= {"completion": best["completion"], "reward": float(best["reward"])}
                rows.append(row)
    return rows
