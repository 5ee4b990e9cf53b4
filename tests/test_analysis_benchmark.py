"""The benchmark: performance ratios computed again by hand, their table and their figures."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("pydantic")
pytest.importorskip("statsmodels")
pytest.importorskip("matplotlib")
pytest.importorskip("typer")
from typer.testing import CliRunner

from analysis import figures
from analysis.benchmark import frontier, ranking, ratios
from analysis.core import read
from analysis.core.read import Absent
from analysis.grid import sample_efficiency
from simulations.grid import run
from simulations.grid.schema import read_grid
from tea_stats import Normal, best_of_n, monte_carlo
from tests.analysis_grid import changed, one_thread

pytestmark = pytest.mark.xdist_group("small grid")
BENCHMARK = """
seed = 3
m = [8, 16]
N_over_m = [4, 16]
prompts = 16
block_rewards = 4_000
reps = { 8 = 3_200, 16 = 1_600 }

[laws.Normal]
family = "Normal"

[laws."skewed, moved"]
family = "Affine"
base = { family = "Gamma", shape = 3.0 }

[laws.judge]
family = "Discrete"
values = [1.0, 2.0, 5.0]
probabilities = [0.6, 0.38, 0.02]

[estimators]
TEA = { name = "tea" }
"adaptive TEA" = { name = "adaptive_tea", prompts = 16 }
RLOO = { name = "rloo" }

[parts]
"known" = ["Normal"]
"new" = ["judge", "skewed, moved"]
"""


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """Return the folder of a small benchmark of batches."""
    place = tmp_path_factory.mktemp("benchmark")
    (place / "benchmark.toml").write_text(BENCHMARK)
    run.run(read_grid(place / "benchmark.toml"), place / "benchmark", one_thread())
    return place / "benchmark"


@pytest.fixture(scope="module")
def results(benchmark):
    return read.load(benchmark)


def test_every_m_has_budgets_of_its_own(results):
    cells = set(zip(results.cells["m"], results.cells["N"], strict=True))
    assert cells == {(8, 32), (8, 128), (16, 64), (16, 256)}


def test_the_error_is_that_of_64_prompts_whatever_the_batch(results):
    """The mean of 16 groups has a sixteenth of a group's variance, a quarter counts for 64."""
    row = results.cells.query("law == 'Normal' and estimator == 'RLOO' and m == 16 and N == 64")
    (row,) = row.itertuples()
    truth = best_of_n.gradient(read_grid_of(results).built["Normal"], 64)
    # RLOO is unbiased for the mean: bias and variance in closed form; m = 16, scores z and z² − 1
    bias = np.hypot(truth[0] - 1.0, truth[1])
    # 5 standard errors of 100 batches
    assert row.bias_size == pytest.approx(bias, abs=5 * row.bias_mcse)
    assert row.noise_part == pytest.approx(row.variance / 4 / (truth @ truth))
    assert row.batch_nmse == pytest.approx(row.bias_part + row.noise_part)


def read_grid_of(results):
    return read_grid(results.folder.parent / "benchmark.toml")


def test_performance_ratios_are_errors_over_the_least_one(results):
    table = ratios.performance_ratios(results).set_index([*ratios.CELL, "estimator"])
    cells = results.cells.set_index([*ratios.CELL, "estimator"]).sort_index()
    assert len(table) == 3 * 4 * 3
    for key, row in table.iterrows():
        errors = cells.loc[key[:3], "batch_nmse"]
        assert row["error"] == cells.loc[key, "batch_nmse"]
        assert row["to_best"] == pytest.approx(row["error"] / errors.min(), rel=1e-14)
        assert row["to_tea"] == pytest.approx(row["error"] / errors["TEA"], rel=1e-14)
        assert row["part"] == ("known" if key[0] == "Normal" else "new")
        relative = cells.loc[key[:3], "batch_nmse_mcse"] / errors
        best = errors.idxmin()
        expected = 0.0 if key[3] == best else np.hypot(relative[key[3]], relative[best])
        assert row["to_best_mcse"] == pytest.approx(row["to_best"] * expected, rel=1e-12)


def test_the_ranking_counts_cells(results):
    rows = ratios.performance_ratios(results)
    for _, own in rows.groupby("part"):
        for row in ranking.ranking(own).itertuples():
            mine = own[own["estimator"] == row.estimator]
            assert row.cells == len(mine)
            assert row.worst_to_best == mine["to_best"].max()
            assert row.mean_to_tea == pytest.approx(math.prod(mine["to_tea"]) ** (1 / len(mine)))
            assert row.efficiency == pytest.approx(np.nanmean(mine["efficiency"]))
            spread = np.sqrt(np.nansum(mine["cosine_mcse"] ** 2)) / mine["cosine"].notna().sum()
            assert row.cosine_mcse == pytest.approx(spread)
            assert row.much_worse == sum(mine["to_tea"] > 1.1)
            assert row.wins == sum(mine["to_best"] == 1.0)
            law, m, N = row.worst_to_best_at.rsplit(", ", 2)
            there = mine.query(f"law == {law!r} and {m.replace('=', '==')}")
            assert there.query(N.replace("=", "=="))["to_best"].item() == row.worst_to_best


