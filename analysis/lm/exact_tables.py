"""The exact training study in tables and verdicts: what is finished, and what may be said of it.

A difference between two arms is claimed only where its 95 % interval over seeds excludes zero with
the same sign at every step size, with at least `SEEDS` seeds each; whether the interval over
prompts does too is said beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.core import style
from analysis.lm.exact_figures import EXACT, Exact

#: seeds below which nothing is claimed
SEEDS = 12
#: arms that follow the gradient of the mean, against which the others are set
MEAN = ("RLOO", "GRPO")
TRAINED, HELDOUT = "trained", "held out"


# --- what is finished -----------------------------------------------------------------------------


def seeds(study: Exact, scenario: str, rate: float) -> pd.Series:
    """Return the finished training runs of every planned arm, in the study's order."""
    rows = study.stage(scenario, rate)
    counted = rows.groupby("estimator")["seed"].nunique()
    return counted.reindex([*style.ordered(study.options), *EXACT], fill_value=0)


def rates(study: Exact) -> list[float]:
    """Return the step sizes that are planned."""
    return [float(rate) for rate in study.configuration["training"]["rates"]]


def finished(study: Exact) -> tuple[int, int]:
    """Return how many training runs are finished, and how many are planned."""
    planned = study.configuration["seeds"] * (len(study.options) + len(EXACT))
    pairs = [(x, rate) for x in study.configuration["scenarios"] for rate in rates(study)]
    there = sum(int(seeds(study, scenario, rate).sum()) for scenario, rate in pairs)
    return there, planned * len(pairs)


def missing(study: Exact) -> list[str]:
    """Return, a line each, what the study's configuration asks for and is not there."""
    settings, lines = study.configuration, []
    planned = settings["seeds"] * (len(study.options) + len(EXACT))
    for scenario in settings["scenarios"]:
        there = {rate: int(seeds(study, scenario, rate).sum()) for rate in rates(study)}
        lacking = {rate: planned - count for rate, count in there.items() if count < planned}
        if set(lacking.values()) == {planned} and len(lacking) == len(there):
            lines.append(f"{scenario}: all training runs")
        else:
            texts = [f"{count} at step size {rate:g}" for rate, count in lacking.items()]
            lines += [f"{scenario}: of {planned} training runs {', '.join(texts)}"] * bool(texts)
    wanted = settings["quality"]["count"]
    for reward, scenarios in _rewards(study).items():
        known = 0
        if study.quality is not None:
            rows = study.quality[study.quality["scenario"].isin(scenarios)]
            known = int(rows["prompts"].min()) if len(rows) else 0
        if known < wanted:
            lines.append(
                f"{reward}: gradients before training of {wanted - known} of {wanted} prompts"
            )
    wanted = settings["pools"]["count"]
    for reward in _rewards(study):
        rows = study.pools
        known = 0 if rows is None else rows.loc[rows["reward"] == reward, "prompt"].nunique()
        if known < wanted:
            lines.append(
                f"{reward}: pools from the exact laws of {wanted - known} of {wanted} prompts"
            )
    batches = settings["sweep"]["batches"]
    if study.sweep is None or study.sweep["batch"].nunique() < len(batches):
        lines.append("other numbers of rollouts a step")
    return lines


def _rewards(study: Exact) -> dict[str, list[str]]:
    """Return the scenarios of each reward: they share what is measured before training."""
    found: dict[str, list[str]] = {}
    for label, scenario in study.configuration["scenarios"].items():
        found.setdefault(scenario["reward"], []).append(label)
    return found


# --- what may be said -----------------------------------------------------------------------------


def apart(
    study: Exact, scenario: str, split: str = HELDOUT, N: int | None = None
) -> list[tuple[str, str, pd.DataFrame]]:
    """Return the pairs of arms of which a difference in V_N is claimed: (better, other, rows).

    The rows have one entry for each step size, the difference being better − other.
    """
    rows = study.differences
    kept = (rows["scenario"] == scenario) & (rows["split"] == split)
    rows = rows[kept & (rows["N"] == (N or study.budget(scenario)))]
    found = []
    for (ours, theirs), part in rows.groupby(["estimator", "against"], sort=False):
        known = part["rate"].nunique() == len(rates(study)) and (part["seeds"] >= SEEDS).all()
        sure = (part["difference"].abs() > part["half_seeds"]).all()
        signs = np.sign(part["difference"])
        if known and sure and signs.nunique() == 1:
            if signs.iloc[0] > 0.0:
                found.append((ours, theirs, part))
            else:
                found.append((theirs, ours, part.assign(difference=-part["difference"])))
    return found


