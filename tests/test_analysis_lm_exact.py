"""What the exact training study is said to show: only what holds at every step size, with seeds."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from analysis.lm import exact, exact_figures, exact_tables
from analysis.lm.exact_figures import EXACT, Exact
from analysis.paper import lm_exact
from analysis.readme.plain import plain

ARMS = {"RLOO": "rloo", "GRPO": "grpo", "max@m": "max_at_k", "TEA .25": "tea"}
SCENARIO, RATES, PROMPTS = "tone, N = 128", (8e-4, 4e-4), ("a", "b")


def made(seeds=12, gaps=(0.03, 0.03), half=0.01, lacking=None):
    """Return a study in which max@m and TEA end above RLOO and GRPO by a gap at each step size."""
    arms = [*ARMS, *EXACT]
    counts = {(rate, arm): seeds for rate in RATES for arm in arms}
    counts |= dict.fromkeys(lacking or [], 0)
    value = {arm: 0.01 for arm in arms} | dict.fromkeys(EXACT, 0.2)
    runs, differences, frontier = [], [], []
    for rate, gap in zip(RATES, gaps, strict=True):
        ends = value | {"max@m": 0.01 + gap, "TEA .25": 0.01 + gap}
        there = [arm for arm in arms if counts[rate, arm]]
        for arm in there:
            for seed in range(counts[rate, arm]):
                for split in ("trained", "held out"):
                    row = {"scenario": SCENARIO, "estimator": arm, "rate": rate, "seed": seed}
                    row |= {"step": 40, "split": split, "kl": 1.0, "entropy": 5.0}
                    runs.append(row | {f"V_{N}": ends[arm] for N in (1, 128, 512)})
            row = {"scenario": SCENARIO, "rate": rate, "split": "trained", "estimator": arm}
            row |= {"N": 128, "kl": 1.0, "seeds": seeds, "gain": ends[arm]}
            frontier.append(row | {"half_seeds": half, "half_prompts": half})
        for theirs, ours in combinations(there, 2):
            row = {"scenario": SCENARIO, "rate": rate, "split": "held out", "N": 128}
            row |= {"estimator": ours, "against": theirs, "seeds": seeds}
            row |= {"difference": ends[ours] - ends[theirs]}
            differences.append(row | {"half_seeds": half, "half_prompts": 2 * half})
    start = {"scenario": SCENARIO, "prompt": "a", "effective": 300.0, "ceiling": False}
    gradients = [
        {"scenario": SCENARIO, "prompt": p, "N": N, "norm": 1.0, "cosine": 1.0 if N == 1 else 0.3}
        for p in ("trained", "held out", *PROMPTS)
        for N in (1, 128)
    ]
    configuration = {
        "seeds": 12,
        "N": [1, 128, 512],
        "scenarios": {SCENARIO: {"N": 128, "m": 16, "reward": "tone"}},
        "training": {"rates": list(RATES), "batch": 8, "steps": 40},
        "trees": {"sizes": [24, 8, 32], "count": 16, "heldout_count": 8},
        "adapter": {"rank": 8, "layers": 2},
        "quality": {"count": 16, "m": [16], "N": [128]},
        "pools": {"count": 2},
        "sweep": {"batches": [2, 8], "estimators": ["max@m"]},
        "estimators": {arm: {"name": name} for arm, name in ARMS.items()},
    }
    checks = {"scenario": SCENARIO, "logprob_error": 2e-5, "derivative_error": 1e-4}
    return Exact(
        start=pd.DataFrame([start]),
        gradients=pd.DataFrame(gradients),
        checks=pd.DataFrame([checks]),
        runs=pd.DataFrame(runs),
        differences=pd.DataFrame(differences),
        frontier=pd.DataFrame(frontier),
        quality=None,
        pools=None,
        prediction=None,
        sweep=None,
        manifest={"configuration": configuration},
    )


class Only(NamedTuple):
    """The studies of the article, as far as these numbers ask for them."""

    lm_exact: Exact


def claims(study):
    return {(better, other) for better, other, _ in exact_tables.apart(study, SCENARIO)}


def test_a_difference_at_every_step_size_with_enough_seeds_is_claimed():
    found = claims(made())
    assert ("TEA .25", "RLOO") in found and ("max@m", "GRPO") in found
    assert ("exact ∇V_N", "max@m") in found
    assert not any({"max@m", "TEA .25"} == {*pair} for pair in found)
    text = plain(lm_exact.verdict(made(), SCENARIO))
    assert "step size, max@m and TEA .25 are above RLOO and GRPO." in text and "∇" not in text
    few = plain(lm_exact._arms(["a", "b", "c"], ["a", "b", "c", "d", "RLOO", "GRPO"]))
    assert few == "of 4 arms for best-of-N all but d"
    assert plain(lm_exact._arms(["a", "b", "c"], ["a", "b", "c"])) == "of 3 arms for best-of-N all"
    assert plain(lm_exact.verdict(made(), SCENARIO, brief=True)) in text
    pair = [("max@m", "TEA .25")]
    text = plain(lm_exact._among_tails(made(), pair, list(ARMS)))
    assert text == "Of 1 pairs of arms for best-of-N 1 are told apart; none is above max@m."
    assert lm_exact._among_tails(made(), [("max@m", "RLOO")], list(ARMS)) == ""
    assert plain(lm_exact.name("linear TEA, k ≥ 1")).startswith("linear TEA (k")
    (line, *_) = [x for x in lm_exact.rows(Only(made()))["apart"] if "TEA .25" in x]
    assert line.count(r"\num{+0.030 \pm 0.010} (0.020)") == 4
    assert plain(lm_exact.over_prompts(made())) == "4 of 4"


def test_a_split_whose_prompts_are_all_at_the_ceiling_has_no_averages():
    study = made()
    runs = study.runs[study.runs["split"] == "held out"]
    study = Exact(**{**vars(study), "runs": runs, "frontier": study.frontier.iloc[:0]})
    table = exact_tables.gains(study, SCENARIO, RATES[0])
    assert (table[["V_128 trained", "KL", "entropy", "V_128 at KL 1"]] == "–").all(axis=None)
    assert table["V_128 held out"].str.startswith(("+", "-")).all()
    assert "lm_exact_prediction" not in exact.figures(study)


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": 11},
        {"gaps": (0.03, 0.005)},
        {"gaps": (0.03, -0.03)},
        {"half": 0.04},
        {"lacking": [(RATES[1], arm) for arm in ("max@m", "TEA .25")]},
    ],
)
def test_nothing_is_claimed_that_fails_at_a_step_size_or_lacks_seeds(changes):
    study = made(**changes)
    assert not any(other in {"RLOO", "GRPO"} and a in ARMS for a, other in claims(study))
    text = lm_exact.verdict(study, SCENARIO)
    assert "above" not in text and ("nothing is claimed" in text or "told apart" in text)


def test_arms_below_the_mean_are_said_too():
    text = lm_exact.verdict(made(gaps=(-0.03, -0.03)), SCENARIO)
    assert "below RLOO" in text and "above" not in text


def test_what_is_missing_is_listed():
    study = made(lacking=[(RATES[1], "TEA .25")])
    lines = exact_tables.missing(study)
    assert lines[0] == f"{SCENARIO}: of 72 training runs 12 at step size 0.0004"
    assert exact_tables.finished(study) == (11 * 12, 12 * 12)
    assert lines[1] == "tone: gradients before training of 16 of 16 prompts"
    assert "132" in lm_exact.state(study) and "144" in lm_exact.state(study)
    other = made(lacking=[(RATES[1], arm) for arm in (*ARMS, *EXACT)])
    assert exact_tables.missing(other)[0].endswith("of 72 training runs 72 at step size 0.0004")
    assert "12 at step size" in plain(lm_exact.missing(study))
    study.configuration["scenarios"]["relevance"] = {"N": 128, "m": 16, "reward": "relevance"}
    assert "relevance: all training runs" in exact_tables.missing(study)
    assert "For relevance: nothing is claimed" in lm_exact.verdicts(study)


def test_report_has_the_tables_and_what_is_missing():
    text = exact.report(made())
    assert "+0.040 ± 0.000" in text and "TEA .25 − RLOO" in text
    assert text.endswith("other numbers of rollouts a step")


def test_pools_are_compared_with_the_rule():
    rows = [
        {"kind": "gradient", "reward": "tone", "prompt": p, "M": M, "N": 128, "draw": d}
        | {"cosine": 0.9, "noise": noise * (1 + d), "square": 1.0 + d, "halves": 0.5 * (1 + d)}
        | {"tail": M / 128, "dimensions": 16.0, "rule": 16.0 / (16.0 + M / 128)}
        for p in PROMPTS
        for M, noise in ((2048, 0.5), (8192, 0.25))
        for d in range(2)
    ]
    pools = pd.DataFrame(rows)
    order = [
        {"kind": "order", "reward": "tone", "prompt": "a", "M": 2048, "N": 128, "draw": 0}
        | {"estimator": arm, "gain_law": x, "gain_pool": y}
        for arm, x, y in zip(ARMS, (1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 4.0, 3.0), strict=True)
    ]
    pools = pd.concat([pools, pd.DataFrame(order)], ignore_index=True)
    study = Exact(**{**vars(made()), "pools": pools})
    table = exact_tables.noise(study).set_index("M")
    # the share is of sums over pools; the rule is 16/(16 + M/N)
    assert table["share"].to_dict() == pytest.approx({2048: 0.5, 8192: 0.25})
    assert table["rule"].to_dict() == pytest.approx({2048: 0.5, 8192: 0.2})
    assert exact_tables.orders(study)["correlation"].tolist() == pytest.approx([0.8])
    assert r"\num{0.05}" in lm_exact.rule(study)


def test_the_gain_of_an_estimator_beside_others_and_among_tails():
    gains = {"RLOO": 0.9, "GRPO": 0.8, "max@m": 0.2, "TEA .25": 0.4}
    rows = [
        {"scenario": SCENARIO, "scores": "adapter", "m": 16, "N": 128, "estimator": arm}
        | {"prompt": prompt, "groups": groups, "gain": gain * (2.0 if prompt == "batch" else 1.0)}
        for arm, gain in gains.items()
        for prompt in (*PROMPTS, "batch")
        for groups in (8, 64)
    ]
    quality = pd.DataFrame(rows).assign(bias2=0.0, noise=0.0, cosine=1.0, error=0.0)
    study = made()
    runs = study.runs.copy()
    runs.loc[runs["estimator"] == "max@m", "V_128"] += 1.0
    prediction = pd.DataFrame([{"scenario": SCENARIO, "rate": RATES[0], "step": 40}])
    study = Exact(**{**vars(study), "quality": quality, "runs": runs, "prediction": prediction})
    table = exact_tables.beside(study, "max@m", ("TEA .25", "RLOO"))
    assert table["ratio"].tolist() == pytest.approx([0.2 / 0.9] * 4)
    assert set(zip(table["groups"], table["prompt"], strict=True)) == {
        (groups, prompt) for groups in (8, 64) for prompt in ("batch", "each")
    }
    assert exact_tables.beside(study, "linear TEA", ("RLOO",)).empty
    # max@m gains more than TEA .25 from half of its G; RLOO and GRPO have no say
    assert exact_tables.among_tails(study)["correlation"].tolist() == pytest.approx([-1.0])
    assert exact_tables.among_tails(made()).empty


def test_predictions_need_every_setting():
    row = {"scenario": SCENARIO, "step": 40, "split": "trained", "arms": 12, "correlation": 0.8}
    rows = [
        row | {"rate": rate, "seeds": 12, "figure": figure, "low": 0.4, "high": 0.9}
        for rate in RATES
        for figure in ("gain", "error")
    ]
    table = pd.DataFrame(rows)
    study = made()
    full = Exact(**{**vars(study), "prediction": table})
    assert "the one-step gain $G$, of the first batch, predicts" in lm_exact.prediction(full)
    # what holds after 10 steps says nothing of 40
    early = pd.concat([table.assign(step=10), table.assign(low=-0.1)])
    text = lm_exact.prediction(Exact(**{**vars(study), "prediction": early}))
    assert r"After \num{10} steps the one-step gain $G$, of the first batch, predicts" in text
    assert r"Whether it predicts their order after \num{40} steps is not settled" in text
    assert plain(lm_exact.predicted(full)).endswith("40 steps (rank correlation 0.80 to 0.80).")
    late = plain(lm_exact.predicted(Exact(**{**vars(study), "prediction": early})))
    assert "lead after 10 steps" in late and late.endswith(", not after 40.")
    for weaker in (
        table[table["rate"] == RATES[0]],
        table.assign(seeds=4),
        table.assign(low=np.where(table["rate"] == RATES[1], -0.1, 0.4)),
    ):
        less = Exact(**{**vars(study), "prediction": weaker})
        assert "is not settled" in lm_exact.prediction(less)
        assert lm_exact.predicted(less) == ""


def test_a_step_size_that_lacks_an_arm_does_not_move_the_others():
    full, less = made(), made(lacking=[(RATES[1], "RLOO")])
    places = []
    for study in (full, less):
        figure = exact_figures.final(study, SCENARIO)
        axes = figure.axes[0]
        labels = [text.get_text() for text in axes.get_yticklabels()]
        drawn = sorted(
            (float(line.get_ydata()[0]), line.get_markerfacecolor() == "white")
            for line in axes.lines
            if line.get_marker() == "o"
        )
        places.append((labels, drawn))
        plt.close(figure)
    (labels, everything), (again, fewer) = places
    assert labels == again and len(everything) == 2 * len(labels)
    place = labels.index("RLOO")
    missing = [mark for mark in everything if mark not in fewer]
    assert missing == [(pytest.approx(place + 0.2), True)]
