"""The plan in words: a table of runs, and the arithmetic of one run of each kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from simulations.recipes import plan
from simulations.recipes.plan import Item, Memory
from simulations.recipes.schema import Recipe, Run


def report(recipe: Recipe, runs: Sequence[Run], cards: Sequence[int]) -> str:
    """Return the plan of some runs."""
    lines = [f"Card: {recipe.card.name}. Lengths are expectations; check them with `check`."]
    for alike in kinds(recipe, runs):
        lines += ["", *_kind(recipe, alike)]
    return "\n".join([*lines, "", *_whole(recipe, runs, cards)])


def kinds(recipe: Recipe, runs: Iterable[Run]) -> list[list[Run]]:
    """Return the runs in groups that cost the same; of each group, one run of each scenario."""
    groups: dict[tuple[object, ...], dict[str, Run]] = {}
    for run in runs:
        scenario = recipe.scenario(run)
        prompts = recipe.prompts[scenario.prompts]
        lengths = prompts.mean_tokens, prompts.longest_bytes
        key = scenario.policy, scenario.reward, lengths, run.m
        groups.setdefault(key, {}).setdefault(run.scenario, run)
    return [list(group.values()) for group in groups.values()]


def _kind(recipe: Recipe, alike: Sequence[Run]) -> Iterator[str]:
    run = alike[0]
    memory, speed = plan.memory(recipe, run), plan.speed(recipe, run)
    steps = recipe.training.steps
    yield "; ".join(run.scenario for run in alike)
    yield f"  m = {run.m}: {speed.hours(steps):.1f} h a run with its evaluation"
    yield from _section("memory, always", memory.lasting)
    yield from _section("memory, drawing", memory.drawing)
    yield from _section("memory, updating", memory.updating)
    yield from _section("memory, reward server", memory.rating)
    yield f"  {fits(recipe, memory)}"
    yield from _section("a step", (speed.draw, speed.rate, speed.update))
    ends = (speed.evaluation_draw, speed.evaluation_rate, speed.divergence)
    yield from _section("evaluation", ends)


def _section(title: str, items: Sequence[Item]) -> Iterator[str]:
    if items:
        yield f"  {title}: {plan.total(items):.1f} {items[0].unit}"
    for item in items:
        yield f"    {item.what:32} {item.value:8.2f} {item.unit}  = {item.how}"


def fits(recipe: Recipe, memory: Memory) -> str:
    """Return whether training fits, with the server beside it or apart."""
    has, alone = recipe.card.memory_GB, memory.training_peak
    both = alone + memory.server
    if both <= has:
        return f"fits one card with its server: {both:.1f} of {has:g} GB (training {alone:.1f})"
    if alone <= has:
        return f"fits, the server on another card: {alone:.1f} of {has:g} GB (both: {both:.1f})"
    return (
        f"does not fit: {alone:.1f} of {has:g} GB; reduce micro_batch or backend.vllm_share, or "
        "give lora_rank"
    )


def _whole(recipe: Recipe, runs: Sequence[Run], cards: Sequence[int]) -> Iterator[str]:
    whole = plan.whole(recipe, runs)
    yield (
        f"{whole.runs} runs: {whole.tokens / 1e9:.3g} G tokens drawn, {whole.disk_GB:.0f} GB of "
        "weights and text"
    )
    yield (
        f"  {whole.trainer:.0f} h of drawing and training, {whole.server:.0f} h of rating, on one "
        "card each"
    )
    for count in cards:
        split = whole.split(count)
        if split is None:
            yield f"  {count} card: a run does not fit it with its server"
            continue
        training, reward = split
        hours = whole.hours(training, reward)
        if reward:
            how = (
                f"{training} train, a run each, {reward} rate: max(({whole.trainer:.0f} + "
                f"{whole.server:.0f}) / {training}, {whole.server:.0f} / {reward})"
            )
        else:
            how = f"each with its server: ({whole.trainer:.0f} + {whole.server:.0f}) / {training}"
        yield f"  {count} card{'s' * (count > 1)}: {hours:.0f} h = {hours / 24:.1f} days; {how}"
