"""The grid: what it refuses, that it resumes, and that nothing but its configuration matters."""

from __future__ import annotations

import json
import os
import signal
import tomllib

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from simulations.core import engines, store
from simulations.core.schema import law_columns
from simulations.grid import blocks, run as grid
from simulations.grid.schema import read_grid
from tea_stats import ESTIMATORS, FAMILIES, Affine, Beta, Discrete, EmpiricalPool, monte_carlo
from tea_stats.monte_carlo import measurement
from tests.studies import DAMAGE, GRIDS, contents, kill_and_resume, one_thread, truncate

SMALL = """
seed = 3
m = [8, 16]
N = [16, 64]
block_rewards = 8192
reps = { 8 = 3000, 16 = 1200 }

[laws.Normal]
family = "Normal"

[laws.coin]
family = "Discrete"
values = [0.0, 1.0]
probabilities = [0.9, 0.1]

[estimators.TEA]
name = "tea"

[estimators."Prefix 3"]
name = "prefix_tea"
order = 3

[estimators.MaxRL]
name = "max_rl"

[response]
m = [8]
N = [64]
reps = 200
points = 5
"""
PRECISION = "[precision]\nrelative_se = 0.05\nmax_reps = 12_000\n"
PRECISE = SMALL.replace("reps = { 8 = 3000, 16 = 1200 }\n", "") + PRECISION


