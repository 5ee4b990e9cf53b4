"""The article's numbers on bandit training: rollouts needed, shares lost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.bandit.read import OWN, Study, mean_se
from analysis.bandit.report import ALIKE
from analysis.core import style
from analysis.core.read import read_manifest
from analysis.paper.latex import count, decimal, name, percent, pm, row, span
from analysis.paper.studies import Studies, claim

FILE = "sections/bandit.tex"
LINEAR, TABULAR = ("quiet", "noisy"), "tabular"
#: ahead of the reference on nearly every law, for every linear policy and budget
AHEAD = ("TEA .5", "Linear TEA", "CVaR")
#: least lost in each kind of linear policy
BEST = {"quiet": "auto TEA", "noisy": "Linear TEA, k ≥ 4"}
#: fast at first, then short of the goal
SHORT = ("RLOO", "GRPO")
#: least lost in tabular policies
LEAST = ("BoN max-mean", "max@m")
#: of the reference's own gain, the goal of the column `ratio_reference`
GOAL = 0.9


def numbers(studies: Studies) -> dict[str, str]:
    """Return the bandit study's numbers by key."""
    study = studies.bandit
    manifest = read_manifest(studies.folder / "bandit" / "manifest.json")
    settings = manifest["configuration"]
    values = {
        "bandit/laws": count(len(study.laws)),
        "bandit/policies": count(len(settings["policies"])),
        "bandit/budgets": count(len(settings["budgets"])),
        "bandit/arms": count(len(settings["estimators"])),
        "bandit/runs": count(settings["runs"]),
        "bandit/tuning": count(settings["tuning_runs"]),
        "bandit/steps": count(settings["steps"]),
        "bandit/rollouts": count(settings["rollouts"]),
        "bandit/responses": count(settings["responses"]),
        "bandit/kl": decimal(settings["kl_limit"], 1),
        "bandit/own": percent(GOAL),
        "bandit/draws": count(settings["quality_draws"]),
        "bandit/quiet": count(settings["policies"]["quiet"]["nuisance"]),
        "bandit/noisy": count(settings["policies"]["noisy"]["nuisance"]),
        "bandit/time": span(sum(run["seconds"] for run in manifest["runs"])),
    }
    least = min(_fewer(study, label, "50").min() for label in AHEAD)
    values["bandit/fewer"] = count(least)
    values["bandit/fewer/auto TEA"] = count(_fewer(study, "auto TEA", "50").min())
    values["bandit/early"] = count(min(_fewer(study, label, "50").min() for label in SHORT))
    for label in SHORT:
        values[f"bandit/late/{label}"] = count(_fewer(study, label, "80").max())
    values |= _predictions(study)
    overall = _overall(study)
    for policy in (*LINEAR, TABULAR):
        shares = overall.loc[policy]
        others = ("Prefix-TEA",) if policy in LINEAR else LEAST
        for label in ("auto TEA", study.reference, *others):
            values[f"lost/{policy}/{label}"] = _share(shares.loc[label])
        if policy in LINEAR:
            values[f"gap/{policy}/RLOO"] = percent(shares.loc["RLOO", "gap"])
            values[f"gap/{policy}/auto TEA"] = percent(shares.loc["auto TEA", "gap"])
            least_label = shares["share"].idxmin()
            if least_label != "auto TEA":
                values[f"lost/{policy}/best"] = _share(shares.loc[least_label])
            claim(least_label == BEST[policy], f"{policy}: {BEST[policy]} loses least", FILE)
        else:
            first = set(shares["share"].nsmallest(2).index)
            claim(first == set(LEAST), f"{policy}: {' and '.join(LEAST)} lose least", FILE)
    reached = study.arms[(study.arms["policy"] == TABULAR)]
    worth = reached[np.isfinite(reached["ratio_50"]) & (reached["ratio_50"] > 0)]
    values["bandit/tabular/laws"] = count(worth["law"].nunique())
    return values


def _fewer(study: Study, label: str, target: str) -> pd.Series:
    """Count the laws on which an arm needs fewer rollouts than the reference, by linear setting."""
    rows = study.arms[(study.arms["estimator"] == label) & study.arms["policy"].isin(LINEAR)]
    fewer = rows[f"ratio_{target}"] < ALIKE
    return fewer.groupby([rows["policy"], rows["m"], rows["N"]]).sum()


def _predictions(study: Study) -> dict[str, str]:
    """Return how well the first gradient's cosine predicts speed, and its alignment the end."""
    values = {}
    for policy in (*LINEAR, TABULAR):
        rows = study.arms[study.arms["policy"] == policy]
        others = rows[rows["estimator"] != study.reference]
        off = np.exp(np.abs(np.log(others[f"ratio_{OWN}"] / others["predicted"])).median())
        rank = rows["alignment"].corr(rows["gap"], method="spearman")
        if policy in LINEAR:
            values[f"foretold/{policy}"] = decimal(off)
        values[f"rank/{policy}"] = decimal(rank)
    return values


def _overall(study: Study) -> pd.DataFrame:
    """Return means over laws and budgets by (policy, estimator), and the share's s.e."""
    groups = study.means.groupby(["policy", "estimator"], sort=False)
    means = groups[["cosine", "alignment", "share", "gap"]].mean()
    return means.join(groups["share_se"].agg(mean_se))


def _share(line: pd.Series) -> str:
    return pm(line["share"], line["share_se"], 100.0)


def rows(studies: Studies) -> dict[str, list[str]]:
    """Return the table of lost shares: estimators by policies, with cosine and alignment."""
    study, overall = studies.bandit, _overall(studies.bandit)
    lines = []
    for label in style.ordered(study.options):
        if label not in overall.loc[TABULAR].index:
            continue
        cells = [name(label)]
        for policy in (*LINEAR, TABULAR):
            line = overall.loc[(policy, label)]
            cells += [_share(line), decimal(line["cosine"]), decimal(line["alignment"])]
        lines.append(row(cells))
    return {"bandit": lines}
