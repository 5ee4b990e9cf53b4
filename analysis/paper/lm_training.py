"""What the article says of training language models: gains, and who is told from whom."""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from analysis.core import style
from analysis.core.read import ResultsError
from analysis.lm.training_figures import Training
from analysis.paper.latex import count, decimal, fixed, name, row
from analysis.paper.studies import Studies, held

FILE = "sections/lm_training.tex"
MEAN = 1
#: arms of which the text gives the gain in the best of the largest N, by study
TOLD = {
    "train": ("RLOO", "GRPO", "linear TEA", "auto TEA", "TEA .25", "CAT-BoN", "max@m"),
    "equal": ("max@m", "Prefix-TEA"),
    "second": ("RLOO", "max@m", "TEA .25"),
}
#: these lead toward tone
LEADERS = ("RLOO", "GRPO")
#: these were given a smaller step than the others
SMALLER = {"max@m", "BoN max-mean", "Prefix-TEA"}
#: with the noise of the large-sample gradient taken out
COSINE = "cosine_corrected"


def numbers(studies: Studies) -> dict[str, str]:
    """Return the training studies' numbers by key."""
    trained = {
        "train": studies.lm_training,
        "equal": studies.lm_training_equal,
        "second": studies.lm_training_second,
    }
    told = _settings(studies.lm_training) | _oracle(studies) | _tuning(studies.lm_training)
    (second,) = studies.lm_training_second.manifest["configuration"]["scenarios"].values()
    told["second/temperature"] = decimal(second["temperature"], 1)
    means = studies.lm_training_second.gains(studies.lm_training_second.scenarios[0], MEAN)
    told |= {f"second/{label}/mean": _signed(means.loc[label]) for label in TOLD["second"]}
    _toward_tone(studies.lm_training)
    _toward_relevance(studies.lm_training_second)
    for key, training in trained.items():
        gains = training.gains(training.scenarios[0], training.most)
        told |= {f"{key}/{label}": _signed(gains.loc[label]) for label in TOLD[key]}
    return told


def _settings(training: Training) -> dict[str, str]:
    """Return what a reader needs to run it again."""
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
    """Return how near to each other tuning found step sizes of one arm that did not go far."""
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


# --- who gained what ------------------------------------------------------------------------------


def _above(training: Training, ours: str, theirs: str, N: int) -> bool:
    """Tell whether one arm is above another by more than the interval of their difference."""
    rows = training.differences[training.differences["N"] == N]
    here = rows[(rows["estimator"] == ours) & (rows["against"] == theirs)]
    there = rows[(rows["estimator"] == theirs) & (rows["against"] == ours)]
    return bool((here["low"] > 0.0).any() or (there["high"] < 0.0).any())


def _toward_tone(training: Training) -> None:
    """Hold what the text and the abstract say of it in words."""
    others = set(training.options) - set(LEADERS)
    sizes = (MEAN, training.most)
    ahead = (_above(training, a, b, N) for a in LEADERS for b in others for N in sizes)
    held(all(ahead), "RLOO and GRPO end above every other arm", FILE)
    forms = ("linear TEA", "auto TEA")
    better = (_above(training, a, "TEA .25", N) for a in forms for N in sizes)
    held(all(better), "linear and auto TEA end above TEA", FILE)
    rates = training.rates(training.scenarios[0])
    smaller = set(rates.index[rates < rates.max()])
    held(smaller == SMALLER, "three arms were given a smaller step", FILE)


def _toward_relevance(training: Training) -> None:
    """Hold what the text says of it in words."""
    orders = {MEAN: ("RLOO", "max@m", "TEA .25"), training.most: ("max@m", "RLOO", "TEA .25")}
    for N, order in orders.items():
        apart = (_above(training, a, b, N) for a, b in combinations(order, 2))
        held(all(apart), f"{' above '.join(order)} at N = {N}", FILE)


def _signed(line: pd.Series) -> str:
    r"""Write a gain with its sign.

    Examples
    --------
    >>> _signed(pd.Series({"difference": 0.0621})), _signed(pd.Series({"difference": -0.004}))
    ('+0.062', '\\ensuremath{-0.004}')
    """
    sign = "+" if line["difference"] > 0.0 else ""
    return sign + decimal(line["difference"], 3)


# --- the table ------------------------------------------------------------------------------------


def rows(studies: Studies) -> dict[str, list[str]]:
    """Return the table of arms: step size, gains with intervals, divergence, first cosine."""
    training = studies.lm_training
    (scenario,) = training.scenarios
    rates = training.rates(scenario)
    moved = training.behaviour.groupby("estimator")["kl"].mean()
    lines = []
    for label in style.ordered(training.options):
        cells = [name(label), _small(rates[label])]
        for N in (MEAN, training.most):
            cells.append(_interval(training.gains(scenario, N).loc[label]))
        lines.append(row([*cells, decimal(moved[label], 1), _cosine(training, label)]))
    return {"training": lines}


def _interval(line: pd.Series) -> str:
    low, high = decimal(line["low"], 3), decimal(line["high"], 3)
    return f"{_signed(line)} ({low}, {high})"


def _small(value: float) -> str:
    r"""Write a small number as LaTeX.

    Examples
    --------
    >>> _small(5e-4), _small(1.2e-3)
    ('$5\\cdot10^{-4}$', '$1.2\\cdot10^{-3}$')
    """
    digits, exponent = f"{value:.1e}".split("e")
    return rf"${float(digits):g}\cdot10^{{{int(exponent)}}}$"


def _cosine(training: Training, label: str) -> str:
    """Write the cosine of one step's gradient with the oracle's, mean ± standard error."""
    assert training.oracle is not None  # `numbers` has seen to that
    own = training.oracle.loc[training.oracle["estimator"] == label, COSINE]
    return fixed(own.mean(), own.sem())
