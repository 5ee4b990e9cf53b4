"""The article's numbers on training an enumerated policy, and sentences that follow from them.

What is claimed depends on what is finished and on every step size: so the sentences are written
here, from the tables, and say what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.lm import exact_tables
from analysis.lm.exact_figures import Exact, of_the_mean
from analysis.paper import latex
from analysis.paper.latex import count, decimal, number, power_of_ten, row
from analysis.paper.studies import Studies
from tea_stats import RECOMMENDED

#: signs of the arms that follow an exact gradient
ARMS = {"exact ∇V_N": r"exact $\nabla V_N$", "exact ∇V_1": r"exact $\nabla V_1$"}


def numbers(studies: Studies) -> dict[str, str]:
    """Return the study's settings, checks and sentences by key."""
    study = studies.lm_exact
    values = _settings(study) | _checks(study) | _cosines(study)
    values |= {
        "exact/verdict": verdicts(study),
        "exact/brief": verdict(study, study.stages[0][0], brief=True),
        "exact/over prompts": over_prompts(study),
        "exact/missing": missing(study),
        "exact/state": state(study),
        "exact/prediction": prediction(study),
        "exact/predicted": predicted(study),
        "exact/pools": pools(study),
        "exact/rule": rule(study),
        "exact/least": least(study),
    }
    return values


def rows(studies: Studies) -> dict[str, list[str]]:
    """Return the table of gains, of the first scenario at every step size, and of differences."""
    study, lines = studies.lm_exact, []
    for scenario, rate in study.stages:
        if scenario != study.stages[0][0]:
            continue
        for label, cells in exact_tables.gains(study, scenario, rate).iterrows():
            written = [cell if cell == "–" else number(cell) for cell in cells.astype(str)]
            lines.append(row([name(str(label)), power_of_ten(rate), *map(_dash, written)]))
    return {"training": lines, "apart": _apart_rows(study)}


def _dash(cell: str) -> str:
    return "--" if cell == "–" else cell


def name(label: str) -> str:
    """Write the name of an arm; what follows a comma is in brackets, for lists."""
    first, comma, rest = label.partition(", ")
    return ARMS.get(label) or latex.name(f"{first} ({rest})" if comma else label)


def _settings(study: Exact) -> dict[str, str]:
    settings = study.configuration
    trees, training = settings["trees"], settings["training"]
    task = settings["scenarios"][study.stages[0][0]]
    return {
        "exact/leaves": count(float(np.prod(trees["sizes"]))),
        "exact/depth": count(len(trees["sizes"])),
        "exact/sizes": listed([count(size) for size in trees["sizes"]]),
        "exact/trained": count(trees["count"]),
        "exact/heldout": count(trees["heldout_count"]),
        "exact/rank": count(settings["adapter"]["rank"]),
        "exact/layers": count(settings["adapter"]["layers"]),
        "exact/m": count(task["m"]),
        "exact/N": count(task["N"]),
        "exact/most": count(max(settings["N"])),
        "exact/batch": count(training["batch"]),
        "exact/steps": count(training["steps"]),
        "exact/rollouts": count(task["m"] * training["batch"] * training["steps"]),
        "exact/rates": listed([power_of_ten(rate) for rate in training["rates"]]),
        "exact/rate/first": power_of_ten(training["rates"][0]),
        "exact/rate/second": power_of_ten(training["rates"][1]),
        "exact/seeds": count(settings["seeds"]),
        "exact/claim": count(exact_tables.SEEDS),
        # one interval excludes zero, and the others on the same side
        "exact/chance": count(round(1.0 / (0.05 * 0.025 ** (len(training["rates"]) - 1)))),
        "exact/early": count(min(training["evaluate"], key=lambda step: abs(step - 10))),
        "exact/arms": count(len(settings["estimators"])),
        "exact/scenarios": count(len(settings["scenarios"])),
    }


def _checks(study: Exact) -> dict[str, str]:
    least, most = study.start["effective"].min(), study.start["effective"].max()
    left = sorted(study.start.loc[study.start["ceiling"], "prompt"].unique())
    return {
        "exact/effective": f"{count(least)} to {count(most)}",
        "exact/ceiling": listed([latex.name(x) for x in left]) if left else "none",
        "exact/logprob": power_of_ten(study.checks["logprob_error"].max()),
        "exact/derivative": power_of_ten(study.checks["derivative_error"].max()),
    }


