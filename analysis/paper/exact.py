"""The article's numbers that need no simulation: constants, designs, and the table of methods."""

from __future__ import annotations

from analysis.linear import tables
from analysis.paper.latex import count, decimal, name, row
from analysis.paper.studies import Studies
from tea_stats import ESTIMATORS, Normal, best_of_n, tails

#: (m, N) for which the text gives the efficiency of linear TEA
EFFICIENT = ((16, 128), (32, 512), (64, 512))


def numbers(studies: Studies) -> dict[str, str]:
    """Return constants and exact efficiencies by key."""
    values = {"prefix/orderings": count(ESTIMATORS["prefix_tea"].defaults["orderings"])}
    values |= {"c/128": decimal(best_of_n.value(Normal(), 128), 3)}
    for N in (128, 512):
        values[f"tail coefficient/{N}"] = decimal(tails.tail_coefficient(0.25, N))
    for m, N in EFFICIENT:
        for k_min, key in ((1, "whole"), (m // 2, "half")):
            efficiency = tables.normal_efficiency(m, N, k_min)
            values[f"efficiency/{m}/{N}/{key}"] = decimal(efficiency, 3)
    return values


def rows(studies: Studies) -> dict[str, list[str]]:
    """Return the table of methods, and the three of linear designs."""
    methods = []
    for e in ESTIMATORS.values():
        # without a citation, the reference in words; what a method of ours builds on is in the text
        words = e.reference.split("; builds on")[0].replace("this project", "this article")
        source = rf"\citet{{{','.join(e.citations)}}}" if e.citations else words
        methods.append(row([name(e.title), e.objective, source]))
    designs = {f"linear_{key}": make() for key, make in tables.TABLES.items()}
    return {"methods": methods, **designs}