def against(study: Exact, scenario: str, label: str, other: str, split: str) -> pd.DataFrame:
    """Return label − other in V_N after the last step, a row for each step size that has both."""
    rows = study.differences
    kept = (rows["scenario"] == scenario) & (rows["split"] == split)
    rows = rows[kept & (rows["N"] == study.budget(scenario)) & (rows["seeds"] > 0)]
    direct = rows[(rows["estimator"] == label) & (rows["against"] == other)]
    turned = rows[(rows["estimator"] == other) & (rows["against"] == label)]
    turned = turned.assign(difference=-turned["difference"])
    return pd.concat([direct, turned]).sort_values("rate", ascending=False)


def tails(study: Exact) -> list[str]:
    """Return the sampled arms that are meant for best-of-N, in the order of the estimators."""
    return [label for label in style.ordered(study.options) if label not in MEAN]


# --- tables ---------------------------------------------------------------------------------------


def gains(study: Exact, scenario: str, rate: float) -> pd.DataFrame:
    """Return each arm's exact gains after the last step, mean ± s.e. over seeds.

    A split has no averages if all of its prompts are at the ceiling.
    """
    rows, N = study.stage(scenario, rate), study.budget(scenario)
    last = rows[rows["step"] == rows["step"].max()]
    table = {}
    for label in study.arms(rows):
        mine = last[last["estimator"] == label]
        trained, held_out = (mine[mine["split"] == split] for split in (TRAINED, HELDOUT))
        row = {"seeds": str(mine["seed"].nunique())}
        for name in dict.fromkeys((1, N, max(study.configuration["N"]))):
            row[f"V_{name} trained"] = _mean(trained[f"V_{name}"])
        row[f"V_{N} held out"] = _mean(held_out[f"V_{N}"])
        row["KL"] = f"{trained['kl'].mean():.2f}" if len(trained) else "–"
        row["entropy"] = f"{trained['entropy'].mean():.2f}" if len(trained) else "–"
        row[f"V_{N} at KL 1"] = _at(study, scenario, rate, label, 1.0)
        table[label] = row
    return pd.DataFrame(table).T


def _at(study: Exact, scenario: str, rate: float, label: str, kl: float) -> str:
    """Write the gain on trained prompts at a divergence, ± half the interval over seeds."""
    rows = study.frontier
    kept = (rows["scenario"] == scenario) & (rows["rate"] == rate) & (rows["split"] == TRAINED)
    rows = rows[kept & (rows["estimator"] == label) & (rows["kl"] == kl) & (rows["seeds"] > 0)]
    if rows.empty:
        return "–"
    row = rows.iloc[0]
    half = row["half_seeds"]
    return f"{row['gain']:+.3f}" + ("" if np.isnan(half) else f" ± {half:.3f}")


def _mean(values: pd.Series) -> str:
    if values.empty:
        return "–"
    se = values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():+.3f}" + (f" ± {se:.3f}" if len(values) > 1 else "")


def of_tails(study: Exact, scenario: str, split: str = HELDOUT) -> pd.DataFrame:
    """Return every tail arm minus RLOO and GRPO at V_N, by step size, with both intervals."""
    lines = {}
    for label in tails(study):
        for other in MEAN:
            for row in against(study, scenario, label, other, split).itertuples():
                key = (f"{label} − {other}", f"{row.rate:g}")
                lines[key] = {
                    "seeds": row.seeds,
                    "difference": f"{row.difference:+.3f}",
                    "± seeds": f"{row.half_seeds:.3f}",
                    "± prompts": f"{row.half_prompts:.3f}",
                }
    table = pd.DataFrame(lines).T
    return table.rename_axis(["arms", "step size"]).reset_index() if len(table) else table


def before(study: Exact, scenario: str, prompt: str, groups: int, m: int, N: int) -> pd.DataFrame:
    """Return the estimators' figures before training, of one prompt or the batch; adapters."""
    assert study.quality is not None
    rows = study.quality
    kept = (rows["scenario"] == scenario) & (rows["scores"] == "adapter") & (rows["m"] == m)
    kept &= (rows["N"] == N) & (rows["groups"] == groups)
    single = ~rows["prompt"].eq("batch")
    kept &= single if prompt == "each" else rows["prompt"].eq(prompt)
    columns = ["bias2", "noise", "cosine", "gain", "error"]
    table = rows[kept].groupby("estimator", sort=False)[columns].mean()
    order = [label for label in style.ordered(study.options) if label in table.index]
    return table.loc[order]


def beside(study: Exact, label: str, others: Sequence[str]) -> pd.DataFrame:
    """Return an estimator's one-step gain over that of the best of others, before training.

    Returns
    -------
    DataFrame
        scenario, groups (of a batch), prompt ("each": a prompt alone, a mean over prompts; "batch":
        all of them) and ratio, at the scenario's m and N. Without the rows that are not there.
    """
    rows = []
    for scenario, task in study.configuration["scenarios"].items():
        for groups in sorted({study.configuration["training"]["batch"], 64}):
            for prompt in ("batch", "each"):
                gain = before(study, scenario, prompt, groups, task["m"], task["N"])["gain"]
                if label in gain.index and set(others) <= set(gain.index):
                    ratio = gain[label] / gain[list(others)].max()
                    rows.append({"scenario": scenario, "groups": groups, "prompt": prompt})
                    rows[-1] |= {"ratio": ratio}
    return pd.DataFrame(rows, columns=["scenario", "groups", "prompt", "ratio"])


