"""The article's numbers on pools of a language model: tails of rewards, and estimators."""

from __future__ import annotations

import numpy as np

from analysis.core import style
from analysis.lm import pool_tables as measured
from analysis.lm.pool_figures import GAUSSIAN, NORMAL, POOL, Pools
from analysis.paper.latex import count, decimal, ends, fixed, name, percent, row
from analysis.paper.studies import Studies, claim, one

FILE = "sections/lm_pool.tex"
M, N, FAR = 16, 128, 512
TEA, MAX, MEAN = "TEA .25", "max@m", "RLOO"
#: one of these has the best cosine on the pools with few rollouts
NEAR = (TEA, "Prefix-TEA")
#: the reward whose pools were also measured with normal rewards
TONE = "tone"
#: columns of the table, by reward
SHOWN = {
    "relevance": ("cosine", "scaled_nmse"),
    "sentiment": ("cosine", "scaled_nmse"),
    TONE: ("scaled_nmse",),
    "profanity": ("scaled_nmse",),
}
#: (reward, estimator) whose error against the model's own gradient the text gives
ERRORS = (
    *((TONE, x) for x in (MEAN, TEA, "linear TEA", "auto TEA")),
    *(("profanity", x) for x in (MEAN, TEA)),
    *(("relevance", x) for x in (MEAN, TEA, MAX)),
)


def numbers(studies: Studies) -> dict[str, str]:
    """Return the pool study's numbers by key."""
    pools = studies.lm_pool
    settings = pools.manifest["configuration"]
    values = {
        "pools/count": count(settings["count"]),
        "pools/rollouts": count(settings["rollouts"]),
        "pools/tokens": count(settings["new_tokens"]),
        "pools/parameters": count(settings["core"][0] * settings["core"][1]),
        "pools/measured": count(len(pools.rewards)),
        "pools/estimators": count(len(pools.options)),
        "pools/groups": count(settings["measure"]["reps"]),
        "pools/upper": count(settings["rollouts"] / FAR),
        "pools/upper/few": count(settings["rollouts"] / N),
        "pools/N": ends(settings["measure"]["N"]),
    }
    shares = pools.noise.groupby(["reward", "N"], sort=False)["share"].mean()
    values["pools/shares"] = "; ".join(
        f"{reward} "
        + ", ".join(f"{percent(shares[reward, x])} at $N={count(x)}$" for x in (N, FAR))
        for reward in pools.noise["reward"].unique()
    )
    expected = pools.noise.groupby("N")["rule"].mean()
    values["pools/rule"] = f"{percent(expected[N])} and {percent(expected[FAR])}"
    values["pools/noise"] = (
        f"{percent(shares[:, FAR].min())} to {percent(shares[:, FAR].max())} at $N={count(FAR)}$"
    )
    return values | _tails(pools) | _of_pools(studies, pools) | _of_model(studies, pools)


def _tails(pools: Pools) -> dict[str, str]:
    rows = pools.tails[pools.tails["pool"] != "chance"].groupby("reward")
    shapes, tied = rows["shape"].median(), rows["tied"].median()
    low, high = pools.chance.loc["low", "shape"], pools.chance.loc["high", "shape"]
    claim(shapes["profanity"] > 0.2 and shapes["relevance"] < low, "heavy and short tails", FILE)
    values = {f"tail/{x}": decimal(shapes[x]) for x in (TONE, "relevance", "profanity")}
    values["tail/sentiment/tied"] = percent(tied["sentiment"])
    return values | {"tail/chance/low": decimal(low), "tail/chance/high": decimal(high)}


def _of_pools(studies: Studies, pools: Pools) -> dict[str, str]:
    """Return cosines with the pools' own gradient, and how fast the bias falls with m."""
    where, values = studies.folder / "lm_pool", {}
    for kind, key in ((POOL, "pool"), (GAUSSIAN, "normal")):
        rows = measured.over_prompts(pools, TONE, kind)
        for label in (TEA, "linear TEA", "auto TEA"):
            cell = one(rows, where, estimator=label, m=M, N=N)
            values[f"{key}/{label}"] = fixed(cell["cosine"], cell["cosine_se"])
    law = pools.table[(pools.table["kind"] == NORMAL) & (pools.table["N"] == N)]
    cosine = one(law, where, estimator="auto TEA", m=M)["cosine"]
    values["law/auto TEA"] = decimal(cosine)
    slopes = measured.slopes(pools)
    for reward, key in ((TONE, "pool"), (NORMAL, "law")):
        rows = slopes[(slopes["reward"] == reward) & slopes["kind"].isin([POOL, NORMAL])]
        fit = one(rows, where, estimator=TEA, N=FAR)
        values[f"slope/{key}"] = decimal(fit["slope"])
        if reward == TONE:
            values[f"slope/{key}"] = fixed(fit["slope"], fit["slope_se"])
    least = 0
    for reward in pools.rewards:
        for m, budget in pools.budgets:
            best, _, _, equals = measured.nearest(pools, reward, m, budget, "scaled_nmse")
            near = measured.nearest(pools, reward, m, budget, "cosine")[0]
            least += MAX in (best, *equals)
            claim(best != "auto TEA", "auto TEA never has the least error on the pools", FILE)
            expected = NEAR if m == M else (MAX,)
            claim(near in expected, f"best cosine at m = {m}: {' or '.join(expected)}", FILE)
    values["pools/least"] = count(least)
    values["pools/settings"] = count(len(pools.rewards) * len(pools.budgets))
    return values


def _of_model(studies: Studies, pools: Pools) -> dict[str, str]:
    """Return errors and cosines against the gradient of the model behind the pools."""
    where = studies.folder / "lm_pool"
    rows = pools.model[(pools.model["kind"] == POOL) & (pools.model["m"] == M)]
    near = rows[rows["N"] == N]
    values = {}
    for reward, label in ERRORS:
        cell = one(near, where, reward=reward, estimator=label)
        values[f"model/{reward}/{label}"] = fixed(cell["scaled_nmse"], cell["scaled_nmse_se"])
    for reward, labels in ((TONE, (MEAN,)), ("relevance", ("Prefix-TEA", TEA, MEAN))):
        for label in labels:
            cell = one(near, where, reward=reward, estimator=label)
            values[f"model/cosine/{reward}/{label}"] = fixed(cell["cosine"], cell["cosine_se"])
    pair = near[near["reward"] == "profanity"].set_index("estimator")
    gap = pair.loc[TEA, "scaled_nmse"] - pair.loc[MEAN, "scaled_nmse"]
    reach = 2.0 * np.hypot(*pair.loc[[TEA, MEAN], "scaled_nmse_se"])
    claim(gap > reach, f"on profanity {MEAN} has less error than {TEA}", FILE)
    far = rows[rows["N"] == FAR].groupby("reward")["cosine_se"].median()
    values["model/unknown"] = count((far > measured.KNOWN).sum())
    return values


def rows(studies: Studies) -> dict[str, list[str]]:
    """Return the table of the model's own gradient: errors, and cosines where they differ."""
    pools, where = studies.lm_pool, studies.folder / "lm_pool"
    model = pools.model[(pools.model["kind"] == POOL) & (pools.model["m"] == M)]
    model = model[model["N"] == N]
    lines = []
    for label in style.ordered(pools.options):
        cells = [name(label)]
        for reward, columns in SHOWN.items():
            cell = one(model, where, reward=reward, estimator=label)
            cells += [fixed(cell[column], cell[f"{column}_se"]) for column in columns]
        lines.append(row(cells))
    return {"pools": lines}