def _cosines(study: Exact) -> dict[str, str]:
    """Return the cosine of the gradients of V_1 and V_N in each scenario that was begun."""
    parts = []
    for scenario in study.gradients["scenario"].unique():
        N = study.budget(scenario)
        batch, alone = of_the_mean(study, scenario)
        parts.append(
            f"{latex.name(scenario)}: {decimal(batch[N])} over the batch, {decimal(alone[N])} "
            "for a prompt"
        )
    return {"exact/cosines": "; ".join(parts)}


def listed(parts: Sequence[str]) -> str:
    """Join words as English does.

    Examples
    --------
    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    head = ", ".join(parts[:-1])
    return " and ".join([head, *parts[-1:]] if head else parts)


# --- sentences ------------------------------------------------------------------------------------


def verdicts(study: Exact) -> str:
    """Say which differences are claimed, scenario by scenario; and why not, where none is."""
    scenarios = list(study.configuration["scenarios"])
    ready = [x for x in scenarios if len(judgeable(study, x)) > 1]
    parts = [verdict(study, x) for x in ready]
    if others := [x for x in scenarios if x not in ready]:
        parts.append(f"For {'; '.join(map(latex.name, others))}: {_nothing(study)}")
    return " ".join(parts)


def judgeable(study: Exact, scenario: str) -> list[str]:
    """Return the sampled arms that have enough seeds at every step size."""
    counted = [exact_tables.seeds(study, scenario, x) for x in exact_tables.rates(study)]
    return [x for x in study.options if all(some[x] >= exact_tables.SEEDS for some in counted)]


def _nothing(study: Exact) -> str:
    return (
        f"nothing is claimed, since fewer than two arms have {count(exact_tables.SEEDS)} training "
        f"runs at each of the {count(len(exact_tables.rates(study)))} step sizes."
    )


def verdict(study: Exact, scenario: str, *, brief: bool = False) -> str:
    """Say which arms are told apart in V_N on held-out prompts at every step size.

    A brief sentence sets them against RLOO and GRPO alone.
    """
    N, where = study.budget(scenario), latex.name(scenario)
    sampled, ready = set(study.options), judgeable(study, scenario)
    if len(ready) < 2:
        return f"For {where}, {_nothing(study)}"
    pairs = exact_tables.apart(study, scenario)
    found = [(a, b) for a, b, _ in pairs if {a, b} <= sampled]
    said: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for other in exact_tables.MEAN:
        above = tuple(a for a, b in found if b == other and a not in exact_tables.MEAN)
        below = tuple(b for a, b in found if a == other and b not in exact_tables.MEAN)
        for word, labels in (("above", above), ("below", below)):
            if labels:
                said.setdefault((word, labels), []).append(name(other))
    parts = []
    for (word, labels), others in said.items():
        are = "are" if len(labels) > 1 else "is"
        parts.append(f"{_arms(labels, ready)} {are} {word} {listed(others)}")
    head = f"For {where}, in $V_{{{N}}}$ on held-out prompts at every step size"
    if not found:
        return f"{head}, no two of {count(len(ready))} arms are told apart."
    among = "" if brief else _among_tails(study, found, ready)
    first = "; ".join(parts) or "no arm is told apart from RLOO or GRPO"
    return f"{head}, {first}.{among}"


def _arms(labels: Sequence[str], ready: Sequence[str]) -> str:
    """Name arms for best-of-N, by those that are not among them where these are fewer."""
    rest = [x for x in ready if x not in labels and x not in exact_tables.MEAN]
    if len(labels) < 3 or len(rest) >= len(labels):
        return listed([name(x) for x in labels])
    but = f" but {listed([name(x) for x in rest])}" if rest else ""
    return f"of {count(len(labels) + len(rest))} arms for best-of-$N$ all{but}"


def _among_tails(study: Exact, found: Sequence[tuple[str, str]], ready: Sequence[str]) -> str:
    """Say how many pairs of arms for best-of-N are told apart, and which are below none."""
    tails = [label for label in exact_tables.tails(study) if label in ready]
    pairs = [(a, b) for a, b in found if {a, b} <= {*tails}]
    if not pairs:
        return ""
    worse = {b for _, b in pairs}
    best = [name(label) for label in tails if label not in worse]
    every = len(tails) * (len(tails) - 1) // 2
    return (
        f" Of {count(every)} pairs of arms for best-of-$N$ {count(len(pairs))} are told apart; "
        f"none is above {listed(best)}."
    )


def over_prompts(study: Exact) -> str:
    """Say how many of the differences from the mean's arms that are claimed hold over prompts."""
    claimed = sure = 0
    for scenario in study.configuration["scenarios"]:
        for a, b, rows in exact_tables.apart(study, scenario):
            if {a, b} <= set(study.options) and len({a, b} & {*exact_tables.MEAN}) == 1:
                claimed += 1
                sure += bool((rows["difference"].abs() > rows["half_prompts"]).all())
    return f"{count(sure)} of {count(claimed)}"


