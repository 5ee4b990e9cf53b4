"""The grid: what it refuses, that it resumes, and that nothing but its configuration matters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from simulations.core import engines, store
from simulations.grid import blocks, run as grid
from simulations.grid.schema import read_grid
from tea_stats import ESTIMATORS, FAMILIES, monte_carlo

ROOT = Path(__file__).parents[1]
GRIDS = ROOT / "simulations" / "grids"
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


@contextmanager
def one_thread():
    """Give an engine without the seconds that a process takes to start."""
    with ThreadPoolExecutor(1) as pool:
        yield pool, 1


def run(config, out, machine=None):
    return grid.run(read_grid(config), out, machine or one_thread())


def contents(out):
    """Every result of a folder, by file name, as bytes of its numbers."""
    files = sorted(path.relative_to(out) for path in out.rglob("*.parquet"))
    return {str(path): pd.read_parquet(out / path).to_csv(float_format="%r") for path in files}


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
    text = text.replace("8192", str(8 * monte_carlo.BLOCK_SIZE)).split("[response]")[0]
    text = text.replace("order = 3", "order = 1")
    config = written(text)
    run(config, tmp_path / "out")
    found = pd.read_parquet(tmp_path / "out" / "table.parquet")
    found = found[(found["law"] == "Normal") & (found["estimator"] == "TEA")]
    law = read_grid(config).built["Normal"]
    expected = monte_carlo.measure(law, {"TEA": ("tea", {})}, 8, (16, 64), 40_000, seed=3)
    shared = [name for name in expected if name != "law"]
    pd.testing.assert_frame_equal(
        found[shared].reset_index(drop=True), expected[shared], check_exact=True, check_dtype=False
    )


def test_cells_that_say_nothing_are_marked_and_none_is_left_out(reference):
    manifest, _, table = reference
    cells = table[table["parameter"] == "all"].set_index(["law", "estimator", "m", "N"])
    # MaxRL is for 0/1 rewards: not on the Normal law
    assert len(cells) == 2 * 2 * 2 * 2 + 1 * 2 * 2
    assert cells.loc[("Normal", "Prefix 3", 8, 16), "note"].startswith("undefined: m is 8")
    assert cells.loc[("coin", "TEA", 8, 64), "note"].startswith("saturated")
    assert cells.loc[("coin", "TEA", 8, 16), "note"] == ""
    # 64 · 0.9^63 = 0.084: the gradient's norm over that at N = 1
    assert "0.084" in cells.loc[("coin", "MaxRL", 16, 64), "note"]
    assert manifest["cells"]["undefined"] == 4
    # TEA and MaxRL at m = 8, and Prefix 3 as well at m = 16
    assert manifest["cells"]["saturated"] == 2 + 3
    assert manifest["cells"]["all"] == len(cells)


def test_every_cell_is_as_precise_as_asked_and_no_group_is_wasted(written, tmp_path):
    config = written(PRECISE)
    manifest = run(config, tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "table.parquet")
    cells = table[blocks.live(table)]
    assert cells["relative_se"].max() <= 0.05
    assert manifest["cells"]["above precision"] == 0
    assert manifest["cells"]["largest relative_se"] == cells["relative_se"].max()
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


def test_an_estimator_may_be_asked_for_in_groups_of_some_sizes_only(written, tmp_path):
    text = SMALL.replace('name = "max_rl"', 'name = "max_rl"\nm = [16]')
    run(written(text), tmp_path / "some")
    table = pd.read_parquet(tmp_path / "some" / "table.parquet")
    assert set(table.query("estimator == 'MaxRL'")["m"]) == {16}
    assert set(table.query("estimator == 'TEA'")["m"]) == {8, 16}


def test_the_cap_on_groups_holds_and_is_told(written, tmp_path):
    text = PRECISE.replace("0.05", "0.001").split("[estimators")[0]
    text += '[estimators.TEA]\nname = "tea"\n' + PRECISION.replace("0.05", "0.001")
    text = text.replace(PRECISION.replace("0.05", "0.001"), "", text.count("[precision]") - 1)
    manifest = run(written(text), tmp_path / "out")
    assert manifest["cells"]["above precision"] > 0
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
            def done(self, pair, block):
                if self.made == 1:
                    os.kill(victim, signal.SIGKILL)
                super().done(pair, block)

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
    command = [sys.executable, "-m", "simulations.grid", str(config), "--workers", "1", "--out"]
    options = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def finished():
        return len(list((tmp_path / "killed" / "blocks").rglob("[0-9]*.parquet")))

    psutil = pytest.importorskip("psutil")
    process = subprocess.Popen([*command, tmp_path / "killed"], **options)
    give_up = time.monotonic() + 120
    while finished() < 3 and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    # nobody is left behind
    assert workers and not psutil.wait_procs(workers, timeout=20)[1]
    kept = finished()
    assert kept >= 3
    assert not (tmp_path / "killed" / "table.parquet").exists()
    subprocess.run([*command, tmp_path / "killed"], check=True, **options)
    run(config, tmp_path / "whole", engines.local(2))
    manifest = json.loads((tmp_path / "killed" / "manifest.json").read_text())
    assert manifest["runs"][-1]["blocks"]["kept"] == kept
    assert manifest["runs"][-1]["blocks"]["computed"] > 0
    assert len(manifest["runs"]) == 2
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_block_says_what_a_batch_was(written, tmp_path):
    text = SMALL[: SMALL.index("[response]")].replace("1200", "1280").replace("3000", "3200")
    marks = [
        blocks.Pair(read_grid(written(text + extra)), "Normal", 8, tmp_path).marks(0, ("TEA",))
        for extra in ("", '[parts]\n"all" = ["Normal"]\n')
    ]
    assert marks[0] == marks[1]
    grouped = read_grid(written(text.replace("seed = 3", "seed = 3\nprompts = 16")))
    pair = blocks.Pair(grouped, "Normal", 8, tmp_path)
    assert pair.groups(0) == blocks.Pair(read_grid(written(text)), "Normal", 8, tmp_path).groups(0)
    assert pair.marks(0, ("TEA",)) != marks[0]


def test_a_second_run_computes_nothing(written, tmp_path):
    config = written(PRECISE)
    first = run(config, tmp_path / "out")["runs"][-1]["blocks"]
    before = contents(tmp_path / "out")
    again = run(config, tmp_path / "out")["runs"][-1]["blocks"]
    assert (again["computed"], again["kept"]) == (0, first["computed"])
    assert contents(tmp_path / "out") == before


# --- files --------------------------------------------------------------------------------------


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    # inside the first column's data, where no length or offset stands
    content[60] ^= 0xFF
    path.write_bytes(bytes(content))


def replace_by_a_sibling(path):
    path.write_bytes(next(p for p in sorted(path.parent.iterdir()) if p != path).read_bytes())


def replace_by_text(path):
    path.write_text("not a table\n")


@pytest.mark.parametrize("damage", [truncate, flip_a_byte, replace_by_a_sibling, replace_by_text])
def test_a_damaged_block_is_named_and_computed_again(
    damage, reference, written, tmp_path, monkeypatch
):
    config = written(SMALL)
    run(config, tmp_path / "out")
    victim = sorted((tmp_path / "out" / "blocks").rglob("*.parquet"))[0]
    damage(victim)
    said = []
    monkeypatch.setattr(grid, "tell", said.append)
    manifest = run(config, tmp_path / "out")
    assert [line for line in said if str(victim) in line and "damaged" in line]
    assert manifest["runs"][-1]["blocks"]["computed"] == 1
    assert contents(tmp_path / "out") == reference[1]


def test_a_damaged_response_curve_is_named_and_computed_again(
    reference, written, tmp_path, monkeypatch
):
    config = written(SMALL)
    run(config, tmp_path / "out")
    victim = next((tmp_path / "out" / "responses").iterdir())
    truncate(victim)
    said = []
    monkeypatch.setattr(grid, "tell", said.append)
    run(config, tmp_path / "out")
    assert [line for line in said if str(victim) in line]
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


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "table.parquet"
    frame = pd.DataFrame({"value": np.arange(3.0)})
    store.write(frame, path, mark="one")
    pd.testing.assert_frame_equal(store.read(path, mark="one"), frame)
    with pytest.raises(store.Damaged, match="its mark mark is not two"):
        store.read(path, mark="two")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.write(frame + 1, path)
    pd.testing.assert_frame_equal(store.read(path), frame)


def test_the_manifest_tells_how_the_results_were_made(reference):
    manifest = reference[0]
    assert manifest["configuration"]["laws"]["Normal"] == "Normal(loc=0.0, scale=1.0)"
    assert manifest["hash"] == store.digest(manifest["configuration"])
    assert manifest["seeds"]["master"] == 3
    (this,) = manifest["runs"]
    assert {"started", "finished", "seconds", "revision", "dirty", "code", "machine"} <= set(this)
    assert this["versions"]["numpy"] == np.__version__
    assert this["blocks"] == {"computed": 3 + 3 + 3 + 3, "kept": 0}


def test_labels_that_look_alike_have_folders_of_their_own():
    labels = ["a b", "a-b", "a (b)", "A b", "a  b"]
    assert len({blocks.slug(label).lower() for label in labels}) == len(labels)


# --- configuration ------------------------------------------------------------------------------

WRONG = {
    "unknown key": ("seed = 3", "sed = 3", "sed is an unknown key; give one of seed, m, N"),
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


def command(*arguments):
    app = __import__("typer").Typer()
    app.command()(grid.main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_ends_with_one_line_for_what_it_refuses(written, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(grid, "tell", said.append)
    out = tmp_path / "out"
    for arguments, expected in {
        (tmp_path / "no.toml",): "no.toml: No such file or directory; give a TOML file",
        (written(SMALL), "--address", "tcp://here:1"): "add --engine dask",
        (written(SMALL.replace("Normal", "Norml"), "b.toml"),): "family is 'Norml'",
    }.items():
        assert command(*arguments, "--out", out).exit_code == 2
        assert said[-1].startswith("error: ") and expected in said[-1]
        assert "\n" not in said[-1]
    assert not out.exists()


@pytest.mark.dask
@pytest.mark.xdist_group("dask")
def test_a_dask_address_that_does_not_answer_is_one_line(written, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    said = []
    monkeypatch.setattr(grid, "tell", said.append)
    monkeypatch.setattr(engines, "PATIENCE", "1s")
    arguments = ("--engine", "dask", "--address", "tcp://127.0.0.1:9", "--out", tmp_path / "out")
    assert command(written(SMALL), *arguments).exit_code == 2
    assert "'tcp://127.0.0.1:9', which does not answer" in said[-1]


def test_a_pool_of_rollouts_is_a_law_of_the_grid(written, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "pool.npz", rewards=rng.normal(size=50), scores=rng.normal(size=(50, 2)))
    text = SMALL.replace('family = "Normal"', 'family = "EmpiricalPool"\nfile = "pool.npz"')
    assert len(read_grid(written(text)).built["Normal"].rewards) == 50
    with pytest.raises(ValueError, match=r'laws."Normal": file .*nool.npz.*give an .npz file'):
        read_grid(written(text.replace("pool.npz", "nool.npz")))


def test_the_league_tells_all_its_laws_apart():
    league = tomllib.loads((GRIDS / "league.toml").read_text())
    told = [law for laws in league["parts"].values() for law in laws]
    assert sorted(told) == sorted(league["laws"])
    assert len(league["parts"]["held out"]) >= 4 and len(league["laws"]) >= 12
    assert (league["m"], league["N_over_m"]) == ([8, 16, 32, 64], [4, 16, 64])
    assert {table["name"] for table in league["estimators"].values()} == set(ESTIMATORS)


def test_the_shipped_grids_are_what_they_say():
    for name in ("quick", "theory", "rollouts"):
        read_grid(GRIDS / f"{name}.toml")
    paper = read_grid(GRIDS / "paper.toml")
    assert {table.family for table in paper.laws.values()} >= set(FAMILIES) - {"EmpiricalPool"}
    assert len({table.name for table in paper.estimators.values()}) >= 10
    assert paper.m == (8, 16, 32, 64, 128, 256)
    assert paper.N == (16, 32, 64, 128, 256, 512, 1024)
    assert paper.precision.relative_se == 0.005
