"""What a recipe takes, before anything is rented: memory, tokens, hours, each with its arithmetic.

Hours come from a card's peak numbers times shares of them (`[card]`), tokens from expected lengths.
`tea-stats recipe check` compares both with a few real steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulations.recipes import sizes
from simulations.recipes.schema import Recipe, Run
from simulations.recipes.sizes import BF16, FP32, MOMENTS

GB = 1e9
#: bytes of text that a token is at least, on average over a prompt
BYTES_A_TOKEN = 4


@dataclass(frozen=True)
class Item:
    """A line of the plan: what it is, its value and unit, and how it was computed."""

    what: str
    value: float
    unit: str
    how: str


@dataclass(frozen=True)
class Memory:
    """A training card's memory in GB.

    Attributes
    ----------
    lasting : tuple of Item
        There all the time.
    drawing, updating : tuple of Item
        There while rollouts are drawn, and while weights are updated: vLLM sleeps then.
    rating : tuple of Item
        The reward server's, on this card or on one of its own.
    """

    lasting: tuple[Item, ...]
    drawing: tuple[Item, ...]
    updating: tuple[Item, ...]
    rating: tuple[Item, ...]

    @property
    def training_peak(self) -> float:
        """The most that training needs at a time, without the server."""
        return total(self.lasting) + max(total(self.drawing), total(self.updating))

    @property
    def server(self) -> float:
        """What the reward server needs."""
        return total(self.rating)


@dataclass(frozen=True)
class Speed:
    """Seconds of a step, and of an evaluation, on one training card and one of the server's.

    `draw` and `evaluation_draw` are on the training card, as are `update` and `divergence`;
    `rate` and `evaluation_rate` on the server's.
    """

    draw: Item
    rate: Item
    update: Item
    evaluation_draw: Item
    evaluation_rate: Item
    divergence: Item

    def hours(self, steps: int) -> float:
        """Return the hours of a run with its evaluation, one after the other."""
        return (self.trainer(steps) + self.server(steps)) / 3600

    def trainer(self, steps: int) -> float:
        """Return the seconds that a run keeps a training card busy."""
        step = self.draw.value + self.update.value
        return steps * step + self.evaluation_draw.value + self.divergence.value

    def server(self, steps: int) -> float:
        """Return the seconds that a run keeps the reward server busy."""
        return steps * self.rate.value + self.evaluation_rate.value


def total(items: Sequence[Item]) -> float:
    """Return the sum of values."""
    return math.fsum(item.value for item in items)


# --- memory ---------------------------------------------------------------------------------------


def memory(recipe: Recipe, run: Run) -> Memory:
    """Return the memory of a run's training card."""
    policy, reward = recipe.policy(run), recipe.reward(run)
    P, A = sizes.parameters(policy), sizes.trained(policy)
    longest = recipe.prompts[recipe.scenario(run).prompts].longest_bytes // BYTES_A_TOKEN
    longest += recipe.training.new_tokens
    tokens = policy.micro_batch * longest
    weight = BF16 if policy.lora_rank else FP32
    lasting = [_bytes("weights", P, weight)]
    if policy.lora_rank:
        lasting.append(_bytes("adapters", A, FP32))
    lasting.append(_bytes("Adam's moments", A, MOMENTS * FP32))
    lasting.append(_given("context, fragments", recipe.card.reserve_GB))
    updating = [_bytes("gradients", A, FP32)]
    if not policy.lora_rank:
        updating.append(_bytes("bfloat16 copies of the weights", P, BF16))
    updating += [
        _bytes("a state a layer (checkpoints)", tokens, sizes.checkpoint_bytes(policy), "tokens"),
        _bytes("a layer's activations", tokens, sizes.layer_bytes(policy), "tokens"),
    ]
    rated = recipe.training.batch * run.m
    rated = min(rated * longest, reward.micro_tokens)
    rating = (
        _bytes("reward model", sizes.parameters(reward), BF16),
        _bytes("a layer's activations", rated, sizes.layer_bytes(reward), "tokens"),
    )
    return Memory(tuple(lasting), _drawing(recipe, P), tuple(updating), rating)


def _drawing(recipe: Recipe, P: int) -> tuple[Item, ...]:
    """Return vLLM's memory, weights included; that of transformers is its cache, which is small."""
    card, backend = recipe.card, recipe.backend
    if backend.generation != "vllm":
        return ()
    value = backend.vllm_share * card.memory_GB
    how = f"{backend.vllm_share:g} of {card.memory_GB:g} GB, of which weights {BF16 * P / GB:.1f}"
    return (Item("vLLM", value, "GB", how),)


def room(recipe: Recipe, run: Run, share: float) -> int:
    """Return how many rollouts' keys and values fit into vLLM's share of a card at a time."""
    policy, prompts = recipe.policy(run), recipe.prompts[recipe.scenario(run).prompts]
    free = share * recipe.card.memory_GB * GB - BF16 * sizes.parameters(policy)
    each = (prompts.mean_tokens + policy.mean_tokens) * sizes.cache_bytes(policy)
    return max(0, int(free / each))


def _bytes(what: str, count: int, each: int, of: str = "") -> Item:
    numbers = f"{count / 1e6:.0f} M" if count >= 1e6 else f"{count}"
    how = f"{numbers}{f' {of}' if of else ''} × {each} bytes"
    return Item(what, count * each / GB, "GB", how)


def _given(what: str, value: float) -> Item:
    return Item(what, value, "GB", "given")


# --- hours ----------------------------------------------------------------------------------------


