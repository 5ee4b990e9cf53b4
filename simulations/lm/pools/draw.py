"""Draw pools of a language model's rollouts: rewards and exact scores, part by part."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from simulations.core import manifests, store
from simulations.core.progress import Account
from simulations.core.store import once
from simulations.lm import engine, models, packages, prompts, rewards
from simulations.lm.policies import Policy
from simulations.lm.pools import sketch
from simulations.lm.pools.schema import Pools, write_pool
from simulations.lm.prompts import Prompt
from simulations.lm.rewards import Reward

#: first part of the key of uniform numbers; the look at the policy has 0
DRAW = 1
Arrays = dict[str, np.ndarray]


def parts(pools: Pools) -> list[int]:
    """Return the sizes of a pool's parts: at most `rows` rollouts, computed side by side."""
    full, rest = divmod(pools.rollouts, pools.rows)
    return [pools.rows] * full + ([rest] if rest else [])


def draw(pools: Pools, work: Path, out: Path, account: Account) -> None:
    """Draw the parts that `work` lacks, then write pools and their provenance to `out`."""
    every = prompts.read(pools.prompts, pools.count)
    model = _Model(pools, every, work)
    drawn = []
    for p, prompt in enumerate(every):
        for k, size in enumerate(parts(pools)):

            def part(p: int = p, k: int = k, size: int = size) -> Arrays:
                arrays = model.part(p, k, size)
                account.done(size, int(arrays["tokens"].sum()))
                return arrays

            path = work / f"{prompt.id}-{k:03d}.npz"
            mark = {"part": store.digest([pools.drawing(), prompt.id, k])}
            drawn.append(once(path, part, skipped=lambda size=size: account.kept(size), **mark))
    described = {}
    for prompt in every:
        own = [drawn.pop(0) for _ in parts(pools)]
        pool = {name: np.concatenate([part[name] for part in own]) for name in own[0]}
        rated = {name: pool[f"reward {name}"] for name in pools.rewards}
        file = out / f"{prompt.id}.npz"
        write_pool(file, rated, pool["scores"])
        described[prompt.id] = {
            "prompt": prompt.text,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "tokens": float(pool["tokens"].mean()),
            "rewards": {
                n: {"mean": float(r.mean()), "sd": float(r.std())} for n, r in rated.items()
            },
        }
    provenance = {
        "what": "rollouts of a language model: rewards, and scores as in "
        "simulations/lm/pools/sketch.py",
        **manifests.describe(pools.drawing(), pools=described),
        "runs": [manifests.circumstances(packages=packages())],
    }
    store.write(provenance, out / "provenance.json")


class _Model:
    """What draws; loaded when the first part is missing, not for pools that are there."""

    def __init__(self, pools: Pools, every: list[Prompt], work: Path):
        self.pools, self.prompts, self.work = pools, every, work

    @cached_property
    def policy(self) -> Policy:
        pools = self.pools
        return models.load(
            pools.model, temperature=pools.temperature, device=pools.device, dtype=pools.dtype
        )

    @cached_property
    def rewards(self) -> dict[str, Reward]:
        return {name: rewards.load(name, self.policy) for name in self.pools.rewards}

    @cached_property
    def encoded(self) -> list[list[int]]:
        return self.policy.encode([prompt.text for prompt in self.prompts], self.pools.new_tokens)

    @cached_property
    def directions(self) -> sketch.Sketch:
        """The scores' directions, from all prompts; made once, the same in every run."""
        pools = self.pools

        def choose() -> Arrays:
            values = sketch.token_values(self.policy, pools.token_rewards)
            chosen = sketch.choose(self.policy, self.encoded, pools.core, pools.seed, values)
            return {name: getattr(chosen, name).double().cpu().numpy() for name in ("U", "V")}

        mark = store.digest([pools.drawing(), "sketch"])
        arrays = once(self.work / "sketch.npz", choose, part=mark)
        head = self.policy.model.get_output_embeddings().weight
        return sketch.Sketch(*(torch.from_numpy(arrays[name]).to(head) for name in ("U", "V")))

    def part(self, p: int, k: int, size: int) -> Arrays:
        """Return part k of a prompt's rollouts: rewards by name, scores, tokens, completions."""
        draws = engine.uniforms(self.pools.seed, (DRAW, p, k), (1, size, self.pools.new_tokens))
        rollouts, scores = sketch.sample(self.policy, self.directions, [self.encoded[p]], draws)
        completions = self.policy.decode(rollouts.tokens, rollouts.mask)
        texts = [self.prompts[p].text] * size
        arrays = {f"reward {n}": reward(texts, completions) for n, reward in self.rewards.items()}
        arrays["scores"] = scores.double().cpu().numpy()
        arrays["tokens"] = rollouts.mask.sum(dim=1).cpu().numpy()
        return arrays | {"completions": np.array(completions)}