def _apart_rows(study: Exact) -> list[str]:
    """Return every tail arm minus RLOO and minus GRPO, at every step size, of what is judged."""
    lines = []
    for scenario in study.configuration["scenarios"]:
        ready = judgeable(study, scenario)
        for label in exact_tables.tails(study):
            if label not in ready or len(ready) < 2:
                continue
            cells = [latex.name(scenario), name(label)]
            for other in exact_tables.MEAN:
                rows = exact_tables.against(study, scenario, label, other, exact_tables.HELDOUT)
                cells += [_gap(line) for _, line in rows.iterrows()]
            lines.append(row(cells))
    return lines


def _gap(line: pd.Series) -> str:
    """Write a difference ± half its interval over seeds, and in brackets that over prompts."""
    seeds = number(f"{line['difference']:+.3f} ± {line['half_seeds']:.3f}")
    return f"{seeds} ({line['half_prompts']:.3f})"


def state(study: Exact) -> str:
    """Say in a sentence how much of the study is finished."""
    there, planned = exact_tables.finished(study)
    if not exact_tables.missing(study):
        return f"The study is complete: {count(planned)} training runs."
    return f"The study is not complete: {count(there)} of {count(planned)} training runs are there."


def missing(study: Exact) -> str:
    """Say what of the study is missing."""
    lines = exact_tables.missing(study)
    if not lines:
        return "The study is complete."
    return f"Of the study are missing: {'; '.join(map(latex.name, lines))}."


def prediction(study: Exact) -> str:
    """Say after which steps the one-step gain before training predicts gains."""
    if study.prediction is None or study.prediction.empty:
        return "Whether the one-step gain predicts training is not known yet."
    rows = study.prediction[study.prediction["split"] == exact_tables.TRAINED]
    alone, parts = exact_tables.among_tails(study), []
    for step, part in rows.groupby("step"):
        ours, error = (part[part["figure"] == figure] for figure in ("gain", "error"))
        sure, settings = int((ours["low"] > 0.0).sum()), count(len(ours))
        head = (
            f"After {count(step)} steps the one-step gain $G$, of the first batch, predicts the "
            "order of the arms"
            if _predicts(study, step)
            else f"Whether it predicts their order after {count(step)} steps is not settled"
            if parts
            else "Whether the one-step gain $G$, of the first batch, predicts the order of the "
            f"arms after {count(step)} steps is not settled"
        )
        text = (
            f"{head}: its rank correlation with the gains on trained prompts is {_between(ours)} "
            f"in {settings} settings (scenario, step size; {count(ours['arms'].min())} arms, "
            f"{count(ours['seeds'].min())} seeds or more), and the 95\\,\\% interval, from "
            f"resampled arms and seeds, excludes zero in {count(sure)} of them"
        )
        tails = alone[alone["step"] == step]
        if len(tails):
            text += f"; among the arms for best-of-$N$ alone it is {_between(tails)}"
        parts.append(f"{text}. That of the error is {_between(error)}.")
    return " ".join(parts)


def predicted(study: Exact) -> str:
    """Say in a sentence after which steps gains are predicted; nothing, if after none."""
    rows = study.prediction
    if rows is None or rows.empty:
        return ""
    rows = rows[(rows["split"] == exact_tables.TRAINED) & (rows["figure"] == "gain")]
    steps = sorted(rows["step"].unique())
    some = [step for step in steps if _predicts(study, step)]
    if not some:
        return ""
    late = [count(step) for step in steps if step not in some]
    but = f", not after {listed(late)}" if late else ""
    return (
        "Before training, the one-step gain of an arm predicts which arms lead after "
        f"{listed([count(x) for x in some])} steps (rank correlation "
        f"{_between(rows[rows['step'].isin(some)])}){but}."
    )


def _between(rows: pd.DataFrame, column: str = "correlation") -> str:
    """Write the range of a column."""
    return f"{decimal(rows[column].min())} to {decimal(rows[column].max())}"