def quality(study: Exact, scenario: str) -> Iterator[tuple[int, int, pd.DataFrame]]:
    """Yield m, N and the figures of every estimator, a prompt's mean beside the mixed batch."""
    plan = study.configuration["quality"]
    for m in plan["m"]:
        for N in plan["N"]:
            table = {}
            for name, prompt in (("prompt", "each"), ("batch", "batch")):
                rows = before(study, scenario, prompt, 64, m, N)
                table[f"bias² {name}"] = rows["bias2"]
                table[f"noise {name}"] = rows["noise"]
                table[f"cosine {name}"] = rows["cosine"]
                table[f"error {name}"] = 1.0 - rows["gain"]
            yield m, N, pd.DataFrame(table)


def noise(study: Exact) -> pd.DataFrame:
    """Return the share of a pool's squared gradient that is noise, by reward, N and M.

    Means over prompts of the share, of that which halves of the pools give, of the cosine, and of
    the rule d/(d + M/N), d the effective dimensions of the scores.
    """
    assert study.pools is not None
    rows = study.pools[study.pools["kind"] == "gradient"]
    key = ["reward", "N", "M", "tail"]
    sums = rows.groupby([*key, "prompt"], as_index=False).mean(numeric_only=True)
    sums["share"] = sums["noise"] / sums["square"]
    sums["halves"] = sums["halves"] / sums["square"]
    columns = ["share", "halves", "rule", "cosine", "dimensions"]
    return sums.groupby(key, as_index=False)[columns].mean()


def orders(study: Exact) -> pd.DataFrame:
    """Return how estimators rank on a pool and on its law: mean rank correlation, by N and M."""
    assert study.pools is not None
    rows = study.pools[study.pools["kind"] == "order"]
    key = ["reward", "N", "M", "prompt", "draw"]
    ranked = rows.groupby(key)[["gain_law", "gain_pool"]].apply(
        lambda part: part["gain_law"].corr(part["gain_pool"], method="spearman")
    )
    return ranked.rename("correlation").groupby(["reward", "N", "M"]).mean().reset_index()


def predictions(study: Exact) -> pd.DataFrame:
    """Return the rank correlation of G and of the error with gains, on trained prompts."""
    if study.prediction is None:
        return pd.DataFrame()
    rows = study.prediction[study.prediction["split"] == TRAINED]
    text = [
        f"{x:+.2f} [{low:+.2f}, {high:+.2f}]"
        for x, low, high in rows[["correlation", "low", "high"]].to_numpy()
    ]
    key = ["scenario", "rate", "step", "arms", "seeds"]
    wide = rows.assign(text=text).pivot(index=key, columns="figure", values="text")
    return wide.reset_index()


def among_tails(study: Exact) -> pd.DataFrame:
    """Return G's rank correlation with gains on trained prompts over the arms for best-of-N alone.

    Returns
    -------
    DataFrame
        scenario, rate, step and correlation, of the settings that `prediction` has.
    """
    if study.prediction is None or study.quality is None:
        return pd.DataFrame(columns=["scenario", "rate", "step", "correlation"])
    batch, rows = study.configuration["training"]["batch"], []
    known = study.prediction[["scenario", "rate", "step"]].drop_duplicates()
    for scenario, rate, step in known.itertuples(index=False):
        task = study.configuration["scenarios"][scenario]
        gain = before(study, scenario, "batch", batch, task["m"], task["N"])["gain"]
        runs = study.runs[(study.runs["scenario"] == scenario) & (study.runs["rate"] == rate)]
        runs = runs[(runs["step"] == step) & (runs["split"] == TRAINED)]
        trained = runs.groupby("estimator")[f"V_{task['N']}"].mean()
        both = pd.concat([gain, trained], axis=1).reindex(tails(study)).dropna()
        rank = both.iloc[:, 0].corr(both.iloc[:, 1], method="spearman")
        rows.append({"scenario": scenario, "rate": rate, "step": step, "correlation": rank})
    return pd.DataFrame(rows)


def swept(study: Exact) -> pd.DataFrame:
    """Return the gain in V_N by rollouts a step, mean ± s.e. over seeds, on held-out prompts."""
    if study.sweep is None or study.sweep.empty:
        return pd.DataFrame()
    (scenario,) = study.sweep["scenario"].unique()
    task = study.configuration["scenarios"][scenario]
    rows = study.sweep[study.sweep["split"] == HELDOUT]
    rows = rows.assign(rollouts=rows["batch"] * task["m"])
    table = rows.groupby(["estimator", "rollouts"])[f"V_{task['N']}"].agg(_mean).unstack()
    return table.loc[[label for label in style.ordered(study.options) if label in table.index]]
