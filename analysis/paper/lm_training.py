"""The article's numbers on training language models: gains, and significant differences."""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from analysis.core import style
from analysis.core.read import ResultsError
from analysis.lm.training_figures import Training
from analysis.paper.latex import count, decimal, fixed, name, number, power_of_ten, row
from analysis.paper.studies import Studies, claim

FILE = "sections/lm_training.tex"
MEAN = 1
#: arms whose gain in the best of the largest N the text gives, by study
GIVEN = {
    "train": ("RLOO", "GRPO", "linear TEA", "auto TEA", "TEA .25", "CAT-BoN", "max@m"),
    "equal": ("max@m", "Prefix-TEA"),
    "second": ("RLOO", "max@m", "TEA .25"),
}
#: the arms that gain most toward tone
LEADERS = ("RLOO", "GRPO")
#: arms for which tuning chose a smaller step than for the others
SMALLER = {"max@m", "BoN max-mean", "Prefix-TEA"}
#: corrected for the noise of the large-sample gradient
COSINE = "cosine_corrected"


def numbers(studies: Studies) -> dict[str, str]:
    """Return the training studies' numbers by key."""
    trained = {
        "train": studies.lm_training,
        "equal": studies.lm_training_equal,
        "second": studies.lm_training_second,
    }
    values = _settings(studies.lm_training) | _oracle(studies) | _tuning(studies.lm_training)
    (second,) = studies.lm_training_second.manifest["configuration"]["scenarios"].values()
    values["second/temperature"] = decimal(second["temperature"], 1)
    means = studies.lm_training_second.gains(studies.lm_training_second.scenarios[0], MEAN)
    values |= {f"second/{label}/mean": _signed(means.loc[label]) for label in GIVEN["second"]}
    _toward_tone(studies.lm_training)
    _toward_relevance(studies.lm_training_second)
    for key, training in trained.items():
        gains = training.gains(training.scenarios[0], training.most)
        values |= {f"{key}/{label}": _signed(gains.loc[label]) for label in GIVEN[key]}
    return values


def _settings(training: Training) -> dict[str, str]:
    """Return the settings that reproduce the study."""
    settings = training.manifest["configuration"]
    (task,) = settings["scenarios"].values()
    return {
        "train/arms": count(len(training.options)),
        "train/m": count(task["m"]),
        "train/N": count(task["N"]),
        "train/batch": count(settings["training"]["batch"]),
        "train/steps": count(settings["training"]["steps"]),
        "train/tokens": count(settings["new_tokens"]),
        "train/kl": decimal(settings["training"]["kl"]),
        "train/rank": count(settings["adapter"]["rank"]),
        "train/layers": count(settings["adapter"]["layers"]),
        "train/rates": count(len(settings["tuning"]["rates"])),
        "train/tuning": count(settings["tuning"]["count"]),
        "train/tuning/steps": count(settings["tuning"]["steps"]),
        "train/heldout": count(settings["evaluation"]["count"]),
        "train/rollouts": count(settings["evaluation"]["rollouts"]),
        "train/seeds": count(settings["seeds"]),
    }


def _tuning(training: Training) -> dict[str, str]:
    """Return the tuning scores of two step sizes of an arm that hardly moved."""
    scores = training.tuning.set_index(["estimator", "rate"])["value"]["max@m"].sort_index()
    return {
        "tuning/chosen": decimal(scores.max(), 3),
        "tuning/largest": decimal(scores.iloc[-1], 3),
    }


def _oracle(studies: Studies) -> dict[str, str]:
    """Return the range of the arms' cosines with a gradient from many rollouts."""
    training = studies.lm_training
    if training.oracle is None:
        raise ResultsError(
            f"{studies.folder / 'lm_cpu' / 'oracle.parquet'}: missing; run the study with [oracle]"
        )
    cosines = training.oracle.groupby("estimator")[COSINE].agg(["mean", "sem"])
    settings = training.manifest["configuration"]["oracle"]
    return {
        "train/oracle/prompts": count(settings["count"]),
        "train/oracle/rollouts": count(settings["rollouts"]),
        "train/oracle/halves": decimal(training.oracle["reliability"].iloc[0]),
        "train/oracle/least": decimal(cosines["mean"].min()),
        "train/oracle/most": decimal(cosines["mean"].max()),
        "train/oracle/se": decimal(cosines["sem"].max()),
    }


# --- gains ----------------------------------------------------------------------------------------


def _above(training: Training, ours: str, theirs: str, N: int) -> bool:
    """Return whether one arm is significantly above another: the interval excludes zero."""
    rows = training.differences[training.differences["N"] == N]
    here = rows[(rows["estimator"] == ours) & (rows["against"] == theirs)]
    there = rows[(rows["estimator"] == theirs) & (rows["against"] == ours)]
    return bool((here["low"] > 0.0).any() or (there["high"] < 0.0).any())


def _toward_tone(training: Training) -> None:
    """Check the claims of the text and the abstract."""
    others = set(training.options) - set(LEADERS)
    sizes = (MEAN, training.most)
    ahead = (_above(training, a, b, N) for a in LEADERS for b in others for N in sizes)
    claim(all(ahead), "RLOO and GRPO end above every other arm", FILE)
    forms = ("linear TEA", "auto TEA")
    better = (_above(training, a, "TEA .25", N) for a in forms for N in sizes)
    claim(all(better), "linear and auto TEA end above TEA", FILE)
    rates = training.rates(training.scenarios[0])
    smaller = set(rates.index[rates < rates.max()])
    claim(smaller == SMALLER, "three arms were given a smaller step", FILE)


def _toward_relevance(training: Training) -> None:
    """Check the claims of the text."""
    orders = {MEAN: ("RLOO", "max@m", "TEA .25"), training.most: ("max@m", "RLOO", "TEA .25")}
    for N, order in orders.items():
        apart = (_above(training, a, b, N) for a, b in combinations(order, 2))
        claim(all(apart), f"{' above '.join(order)} at N = {N}", FILE)


def _signed(line: pd.Series) -> str:
    r"""Write a gain with its sign.

    Examples
    --------
    >>> _signed(pd.Series({"difference": 0.0621})), _signed(pd.Series({"difference": -0.004}))
    ('\\num{+0.062}', '\\num{-0.004}')
    """
    sign = "+" if line["difference"] > 0.0 else ""
    return number(sign + style.number(line["difference"], 3))


# --- the table ------------------------------------------------------------------------------------


def rows(studies: Studies) -> dict[str, list[str]]:
    """Return the table of arms: step size, gains with intervals, divergence, first cosine."""
    training = studies.lm_training
    (scenario,) = training.scenarios
    rates = training.rates(scenario)
    moved = training.behaviour.groupby("estimator")["kl"].mean()
    lines = []
    for label in style.ordered(training.options):
        cells = [name(label), power_of_ten(rates[label])]
        for N in (MEAN, training.most):
            cells.append(_interval(training.gains(scenario, N).loc[label]))
        lines.append(row([*cells, decimal(moved[label], 1), _cosine(training, label)]))
    return {"training": lines}


def _interval(line: pd.Series) -> str:
    low, high = decimal(line["low"], 3), decimal(line["high"], 3)
    return f"{_signed(line)} ({low}, {high})"


def _cosine(training: Training, label: str) -> str:
    """Write the cosine of one step's gradient with the oracle's, mean ± standard error."""
    assert training.oracle is not None  # checked by `numbers`
    own = training.oracle.loc[training.oracle["estimator"] == label, COSINE]
    return fixed(own.mean(), own.sem())
