"""Draw pools of a language model's rollouts: rewards and exact scores, part by part."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simulations.core import store
from simulations.lm import packages, policies, prompts, rewards, rollouts
from simulations.lm.policies import Policy
from simulations.lm.pools import sketch
from simulations.lm.pools.schema import Pools, write_pool
from simulations.lm.prompts import Prompt

#: what `uniforms` is told the numbers are for
LOOK, DRAW = range(2)


@dataclass(frozen=True)
class Part:
    """Some of a prompt's rollouts, on disk: rewards by name, scores, tokens, completions."""

    rewards: dict[str, np.ndarray]
    scores: np.ndarray
    tokens: np.ndarray
    completions: np.ndarray


def parts(pools: Pools) -> list[int]:
    """Return the sizes of the parts of a pool.

    At most `rows` rollouts each, computed side by side.
    """
    full, rest = divmod(pools.rollouts, pools.rows)
    return [pools.rows] * full + ([rest] if rest else [])


def draw(pools: Pools, work: Path, out: Path, after: Callable[[int, int], None]) -> None:
    """Draw what is missing in `work`, then write pools and their provenance to `out`.

    Parameters
    ----------
    pools : Pools
        The configuration.
    work : Path
        Folder of parts, kept so that a killed run goes on.
    out : Path
        Folder of the pools.
    after : callable
        Told after each part how many rollouts and tokens it had (tokens 0 if it was there).
    """
    asked = prompts.read(pools.prompts, pools.count)
    missing = [
        (p, k)
        for p in range(len(asked))
        for k in range(len(parts(pools)))
        if not _file(work, asked[p], k).exists()
    ]
    after(pools.rollouts * len(asked) - sum(parts(pools)[k] for _, k in missing), 0)
    if missing:
        _draw_missing(pools, asked, missing, work, after)
    marks, described = {}, {}
    for prompt in asked:
        held = [_read(_file(work, prompt, k)) for k in range(len(parts(pools)))]
        rated = {name: np.concatenate([p.rewards[name] for p in held]) for name in pools.rewards}
        scores = np.concatenate([part.scores for part in held])
        file = out / f"{prompt.id}.npz"
        write_pool(file, rated, scores)
        marks[prompt.id] = hashlib.sha256(file.read_bytes()).hexdigest()
        described[prompt.id] = {
            "prompt": prompt.text,
            "sha256": marks[prompt.id],
            "tokens": float(np.concatenate([part.tokens for part in held]).mean()),
            "rewards": {
                n: {"mean": float(r.mean()), "sd": float(r.std())} for n, r in rated.items()
            },
        }
    provenance = {
        "what": "rollouts of a language model: rewards, and scores as in simulations/lm/sketch.py",
        **store.describe(pools.drawing(), pools=described),
        "runs": [store.circumstances(packages=packages())],
    }
    store.write(provenance, out / "provenance.json")


def _draw_missing(
    pools: Pools,
    asked: list[Prompt],
    missing: list[tuple[int, int]],
    work: Path,
    after: Callable[[int, int], None],
) -> None:
    policy = policies.load(
        pools.model, temperature=pools.temperature, device=pools.device, dtype=pools.dtype
    )
    rated = {name: rewards.load(name, policy) for name in pools.rewards}
    encoded = rollouts.encode(policy, [prompt.text for prompt in asked], pools.new_tokens)
    directions = _directions(pools, policy, encoded, work / "sketch.npz")
    for p, k in missing:
        shape = (1, parts(pools)[k], pools.new_tokens)
        draws = rollouts.uniforms(pools.seed, (DRAW, p, k), shape)
        drawn, scores = sketch.sample(policy, directions, [encoded[p]], draws)
        completions = policy.texts(drawn.tokens, drawn.mask)
        texts = [asked[p].text] * len(completions)
        values = {n: rewards.rate(n, reward, texts, completions) for n, reward in rated.items()}
        counts = drawn.mask.sum(dim=1).cpu().numpy()
        part = Part(values, scores.double().cpu().numpy(), counts, np.array(completions))
        _write(_file(work, asked[p], k), part)
        after(len(completions), int(counts.sum()))


def _directions(
    pools: Pools, policy: Policy, encoded: list[list[int]], path: Path
) -> sketch.Sketch:
    """Choose the scores' directions from all prompts, once: the same in every run."""
    head = policy.model.get_output_embeddings().weight
    if not path.exists():
        values = sketch.token_values(policy, pools.token_rewards)
        chosen = sketch.choose(policy, encoded, pools.core, pools.seed, values)
        _save(path, U=chosen.U.double().cpu().numpy(), V=chosen.V.double().cpu().numpy())
    held = _arrays(path)
    return sketch.Sketch(torch.from_numpy(held["U"]).to(head), torch.from_numpy(held["V"]).to(head))


def _file(work: Path, prompt: Prompt, k: int) -> Path:
    return work / f"{prompt.id}-{k:03d}.npz"


def _write(path: Path, part: Part) -> None:
    arrays = {f"reward {name}": value for name, value in part.rewards.items()}
    _save(path, **arrays, scores=part.scores, tokens=part.tokens, completions=part.completions)


def _read(path: Path) -> Part:
    held = _arrays(path)
    rated = {
        key.removeprefix("reward "): value
        for key, value in held.items()
        if key.startswith("reward ")
    }
    return Part(rated, held["scores"], held["tokens"], held["completions"])


def _save(path: Path, **arrays: Any) -> None:
    """Write arrays, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    partial.replace(path)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # zip, zlib and numpy have no common kind of error
        raise ValueError(f"{path} is damaged ({error}); remove it to draw it again") from None
