"""What is not trusted: files and names that would run code, leave their folder, or inject text."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis.core import read as results_of
from analysis.explorer import page as explorer
from analysis.guide import tables
from analysis.paper import latex
from simulations.core import store
from simulations.core.schema import LawTable
from simulations.grid import run as grid
from simulations.grid.schema import read_grid
from tea_stats import ESTIMATORS, advantages
from tea_stats.command_line.laws import parse_law, parse_options
from tests.studies import one_thread

#: labels that some reader of them could take for a command
HOSTILE = {
    "path": "../../outside",
    "absolute": "/tmp/outside",
    "shell": "$(touch outside); `touch outside`",
    "html": "</script><script>fetch('//outside')</script><img src=x onerror=alert(1)>",
    "latex": r"\input{/etc/passwd}\write18{touch outside}%",
    "markdown": "a | b | [c](javascript:alert(1)) <b>",
    "format": "{0.__class__} %s %(x)n",
    "markup": "[/red][link=file:///etc/passwd]",
}


class Bomb:
    """Writes a file where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def bomb(tmp_path):
    """Return a pickle and what it would make; at the end, nobody has opened it."""
    trace = tmp_path / "executed"
    yield pickle.dumps({"weights": Bomb(trace)}), trace
    assert not trace.exists()


def test_the_bomb_goes_off(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


# --- files ----------------------------------------------------------------------------------------


def test_arrays_and_tables_are_not_unpickled(bomb, tmp_path):
    data, trace = bomb
    arrays = np.array([Bomb(trace)], dtype=object)
    np.savez(tmp_path / "pool.npz", rewards=arrays, scores=arrays)
    with pytest.raises(store.Damaged, match="allow_pickle"):
        store.read(tmp_path / "pool.npz")
    with pytest.raises(ValueError, match="allow_pickle"):
        LawTable(family="EmpiricalPool", file="pool.npz").law(tmp_path)
    for suffix in ("parquet", "json", "npz"):
        (tmp_path / f"x.{suffix}").write_bytes(data)
        with pytest.raises(store.Damaged):
            store.read(tmp_path / f"x.{suffix}")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".csv.gz", ".pkl", ".npz"])