def speed(recipe: Recipe, run: Run) -> Speed:
    """Return the seconds of a run's parts."""
    policy, reward, plan = recipe.policy(run), recipe.reward(run), recipe.evaluation
    prompts = recipe.prompts[recipe.scenario(run).prompts]
    rollouts = recipe.training.batch * run.m
    held_out = plan.prompts * plan.rollouts
    tokens = prompts.mean_tokens + policy.mean_tokens
    card = recipe.card
    train, read = card.training_share, card.reading_share
    work = sizes.training_operations(policy), sizes.reading_operations(reward)
    # with the policy and with the start
    both = 2 * sizes.reading_operations(policy)
    kl = plan.prompts * plan.kl
    return Speed(
        draw=_draw(recipe, run, rollouts, recipe.backend.vllm_share),
        rate=_compute(recipe, "rate", rollouts * tokens, work[1], read),
        update=_compute(recipe, "update", rollouts * tokens, work[0], train),
        evaluation_draw=_draw(recipe, run, held_out, recipe.backend.vllm_share_alone),
        evaluation_rate=_compute(recipe, "rate", held_out * tokens, work[1], read),
        divergence=_compute(recipe, "divergence", kl * tokens, both, read),
    )


def _compute(recipe: Recipe, what: str, tokens: float, each: int, share: float) -> Item:
    """Return the time of work that the card's arithmetic limits."""
    peak = recipe.card.bf16_TFLOPs
    value = tokens * each / (share * peak * 1e12)
    how = f"{_count(tokens)} tokens × {_count(each)} operations / ({share:g} × {peak:g} TFLOP/s)"
    return Item(what, value, "s", how)


def _draw(recipe: Recipe, run: Run, rollouts: int, share: float) -> Item:
    """Return the time of drawing, which the card's bandwidth limits.

    Each step of decoding reads the weights once, for all rollouts that are drawn at a time, and the
    keys and values of each. A wave of rollouts lasts as long as its longest: as an answer may be.
    """
    policy, prompts = recipe.policy(run), recipe.prompts[recipe.scenario(run).prompts]
    at_a_time = min(rollouts, room(recipe, run, share)) or 1
    # vLLM puts a new rollout in the place of one that ended; only the last ones are waited for
    steps = rollouts / at_a_time * policy.mean_tokens
    steps += recipe.training.new_tokens - policy.mean_tokens
    weights = steps * BF16 * sizes.parameters(policy)
    read = prompts.mean_tokens + policy.mean_tokens / 2
    caches = rollouts * policy.mean_tokens * read * sizes.cache_bytes(policy)
    card = recipe.card
    value = (weights + caches) / (card.decoding_share * card.bandwidth_TBs * 1e12)
    value += steps * card.decoding_ms / 1e3
    how = (
        f"({steps:.0f} steps × {BF16 * sizes.parameters(policy) / GB:.1f} GB of weights + "
        f"{_count(rollouts * policy.mean_tokens)} tokens × {read:.0f} × "
        f"{sizes.cache_bytes(policy) / 1024:.0f} KiB) / ({card.decoding_share:g} × "
        f"{card.bandwidth_TBs:g} TB/s) + {steps:.0f} × {card.decoding_ms:g} ms, "
        f"{at_a_time} at a time"
    )
    return Item("draw", value, "s", how)


def _count(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


# --- all runs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Whole:
    """What a set of runs takes together.

    Attributes
    ----------
    runs : int
        Training runs.
    tokens : float
        Tokens drawn, evaluation included.
    trainer, server : float
        Hours of training cards, and of cards with a reward server.
    disk_GB : float
        Trained weights, adapters only where there are adapters, and rollouts as text.
    together : bool
        Whether each run fits one card with its server.
    """

    runs: int
    tokens: float
    trainer: float
    server: float
    disk_GB: float
    together: bool = True

    def hours(self, training_cards: int, reward_cards: int) -> float:
        """Return the hours if so many runs go side by side and share the reward cards.

        With no reward card, the server is on the training cards and takes its turn.
        """
        if not reward_cards:
            return (self.trainer + self.server) / training_cards
        # a run waits for its rewards, so a training card idles while they are computed
        return max((self.trainer + self.server) / training_cards, self.server / reward_cards)

    def split(self, cards: int) -> tuple[int, int] | None:
        """Return how many of the cards train and how many rate, so that it ends soonest.

        None if there is one card and a run does not fit it with its server.
        """
        ways = [(cards - rate, rate) for rate in range(0 if self.together else 1, cards)]
        return min(ways, key=lambda way: self.hours(*way), default=None)


def whole(recipe: Recipe, runs: Sequence[Run]) -> Whole:
    """Add up runs; the starts are evaluated once for each scenario, and counted."""
    trainer = server = tokens = disk = 0.0
    together = True
    plan, steps = recipe.evaluation, recipe.training.steps
    for run in runs:
        policy, costs = recipe.policy(run), speed(recipe, run)
        trainer += costs.trainer(steps)
        server += costs.server(steps)
        drawn = steps * recipe.training.batch * run.m + plan.prompts * plan.rollouts
        tokens += drawn * policy.mean_tokens
        kept = FP32 if policy.lora_rank else BF16
        disk += sizes.trained(policy) * kept + drawn * policy.mean_tokens * BYTES_A_TOKEN
        needs = memory(recipe, run)
        together &= needs.training_peak + needs.server <= recipe.card.memory_GB
    for run in {run.scenario: run for run in runs}.values():
        costs = speed(recipe, run)
        trainer += costs.evaluation_draw.value
        server += costs.evaluation_rate.value
        tokens += plan.prompts * plan.rollouts * recipe.policy(run).mean_tokens
    return Whole(len(runs), tokens, trainer / 3600, server / 3600, disk / GB, together)