@pytest.fixture
def written(tmp_path):
    """Write a configuration and return its path."""

    def write(text, name="grid.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def run(config, out, machine=None):
    return grid.run(read_grid(config), out, machine or one_thread())


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """SMALL, run by one worker: the result that every other way must give."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "grid.toml").write_text(SMALL)
    manifest = run(folder / "grid.toml", folder / "out", engines.local(1))
    return manifest, contents(folder / "out"), pd.read_parquet(folder / "out" / "table.parquet")


# --- results ------------------------------------------------------------------------------------


def test_the_table_is_that_of_measure_to_the_bit(written, tmp_path):
    """With blocks of the size that `measure` takes, both sum the same blocks in one order."""
    text = SMALL.replace("m = [8, 16]", "m = [8]").replace(
        "{ 8 = 3000, 16 = 1200 }", "{ 8 = 40_000 }"
    )
    text = text.replace("8192", str(8 * measurement.BLOCK_SIZE)).split("[response]")[0]
    text = text.replace("order = 3", "order = 1")
    config = written(text)
    run(config, tmp_path / "out")
    own = pd.read_parquet(tmp_path / "out" / "table.parquet")
    own = own[(own["law"] == "Normal") & (own["estimator"] == "TEA")]
    law = read_grid(config).built["Normal"]
    expected = monte_carlo.measure(law, {"TEA": ("tea", {})}, 8, (16, 64), 40_000, seed=3)
    shared = [name for name in expected if name != "law"]
    pd.testing.assert_frame_equal(
        own[shared].reset_index(drop=True), expected[shared], check_exact=True, check_dtype=False
    )


def test_every_row_has_its_status_and_none_is_left_out(reference):
    manifest, _, table = reference
    kind = table["note"].str.split(":").str[0].mask(~table["finite_second_moment"], "infinite")
    assert (table["status"] == kind.mask(table["note"].str.startswith("undef"), "undefined")).all()
    cells = table[table["parameter"] == "all"].set_index(["law", "estimator", "m", "N"])
    # MaxRL is for 0/1 rewards: not on the Normal law
    assert len(cells) == 2 * 2 * 2 * 2 + 1 * 2 * 2
    assert cells.loc[("Normal", "Prefix 3", 8, 16), "note"].startswith("undefined: m is 8")
    assert cells.loc[("coin", "TEA", 8, 64), "note"].startswith("saturated")
    assert cells.loc[("coin", "TEA", 8, 16), "note"] == ""
    # 64 · 0.9^63 = 0.084: the gradient's norm over that at N = 1
    assert "0.084" in cells.loc[("coin", "MaxRL", 16, 64), "note"]
    assert manifest["census"]["undefined"] == 4
    # TEA and MaxRL at m = 8, and Prefix 3 as well at m = 16
    assert manifest["census"]["saturated"] == 2 + 3
    assert manifest["census"]["all"] == len(cells)


@pytest.mark.parametrize(
    ("law", "status"),
    [
        ('family = "StudentT"\ndf = 1.8', "infinite"),
        # nothing to learn
        ('family = "SoftmaxBandit"\nrewards = [1.0, 1.0]\nlogits = [0.0, 0.0]', "saturated"),
        ('family = "Normal"', ""),
    ],
)
def test_status_of_the_law(law, status, written, tmp_path):
    text = SMALL.replace('family = "Normal"', law).split("[response]")[0]
    run(written(text), tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "table.parquet")
    own = table[(table["law"] == "Normal") & (table["estimator"] == "TEA")]
    assert set(own["status"]) == {status}


def test_every_cell_reaches_the_precision_and_no_group_is_wasted(written, tmp_path):
    config = written(PRECISE)
    manifest = run(config, tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "table.parquet")
    cells = table[blocks.live(table)]
    assert cells["relative_se"].max() <= 0.05
    assert manifest["census"]["above precision"] == 0
    assert manifest["census"]["largest relative_se"] == cells["relative_se"].max()
    # an estimator that needs more groups than another has them, and the other has not
    reps = cells[(cells["law"] == "Normal") & (cells["m"] == 16)].groupby("estimator")["reps"].max()
    assert reps["Prefix 3"] > reps["TEA"]


def test_an_estimator_may_have_groups_of_its_own(reference, written, tmp_path):
    text = SMALL.replace('name = "tea"', 'name = "tea"\nreps = { 8 = 9000, 16 = 1200 }')
    run(written(text), tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "table.parquet")
    reps = table[(table["law"] == "coin") & (table["m"] == 8)].groupby("estimator")["reps"].max()
    # in whole blocks of 1024 groups
    assert reps["TEA"] == 9000 and reps["MaxRL"] == 3072
    # what the two have in common are the same groups
    before = reference[2]
    same = (table["m"] == 16).to_numpy()
    pd.testing.assert_frame_equal(table[same], before[same], check_exact=True)


def test_an_estimator_may_be_restricted_to_groups_of_some_sizes(written, tmp_path):
    text = SMALL.replace('name = "max_rl"', 'name = "max_rl"\nm = [16]')
    run(written(text), tmp_path / "some")
    table = pd.read_parquet(tmp_path / "some" / "table.parquet")
    assert set(table.query("estimator == 'MaxRL'")["m"]) == {16}
    assert set(table.query("estimator == 'TEA'")["m"]) == {8, 16}


def test_the_cap_on_groups_holds_and_is_counted(written, tmp_path):
    text = PRECISE.replace("0.05", "0.001").split("[estimators")[0]
    text += '[estimators.TEA]\nname = "tea"\n' + PRECISION.replace("0.05", "0.001")
    text = text.replace(PRECISION.replace("0.05", "0.001"), "", text.count("[precision]") - 1)
    manifest = run(written(text), tmp_path / "out")
    assert manifest["census"]["above precision"] > 0
    assert pd.read_parquet(tmp_path / "out" / "table.parquet")["reps"].max() <= 12_000


# --- nothing but the configuration matters ------------------------------------------------------


def test_two_workers_give_the_same_to_the_bit(reference, written, tmp_path):
    run(written(SMALL), tmp_path / "out", engines.local(2))
    assert contents(tmp_path / "out") == reference[1]


@pytest.mark.slow
@pytest.mark.dask
@pytest.mark.xdist_group("dask")
def test_a_dask_cluster_that_loses_a_worker_gives_the_same_to_the_bit(reference, written, tmp_path):
    pytest.importorskip("distributed")
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        victim = next(iter(cluster.workers.values())).pid

        class Killing(grid.Queue):
            def done(self, job):
                if self.made == 1:
                    os.kill(victim, signal.SIGKILL)
                super().done(job)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(grid, "Queue", Killing)
            machine = engines.dask(2, cluster.scheduler_address)
            manifest = run(written(SMALL), tmp_path / "out", machine)
        assert victim not in {worker.pid for worker in cluster.workers.values()}
    assert manifest["runs"][-1]["blocks"] == reference[0]["runs"][-1]["blocks"]
    assert contents(tmp_path / "out") == reference[1]


@pytest.mark.slow
def test_killed_it_loses_no_finished_block_and_resumes_to_the_same_bits(written, tmp_path):
    # some seconds of blocks, each of which takes a fraction of one
    config = written(
        SMALL.replace("3000", "600_000").replace("1200", "250_000").replace("8192", "262_144")
    )
    kept = kill_and_resume("simulations.grid", config, tmp_path / "killed", "blocks")
    run(config, tmp_path / "whole", engines.local(2))
    manifest = json.loads((tmp_path / "killed" / "manifest.json").read_text())
    assert manifest["runs"][-1]["blocks"]["kept"] == kept
    assert manifest["runs"][-1]["blocks"]["computed"] > 0
    assert len(manifest["runs"]) == 2
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_the_mark_of_a_block_has_the_size_of_a_batch(written, tmp_path):
    text = SMALL[: SMALL.index("[response]")].replace("1200", "1280").replace("3000", "3200")

    def block(text):
        return blocks.Pair(read_grid(written(text)), "Normal", 8, tmp_path).block(0, ("TEA",))

    single, parted = block(text), block(text + '[parts]\n"all" = ["Normal"]\n')
    batches = block(text.replace("seed = 3", "seed = 3\nprompts = 16"))
    assert single.marks == parted.marks != batches.marks
    assert single.arguments[1:] == batches.arguments[1:]


def test_a_second_run_computes_nothing(written, tmp_path):
    config = written(PRECISE)
    first = run(config, tmp_path / "out")["runs"][-1]["blocks"]
    before = contents(tmp_path / "out")
    again = run(config, tmp_path / "out")["runs"][-1]["blocks"]
    assert (again["computed"], again["kept"]) == (0, first["computed"])
    assert contents(tmp_path / "out") == before


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_block_is_named_and_computed_again(damage, reference, written, tmp_path, capsys):
    config = written(SMALL)
    run(config, tmp_path / "out")
    victim = sorted((tmp_path / "out" / "blocks").rglob("*.parquet"))[0]
    damage(victim)
    manifest = run(config, tmp_path / "out")
    assert f"{victim} is damaged" in capsys.readouterr().err
    assert manifest["runs"][-1]["blocks"]["computed"] == 1
    assert contents(tmp_path / "out") == reference[1]


def test_a_damaged_response_curve_is_named_and_computed_again(reference, written, tmp_path, capsys):
    config = written(SMALL)
    run(config, tmp_path / "out")
    victim = next((tmp_path / "out" / "responses").iterdir())
    truncate(victim)
    run(config, tmp_path / "out")
    assert f"{victim} is damaged" in capsys.readouterr().err
    assert contents(tmp_path / "out") == reference[1]


@pytest.mark.parametrize(
    "change", [("seed = 3", "seed = 4"), ("N = [16, 64]", "N = [16, 32]"), ("0.9, 0.1", "0.8, 0.2")]
)
def test_a_folder_of_another_configuration_is_refused(change, written, tmp_path):
    run(written(SMALL), tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(store.Refused, match="another configuration .* give another --out"):
        run(written(SMALL.replace(*change)), tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_a_folder_that_is_not_of_a_grid_is_refused(written, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(store.Refused, match=r"not empty and has no manifest.json; give another"):
        run(written(SMALL), tmp_path / "home")
    (tmp_path / "home" / "manifest.json").write_text("{")
    with pytest.raises(store.Refused, match=r"manifest.json is damaged"):
        run(written(SMALL), tmp_path / "home")


def test_the_manifest_records_how_the_results_were_made(reference):
    manifest = reference[0]
    assert manifest["configuration"]["laws"]["Normal"] == "Normal(loc=0.0, scale=1.0)"
    assert manifest["hash"] == store.digest(manifest["configuration"])
    assert manifest["seeds"]["master"] == 3
    (this,) = manifest["runs"]
    assert {"started", "finished", "seconds", "revision", "dirty", "code", "machine"} <= set(this)
    assert this["versions"]["numpy"] == np.__version__
    assert this["blocks"] == {"computed": 3 + 3 + 3 + 3, "kept": 0}


# --- configuration ------------------------------------------------------------------------------

WRONG = {
    "unknown key": ("seed = 3", "sed = 3", "sed is an unknown key; give one of seed, laws, "),
    "unknown key inside": (
        "points = 5",
        "pts = 5",
        "response.pts is an unknown key; give one of m",
    ),
    "missing key": ("seed = 3\n", "", "seed is missing"),
    "unknown family": (
        'family = "Normal"',
        'family = "Norml"',
        "laws.\"Normal\": family is 'Norml', which is unknown; give one of Normal, ",
    ),
    "unknown parameter": (
        'family = "Normal"',
        'family = "Normal"\nsd = 1.0',
        'laws."Normal": sd is an unknown key; Normal takes loc, scale',
    ),
    "parameter out of range": (
        'family = "Normal"',
        'family = "Normal"\nscale = -1.0',
        'laws."Normal": scale is -1.0; give a finite number in (0, inf)',
    ),
    "missing parameter": (
        'family = "Normal"',
        'family = "GenPareto"',
        'laws."Normal": shape is missing',
    ),
    "unknown estimator": (
        'name = "tea"',
        'name = "teaa"',
        "estimators.\"TEA\": estimator 'teaa' is unknown; give one of tea, ",
    ),
    "unknown option": (
        'name = "tea"',
        'name = "tea"\nalfa = 0.5',
        "estimators.\"TEA\": tea has no option 'alfa'; its options: alpha",
    ),
    "option out of range": (
        'name = "tea"',
        'name = "tea"\nalpha = 2.5',
        'estimators."TEA": alpha is 2.5; give a finite number in (0, 1]',
    ),
    "unknown law of an estimator": (
        'name = "tea"',
        'name = "tea"\nlaws = ["Nomral"]',
        "estimators.\"TEA\": laws has 'Nomral', which is not the label of a law here",
    ),
    "unknown m of an estimator": (
        'name = "tea"',
        'name = "tea"\nm = [9]',
        'estimators."TEA": m has 9, which is not in m',
    ),
    "m too small": ("m = [8, 16]", "m = [1, 16]", "m.0 is 1; input should be greater than"),
    "m not increasing": ("m = [8, 16]", "m = [16, 8]", "m is [16, 8]; give increasing"),
    "N not an integer": ("N = [16, 64]", "N = [16.5]", "N.0 is 16.5; input should be a valid int"),
    "reps of another m": ("{ 8 = 3000, 16 = 1200 }", "{ 8 = 3000 }", "reps has m = [8] and m is"),
    "too few reps": ("16 = 1200", "16 = 1", "reps is {8: 3000, 16: 1}; give at least 2"),
    "reps of an estimator": (
        'name = "tea"',
        'name = "tea"\nreps = { 8 = 9 }',
        'estimators."TEA": reps has m = [8] and m is [8, 16]',
    ),
    "reps and precision": ("[laws.Normal]", PRECISION + "[laws.Normal]", "give either reps or"),
    "N and N_over_m": ("N = [16, 64]", "N = [16]\nN_over_m = [4]", "give either N or N_over_m"),
    "no N": ("N = [16, 64]\n", "", "give either N or N_over_m, and not both"),
    "pooling without batches": (
        'name = "tea"',
        'name = "adaptive_tea"',
        'estimators."TEA" pools the groups of a batch; give prompts',
    ),
    "response of batches": ("seed = 3", "seed = 3\nprompts = 4", "response is measured on single"),
    "broken batches": (
        "seed = 3",
        "seed = 3\nprompts = 7",
        "reps is {8: 3000, 16: 1200}; give at least 2 batches of 7 groups",
    ),
    "unknown law of a part": (
        "[response]",
        '[parts]\n"new" = ["Nomral"]\n[response]',
        "parts.\"new\" has 'Nomral', which is not the label of a law here",
    ),
    "base of an affine law": (
        'family = "Normal"',
        'family = "Affine"\nbase = { family = "Gamma", shape = 1.5 }',
        'laws."Normal": base is Gamma(shape=1.5, scale=1.0): its shape is at most 2',
    ),
    "not TOML": ("seed = 3", "seed 3", "not TOML: "),
    "no law": ("[laws.", "[laws2.", "laws2 is an unknown key"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_configuration_is_one_line_and_nothing_runs(wrong, written, tmp_path):
    old, new, expected = wrong
    assert old in SMALL
    config = written(SMALL.replace(old, new))
    with pytest.raises(ValueError) as error:
        read_grid(config)
    assert f"{config}: {expected}" in str(error.value)
    assert "\n" not in str(error.value)


def refused(*arguments):
    """Return the line with which the command ends."""
    app = typer.Typer()
    app.command()(grid.main)
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 2
    (line,) = done.output.splitlines()
    return line


def test_the_command_ends_with_one_line_for_what_it_refuses(written, tmp_path):
    out = tmp_path / "out"
    for arguments, expected in {
        (tmp_path / "no.toml",): "no.toml: No such file or directory; give a TOML file",
        (written(SMALL), "--address", "tcp://here:1"): "add --engine dask",
        (written(SMALL.replace("Normal", "Norml"), "b.toml"),): "family is 'Norml'",
    }.items():
        line = refused(*arguments, "--out", out)
        assert line.startswith("error: ") and expected in line
    assert not out.exists()


@pytest.mark.dask
@pytest.mark.xdist_group("dask")
def test_a_dask_address_that_does_not_answer_is_one_line(written, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(engines, "PATIENCE", "1s")
    arguments = ("--engine", "dask", "--address", "tcp://127.0.0.1:9", "--out", tmp_path / "out")
    assert "'tcp://127.0.0.1:9', which does not answer" in refused(written(SMALL), *arguments)


# --- laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "law",
    [
        Affine(Beta(3.0, 2.5), scale=0.5),
        Discrete.from_probabilities([0.0, 1.0, 4.0], [0.5, 0.25, 0.25]),
        FAMILIES["SoftmaxBandit"]([0.0, 1.0], features=[[0.5], [1.0]], theta=[0.25]),
        FAMILIES["GenPareto"](0.1, scale=1.0 / 3.0),
    ],
)
def test_the_columns_of_a_law_construct_it(law):
    def construct(family, parameters):
        base = parameters.get("base")
        if base:
            parameters["base"] = construct(base.pop("family"), base)
        return {**FAMILIES, "Affine": Affine}[family](**parameters)

    columns = law_columns(law)
    assert construct(columns["law_family"], json.loads(columns["law_parameters"])) == law


def test_the_columns_of_a_pool_are_its_key():
    pool = EmpiricalPool([0.0, 1.0], [[1.0], [-1.0]])
    assert law_columns(pool) == {
        "law_family": "EmpiricalPool",
        "law_parameters": json.dumps({"key": pool.key}),
    }


def test_a_pool_of_rollouts_is_a_law_of_the_grid(written, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "pool.npz", rewards=rng.normal(size=50), scores=rng.normal(size=(50, 2)))
    text = SMALL.replace('family = "Normal"', 'family = "EmpiricalPool"\nfile = "pool.npz"')
    assert len(read_grid(written(text)).built["Normal"].rewards) == 50
    with pytest.raises(ValueError, match=r'laws."Normal": file .*nool.npz.*give an .npz file'):
        read_grid(written(text.replace("pool.npz", "nool.npz")))


def test_every_law_of_the_league_is_in_one_part():
    league = tomllib.loads((GRIDS / "league.toml").read_text())
    laws = [law for laws in league["parts"].values() for law in laws]
    assert sorted(laws) == sorted(league["laws"])
    assert len(league["parts"]["held out"]) >= 4 and len(league["laws"]) >= 12
    assert (league["m"], league["N_over_m"]) == ([8, 16, 32, 64], [4, 16, 64])
    names = {table["name"] for table in league["estimators"].values()}
    assert names <= set(ESTIMATORS) and len(names) >= 19


def test_the_shipped_grids_are_what_they_say():
    for name in ("quick", "theory", "rollouts"):
        read_grid(GRIDS / f"{name}.toml")
    paper = read_grid(GRIDS / "paper.toml")
    assert {table.family for table in paper.laws.values()} >= set(FAMILIES) - {"EmpiricalPool"}
    assert len({table.name for table in paper.estimators.values()}) >= 10
    assert paper.m == (8, 16, 32, 64, 128, 256)
    assert paper.N == (16, 32, 64, 128, 256, 512, 1024)
    assert paper.precision.relative_se == 0.005