def test_a_log_is_not_unpickled(suffix, bomb, tmp_path):
    (tmp_path / f"log{suffix}").write_bytes(bomb[0])
    arguments = ["predict", str(tmp_path / f"log{suffix}"), "--N", "16"]
    done = subprocess.run(
        [sys.executable, "-m", "tea_stats", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith("error:"), done.stderr


@pytest.mark.torch
@pytest.mark.parametrize("sealed", [False, True])
def test_a_checkpoint_runs_no_code(sealed, bomb, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from simulations.lm import train

    path = tmp_path / "state.pt"
    if sealed:  # with the hash of what it holds
        train.write_state(path, {"weights": Bomb(bomb[1])}, "job")
    else:
        torch.save({"weights": Bomb(bomb[1])}, path)
    assert train.read_state(path, "job") is None
    assert "state.pt is damaged" in capsys.readouterr().err


@pytest.mark.torch
@pytest.mark.parametrize("code", [False, True])
def test_a_model_folder_runs_no_code(code, bomb, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from simulations.lm import models

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "model"
    if code:  # a class of its own, in a file beside the configuration
        folder.mkdir()
        config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "evil.py").write_text(f"import os\nos.mkdir({str(bomb[1])!r})\n")
    else:
        model, tokenizer = models.tiny()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "model.bin", "adapter_model.bin"):
        (folder / name).write_bytes(bomb[0])
    with pytest.raises(ValueError, match="cannot be loaded"):
        models.load(str(folder))


# --- names ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Run a grid whose laws, estimators and parts have hostile labels."""
    folder = tmp_path_factory.mktemp("labelled")
    laws = "".join(f'[laws.{json.dumps(x)}]\nfamily = "Normal"\n' for x in HOSTILE.values())
    estimators = "".join(
        f'[estimators.{json.dumps(x)}]\nname = "max_at_k"\nk = {k}\n'
        for k, x in enumerate(HOSTILE.values(), 2)
    )
    parts = f"[parts]\n{json.dumps(HOSTILE['html'])} = [{json.dumps(HOSTILE['path'])}]\n"
    head = "seed = 0\nm = [16]\nN = [32]\nblock_rewards = 512\nreps = { 16 = 64 }\n"
    (folder / "grid.toml").write_text(head + laws + estimators + parts, encoding="utf-8")
    (folder / "in").mkdir()
    grid.run(read_grid(folder / "grid.toml"), folder / "in" / "out", one_thread())
    return folder


def test_no_label_leaves_the_results_folder(labelled):
    assert sorted(x.name for x in labelled.iterdir()) == ["grid.toml", "in"]
    assert [x.name for x in (labelled / "in").iterdir()] == ["out"]
    folders = [x.name for x in (labelled / "in" / "out" / "blocks").iterdir()]
    assert len(folders) == len(HOSTILE)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", x) for x in folders), folders


def test_no_label_ends_the_data_of_the_page(labelled):
    results = results_of.load(labelled / "in" / "out")
    html = explorer.page(results)
    assert html.count("<script") == html.count("</script") == explorer_scripts()
    assert "<img" not in html and "fetch('//outside')" in html  # as text of the data
    assert html.count("Content-Security-Policy") == 1


def explorer_scripts():
    return (explorer.PAGE / "page.html").read_text(encoding="utf-8").count("<script")


@pytest.mark.parametrize("label", HOSTILE.values(), ids=HOSTILE)
def test_no_label_is_a_command_of_tex_or_a_tag_in_markdown(label):
    text = latex.name(label)
    for command in (r"\input", r"\write", "\n"):
        assert command not in text
    # every special character is escaped
    assert re.search(r"(?<!\\)[#$%&_{}]", text.replace("{}", "")) is None
    lines = tables.markdown(["law"], [[label]]).splitlines()
    assert len(lines) == 3 and not re.search(r"<[a-z/]", lines[2])
    assert lines[2].replace(r"\|", "").count("|") == 2


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').mkdir('executed')",
        "Normal(__import__('os').mkdir('executed'))",
        "Normal.__init__.__globals__",
        "Normal(loc=(lambda: 1)())",
        "Normal(**{'loc': 1})",
        "[x for x in ()]",
        "Law()",
        "(" * 500 + ")" * 500,
    ],
)
def test_a_law_on_the_command_line_is_not_evaluated(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="^law "):
        parse_law(text)
    assert parse_options([f"alpha={text}"]) == {"alpha": text}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["os.system", "__class__", "Law", "../Normal", "", "Estimator"])
def test_names_come_from_the_tables_alone(name):
    with pytest.raises(ValueError, match="unknown"):
        LawTable(family=name).law()
    with pytest.raises(ValueError, match="unknown"):
        advantages(name, [0.0, 1.0, 2.0], 4)


@pytest.mark.parametrize("option", ["__class__", "kernel", "prepare", "min_m", "name", "__dict__"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_option_replaces_nothing_of_an_estimator(name, option):
    with pytest.raises((TypeError, ValueError), match=option):
        advantages(name, np.eye(16)[0], 4, **{option: print})


# --- logs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["predict", "diagnose"])
def test_a_log_with_hostile_prompts_is_text(command, tmp_path):
    rows = [
        {"prompt": prompt, "reward": float(x)}
        for prompt in HOSTILE.values()
        for x in np.random.default_rng(0).normal(size=16)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "log.csv", index=False)
    done = CliRunner().invoke(_app(), [command, str(tmp_path / "log.csv"), "--N", "64"])
    assert done.exit_code == 0, done.output
    renamed = pd.DataFrame(rows).rename(columns={"reward": HOSTILE["markup"]})
    renamed.to_csv(tmp_path / "log.csv", index=False)
    arguments = [command, str(tmp_path / "log.csv"), "--N", "64", "--reward", "x"]
    done = CliRunner().invoke(_app(), arguments)
    assert done.exit_code == 2 and HOSTILE["markup"] in done.output
    assert [x.name for x in tmp_path.iterdir()] == ["log.csv"]


def _app():
    from tea_stats import command_line

    return command_line.app