def test_the_frontier_is_what_nothing_beats_in_mean_and_in_worst(results):
    rows = ratios.performance_ratios(results)
    table = frontier.frontier(rows)
    for one in table.itertuples():
        beaten = any(
            x.mean_to_tea < one.mean_to_tea and x.worst_to_tea < one.worst_to_tea
            for x in table.itertuples()
        )
        assert one.frontier == (not beaten)
    assert 0 < table["frontier"].sum() < len(table)


def test_blocks_hold_whole_batches(results):
    plan = read_grid_of(results)
    assert [plan.groups_per_block(m) for m in plan.m] == [496, 240]  # not 500 and 250


def test_nothing_is_compared_with_an_infinite_error(small_grid):
    """Under a tail without a second moment only GRPO has an error."""
    rows = ratios.performance_ratios(read.load(small_grid))
    heavy = rows[rows["law"] == "heavy tail"]
    assert set(heavy.loc[heavy["to_best"] < np.inf, "estimator"]) == {"GRPO"}
    assert heavy["to_tea"].isna().all()
    table = ranking.ranking(rows).set_index("estimator")
    assert table.loc["TEA .25", "worst_to_best"] == np.inf
    assert "heavy tail" in table.loc["TEA .25", "worst_to_best_at"]
    # "all laws" where the configuration has no parts
    assert set(rows["part"]) == {"all laws"}


def test_the_printed_table_has_every_estimator_and_part(benchmark):
    done = CliRunner().invoke(_command(ranking.main), [str(benchmark)])
    assert done.exit_code == 0
    for text in ("known: 1 laws, 4 cells", "new: 2 laws, 8 cells", "adaptive TEA", "RLOO", "± "):
        assert text in done.output


def _command(main):
    import typer

    app = typer.Typer()
    app.command()(main)
    return app


def test_only_the_figures_of_batches_are_drawn(results, tmp_path):
    drawn = figures.draw_all(results, tmp_path)
    assert {name for name, files in drawn.items() if isinstance(files, list)} == {
        *figures.OF_BATCHES
    }
    assert "batches of 16 prompts" in drawn["winners"]


def test_without_the_papers_tea_there_is_no_ranking(results):
    none = changed(results, lambda table: table[table["estimator"] != "TEA"])
    with pytest.raises(Absent, match=r"needs TEA at alpha = 0\.25"):
        ratios.performance_ratios(none)


# --- rollouts needed ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_rollouts_needed_are_those_of_a_power_law(rate):
    m = np.array([16.0, 32, 64, 128, 256])
    for goal_at in (16.0, 20.0, 64.0, 100.0, 256.0):
        needed = sample_efficiency.needed(m, 7.0 * m**-rate, 7.0 * goal_at**-rate)
        assert needed == pytest.approx(goal_at, rel=1e-9)
    assert sample_efficiency.needed(m, 7.0 * m**-rate, 6.9 * 256.0**-rate) == np.inf
    assert sample_efficiency.needed(m, 7.0 * m**-rate, 1e3) == 16.0


def test_the_references_error_is_exact_on_the_normal_law():
    """Against many simulated groups, at m = 8 and N = 32."""
    request = {"linear": ("linear_tea", {"k_min": 1})}
    table = monte_carlo.measure(Normal(), request, 8, 32, reps=100_000)
    cell = {"family": "Normal(loc=0.0, scale=1.0)", "m": 8, "N": 32}
    cell["options"] = '{"name": "linear_tea", "k_min": 1}'
    exact = sample_efficiency.exact_error(pd.Series(cell))
    parts = table[table.parameter != "all"]
    measured = parts.variance.sum() / 64 / (parts.exact**2).sum()
    assert exact == pytest.approx(measured, rel=0.05)
    assert np.hypot(*parts.variance_mcse) < 0.015 * parts.variance.sum()
    for change in ({"options": '{"name": "tea"}'}, {"family": "Gumbel(loc=0.0, scale=1.0)"}):
        assert sample_efficiency.exact_error(pd.Series(cell | change)) is None
    skewed = {"options": '{"name": "linear_tea", "tails": ["gumbel"]}'}
    assert sample_efficiency.exact_error(pd.Series(cell | skewed)) is None


def test_the_table_of_rollouts_finds_each_estimators_m(results):
    """TEA with 1/m errors four times those of RLOO needs four times as many."""
    rows = results.cells.query("law == 'Normal' and N == 32").iloc[:1]
    cells = [
        rows.assign(m=m, estimator=label, batch_nmse=size / m, batch_nmse_mcse=0.01 * size / m)
        for label, size in (("few", 1.0), ("TEA", 4.0), ("worse", 1e3))
        for m in (8, 16, 32, 64)
    ]
    by_hand = SimpleNamespace(cells=pd.concat(cells, ignore_index=True))
    needs = sample_efficiency.table(by_hand, "few", 8).set_index("estimator")
    assert needs.loc["TEA", "m"] == pytest.approx(32.0)
    # two standard errors of 1 % on either side move a 1/m law by 4 %
    assert needs.loc["TEA", "low"] == pytest.approx(32.0 * 0.98 / 1.02)
    assert needs.loc["TEA", "high"] == pytest.approx(32.0 * 1.02 / 0.98)
    assert needs.loc["worse", "m"] == np.inf
    text = "".join(
        map(str, sample_efficiency.printed(sample_efficiency.table(by_hand, "few", 8), "few", 8))
    )
    assert "few has with m = 8" in text