def _predicts(study: Exact, step: int) -> bool:
    """Return whether G predicts gains after a step: in every scenario, at every step size.

    Each correlation rests on enough seeds, and its interval lies above zero.
    """
    rows = study.prediction
    assert rows is not None
    rows = rows[(rows["split"] == exact_tables.TRAINED) & (rows["figure"] == "gain")]
    rows = rows[(rows["step"] == step) & (rows["seeds"] >= exact_tables.SEEDS)]
    there = {(scenario, float(rate)) for scenario, rate in rows[["scenario", "rate"]].to_numpy()}
    rates = exact_tables.rates(study)
    every = there >= {(x, rate) for x in study.configuration["scenarios"] for rate in rates}
    return bool(every and (rows["low"] > 0.0).all())


def least(study: Exact) -> str:
    """Say which estimators have the least error at the best length, by prompt and in the batch."""
    if study.quality is None:
        return "Gradients before training are not measured yet."
    parts = []
    for scenario in study.quality["scenario"].unique():
        task = study.configuration["scenarios"][scenario]
        for prompt, where in (("each", "a prompt"), ("batch", "the mixed batch")):
            table = exact_tables.before(study, scenario, prompt, 64, task["m"], task["N"])
            best = (1.0 - table["gain"]).nsmallest(3)
            texts = [f"{name(str(x))} {decimal(value)}" for x, value in best.items()]
            parts.append(f"{latex.name(scenario)}, {where}: {listed(texts)}")
    prompts = int(study.quality["prompts"].min())
    return (
        f"The least errors at the best length of the step, of {count(64)} groups of "
        f"$m={count(task['m'])}$, over {count(prompts)} prompts: {'; '.join(parts)}. "
        f"{of_the_default(study)}"
    )


def of_the_default(study: Exact) -> str:
    """Say how the default's one-step gain compares with the better of TEA and max@m."""
    arms = study.configuration["estimators"]
    labels = {table["name"]: label for label, table in reversed(arms.items())}
    ours, others = labels[RECOMMENDED], (labels["tea"], labels["max_at_k"])
    table, parts = exact_tables.beside(study, ours, others), []
    for prompt, where in (("batch", "of all prompts"), ("each", "of one prompt alone")):
        texts = [
            f"{_between(part, 'ratio')} with {count(groups)} groups"
            for groups, part in table[table["prompt"] == prompt].groupby("groups")
        ]
        parts.append(f"in batches {where} {listed(texts)}")
    scenarios = count(table["scenario"].nunique())
    return (
        f"The one-step gain of {name(ours)}, over that of the better of "
        f"{listed([name(x) for x in others])}, is {'; '.join(parts)} "
        f"({scenarios} scenarios)."
    )


def pools(study: Exact) -> str:
    """Say how large a pool must be for its gradient to be the model's."""
    if study.pools is None:
        return "Pools drawn from the exact laws are not measured yet."
    parts = []
    for (reward, N), part in exact_tables.noise(study).groupby(["reward", "N"], sort=False):
        shares = [f"{decimal(x)} at $M={count(M)}$" for M, x in part[["M", "share"]].to_numpy()]
        parts.append(f"{reward}, $N={count(N)}$: {', '.join(shares)}")
    ranks = [
        f"{decimal(x.correlation)} ({x.reward}, $N={count(x.N)}$, $M={count(x.M)}$)"
        for x in exact_tables.orders(study).itertuples()
    ]
    prompts = study.pools["prompt"].nunique()
    return (
        f"Of the squared length of a pool's gradient, the share that is noise is, over "
        f"{count(prompts)} prompt{'s' * (prompts > 1)}, {'; '.join(parts)}. The one-step gains "
        f"of the estimators on a pool and on its law have rank correlations of {listed(ranks)}."
    )


def rule(study: Exact) -> str:
    """Say how well d/(d + M/N) gives the share of noise."""
    if study.pools is None:
        return "Its agreement with exact laws is not measured yet."
    table = exact_tables.noise(study)
    gap = (table["share"] - table["rule"]).abs()
    worst, far = gap.max(), gap[table["tail"] >= 4].max()
    d = table["dimensions"]
    return (
        f"In the exact laws $d$ is {decimal(d.mean(), 0)} on average, and the largest difference "
        f"between rule and share, means over prompts, is {decimal(worst)} at $M \\ge N$ and "
        f"{decimal(far)} at $M \\ge 4N$."
    )
