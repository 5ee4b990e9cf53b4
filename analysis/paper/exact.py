"""What the article says without any simulation: constants, designs, and the table of methods."""

from __future__ import annotations

import re
from collections.abc import Mapping

from analysis.linear import tables
from analysis.paper.latex import count, decimal, row
from analysis.paper.studies import Studies
from tea_stats import ESTIMATORS, Normal, best_of_n, tails

#: (m, N) for which the text tells the efficiency of linear TEA
EFFICIENT = ((16, 128), (32, 512), (64, 512))
#: works in `paper/references.bib` by registry name
CITED: Mapping[str, tuple[str, ...]] = {
    "tea": ("li2026",),
    "prefix_tea": ("li2026",),
    "linear_tea": (),
    "adaptive_tea": (),
    "beta_binomial": (),
    "auto_tea": (),
    "max_at_k": ("walder2025", "takashiro2026"),
    "rloo": ("kool2019", "ahmadian2024"),
    "grpo": ("shao2024",),
    "dr_grpo": ("liu2025",),
    "reinforce": ("williams1992",),
    "leave_one_out_max": ("tang2025",),
    "bon_max_mean": (),
    "cat_bon": ("ousherovitch2026",),
    "rs_grpo": ("jiang2025",),
    "cvar": ("tamar2015",),
    "tail_rl": (),
    "max_rl": ("tajwar2026",),
    "pass_at_k": ("chen2025",),
}
#: what stands in the table for methods that cite no work
UNCITED: Mapping[str, str] = {
    **dict.fromkeys(("linear_tea", "adaptive_tea", "beta_binomial", "auto_tea"), "this article"),
    "bon_max_mean": "in common use",
    "tail_rl": "objective derived here",
}
TITLES: Mapping[str, str] = {
    "tea": "TEA",
    "prefix_tea": "Prefix-TEA",
    "linear_tea": "linear TEA",
    "adaptive_tea": "adaptive TEA",
    "beta_binomial": "beta-binomial",
    "auto_tea": "auto TEA",
    "max_at_k": "max@$k$",
    "rloo": "RLOO",
    "grpo": "GRPO",
    "dr_grpo": "Dr.\\,GRPO",
    "reinforce": "REINFORCE",
    "leave_one_out_max": "leave-one-out max",
    "bon_max_mean": "BoN max-mean",
    "cat_bon": "CAT-BoN",
    "rs_grpo": "RS-GRPO",
    "cvar": "CVaR",
    "tail_rl": "TailRL",
    "max_rl": "MaxRL",
    "pass_at_k": "pass@$k$ training",
}
#: formulas in the registry's plain text, longest first, as LaTeX
FORMULAS: Mapping[str, str] = {
    "(1/m) (sum over k <= m of V_k / k - E[min of m] / m)": (
        r"$\frac1m\bigl(\sum_{k\le m}V_k/k-\mathrm{E}[\min\text{ of }m]/m\bigr)$"
    ),
    "((k - 1)/k) E[mean of the best k - 1 of m], k the tail count": (
        r"$\frac{k-1}k\mathrm{E}$[mean of the best $k-1$ of $m$], $k$ the tail count"
    ),
    "sum gap_l E[W_l] P(R >= v_l), E[W_l] fixed": (
        r"$\sum_l\mathrm{E}[W_l]\,(v_l-v_{l-1})\Pr(R\ge v_l)$, $\mathrm{E}[W_l]$ fixed"
    ),
    "sum over k < m of V_k / k, log P(success)": r"$\sum_{k<m}V_k/k$, $\log\Pr(\text{success})$",
    "(1/beta) log E exp(beta R)": r"$\frac1\beta\log\mathrm{E}\exp(\beta R)$",
    "best-of-N to O(m^-order)": r"best-of-$N$ to $O(m^{-\mathrm{order}})$",
    "k = min(N, m)": r"$k=\min(N,m)$",
    "sum w_k V_k": r"$\sum_kw_kV_k$",
    "(1 - 1/m) V_1": r"$(1-1/m)\,V_1$",
    "m times smaller": r"$m$ times smaller",
    "finite m": r"finite $m$",
    "as m grows": r"as $m$ grows",
    "V_m / m": r"$V_m/m$",
    "best-of-N": r"best-of-$N$",
    "best-of-k": r"best-of-$k$",
    "best-of-m": r"best-of-$m$",
    "V_1": r"$V_1$",
    "V_k": r"$V_k$",
}


def numbers(studies: Studies) -> dict[str, str]:
    """Return constants and exact efficiencies by key."""
    found = {"prefix/orderings": count(ESTIMATORS["prefix_tea"].defaults["orderings"])}
    found |= {"c/128": decimal(best_of_n.value(Normal(), 128), 3)}
    for N in (128, 512):
        found[f"tail coefficient/{N}"] = decimal(tails.tail_coefficient(0.25, N))
    for m, N in EFFICIENT:
        for k_min, key in ((1, "whole"), (m // 2, "half")):
            efficiency = tables.normal_efficiency(m, N, k_min)
            found[f"efficiency/{m}/{N}/{key}"] = decimal(efficiency, 3)
    return found


def described(text: str) -> str:
    r"""Write a registry's `unbiased_for` as LaTeX.

    Examples
    --------
    >>> described("V_k, best-of-k; its surrogate on the laws of `tails`")
    '$V_k$, best-of-$k$; its surrogate on the laws of \\texttt{tails}'
    """
    places: list[str] = []
    for formula in sorted(FORMULAS, key=len, reverse=True):
        # a private character keeps a formula's place, so that no shorter one is found in it
        while formula in text:
            text = text.replace(formula, chr(0xE000 + len(places)), 1)
            places.append(FORMULAS[formula])
    text = re.sub(r"`(\w+)`", lambda found: rf"\texttt{{{found[1]}}}", text)
    text = text.replace("_", r"\_")
    return re.sub("[\ue000-\uf8ff]", lambda found: places[ord(found[0]) - 0xE000], text)


def rows(studies: Studies) -> dict[str, list[str]]:
    """Return the table of methods, and the three of linear designs."""
    methods = []
    for key, estimator in ESTIMATORS.items():
        works = ",".join(CITED[key])
        source = rf"\citet{{{works}}}" if works else UNCITED[key]
        methods.append(row([TITLES[key], described(estimator.unbiased_for), source]))
    designs = {f"linear_{name}": make() for name, make in tables.TABLES.items()}
    return {"methods": methods, **designs}
