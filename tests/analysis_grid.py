"""A small grid in which every kind of cell occurs; tests of figures and of reports measure it."""

from __future__ import annotations

import re
from dataclasses import replace

import matplotlib.pyplot as plt

from analysis import figures
from simulations.grid import run
from simulations.grid.schema import read_grid
from tests.studies import one_thread

GRID = """
seed = 3
m = [8, 16, 32]
N = [16, 128, 1024]
reps = { 8 = 3_000, 16 = 3_000, 32 = 3_000 }

[laws.Normal]
family = "Normal"

[laws.GaussianTail]
family = "GaussianTail"

[laws.GumbelMin]
family = "GumbelMin"

[laws."heavy tail"]
family = "StudentT"
df = 1.8

[laws.verifier]
family = "Discrete"
values = [0.0, 1.0]
probabilities = [0.99, 0.01]

[estimators]
"TEA .25" = { name = "tea" }
"TEA .5" = { name = "tea", alpha = 0.5 }
"Prefix-TEA cross" = { name = "prefix_tea", crossfit = true, orderings = 1 }
"max@m" = { name = "max_at_k" }
RLOO = { name = "rloo" }
GRPO = { name = "grpo" }
MaxRL = { name = "max_rl" }

[response]
m = [16]
N = [128]
reps = 300
points = 17
"""


def measure(place):
    """Run the grid in a folder and return its results folder."""
    (place / "small.toml").write_text(GRID)
    run.run(read_grid(place / "small.toml"), place / "small", one_thread())
    return place / "small"


def changed(results, change):
    """Return the results with another table."""
    return replace(results, table=change(results.table.copy()))


def scale(column, factor, **where):
    """Return a change that multiplies a column on the rows where others have these values."""

    def change(table):
        rows = True
        for name, value in where.items():
            rows = rows & (table[name] == value)
        table.loc[rows, column] *= factor
        return table

    return change


def finding(name, results):
    """Return a figure's title as one line."""
    figure = figures.FIGURES[name](results)
    plt.close(figure)
    return re.sub(r"\s+", " ", figure.get_suptitle())
