"""`tea-stats compare` and `plan`; and of all commands reports, JSON by schema, plain terminals."""

from __future__ import annotations

import base64
import codecs
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tea_stats.comparison import compare
from tea_stats.planning import plan
from tea_stats.reward_log import RewardLog

pytest.importorskip("typer")
pytest.importorskip("matplotlib")
pytest.importorskip("pyarrow")

from typer.testing import CliRunner

from tea_stats.command_line import app, terminal
from tea_stats.command_line.schemas import SCHEMAS, identifier, schema

HOSTILE = '<script>alert(1)</script> & "quotes" ‖ξ‖ \x07 [red]markup[/red] $\\frac$'


#: prompts as messages, with half of a surrogate pair in them
STRANGE = [[{"role": "user", "content": f"π {chr(0xD800)} {i}"}] for i in range(24)]


def run(*arguments):
    return CliRunner().invoke(app, [str(x) for x in arguments])


def write(path, rewards, labels=None):
    lines = []
    for place, row in enumerate(rewards):
        label = f"q{place}" if labels is None else labels[place]
        lines += [json.dumps({"prompt": label, "reward": float(r)}) + "\n" for r in row]
    path.write_text("".join(lines))
    return path


@pytest.fixture(scope="module")
def groups():
    rng = np.random.default_rng(0)
    place = rng.normal(size=(24, 1))
    return tuple(place + shift + rng.normal(size=(24, 16)) for shift in (0.0, 0.5))


@pytest.fixture(scope="module")
def files(groups, tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    return [write(folder / f"{name}.jsonl", x) for name, x in zip("ab", groups, strict=True)]


def log(rewards):
    return RewardLog.from_groups(rewards, prompts=[f"q{i}" for i in range(len(rewards))])


# --- compare -------------------------------------------------------------------------------------


def test_compare_prints_the_difference_and_what_it_rests_on(files, groups):
    done = run("compare", *files, "--N", 8)
    assert done.exit_code == 0, done.stderr
    result = compare(*map(log, groups), 8)
    assert "b is better in best-of-8" in done.stdout
    assert f"[{result.low:+.4g}, {result.high:+.4g}]" in done.stdout
    assert "24 pairs of prompts, 16 and 16 rollouts each" in done.stdout
    assert "Pairing makes the standard error" in done.stdout
    beyond = run("compare", *files, "--N", 64).stdout
    assert "N = 64 is beyond the 16 rollouts that every prompt has: linear" in beyond


def test_compare_says_that_it_does_without_pairs(files, groups, tmp_path):
    other = write(tmp_path / "c.jsonl", groups[1], labels=[f"x{i}" for i in range(24)])
    done = run("compare", files[0], other, "--N", 4)
    assert done.exit_code == 0, done.stderr
    assert "24 and 24 prompts, not paired" in done.stdout
    assert "note: the logs have no two prompts in common" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--N", 32, "--method", "max_at_k"], "N is 32 and a prompt has 16 rollouts"),
        (["--N", 4, "--level", 2], "level is 2.0"),
        (["--N", 4, "--figure", "x.gif"], "--figure is x.gif"),
        (["--N", 4, "--report", "x.pdf"], "--report is x.pdf; give a name that ends in .html"),
        (["--N", 4, "--report", "/nowhere/x.html"], "in a folder that does not exist"),
        (["--N", 4, "--prompt", "question"], "question"),
    ],
)
def test_errors_are_one_line(files, options, message):
    done = run("compare", *files, *options)
    assert done.exit_code == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == ""


# --- plan ----------------------------------------------------------------------------------------


def test_plan_prints_the_sizes(files, groups):
    done = run("plan", files[0], "--N", 8, "--half-width", 0.2)
    assert done.exit_code == 0, done.stderr
    best = plan(log(groups[0]), 8, half_width=0.2).best
    assert f"{best.assured:,} prompts × {best.m} rollouts" in done.stdout
    two = run("plan", *files, "--N", 8, "--difference", 0.3)
    assert "of each policy" in two.stdout and "both policies answer the same prompts" in two.stdout
    assert "--varies" in run("plan", files[0], "--N", 8, "--difference", 0.3).stdout
    assert (
        "fewer than N = 64 rollouts"
        in run("plan", files[0], "--N", 64, "--half-width", 1, "--m", 64).stdout
    )


def test_a_pilot_that_shows_no_difference_says_so(tmp_path):
    path = tmp_path / "solved.csv"
    path.write_text("problem,n,c\n" + "".join(f"p{k},16,{4 + k}\n" for k in range(12)))
    text = " ".join(run("plan", path, "--N", 16, "--half-width", 0.1).stdout.split())
    assert "the 12 prompts of the pilot show no difference in best-of-16" in text
    path.write_text("problem,n,c\n" + "".join(f"p{k},16,{k % 3}\n" for k in range(12)))
    text = run("plan", path, "--N", 16, "--half-width", 0.1).stdout
    assert "no difference" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "plan needs one pilot log or two"),
        (["--N", 8], "neither of half_width and difference"),
        (["--N", 8, "--half-width", -1], "half_width is -1.0"),
        (["--results", "/nowhere"], "no such folder"),
    ],
)
def test_plans_without_a_goal(files, options, message):
    pilots = [files[0]] if "--N" in options else []
    done = run("plan", *pilots, *options)
    assert done.exit_code == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_replications_of_a_grid():
    pytest.importorskip("pydantic")
    done = run("plan", "--results", "analysis/summaries/paper", "--error", 0.05)
    assert done.exit_code == 0, done.stderr
    assert re.search(r"reps = \{ 8 = \d+, 16 = \d+", done.stdout)
    loose = run("plan", "--results", "analysis/summaries/paper", "--error", 0.1, "--json")
    fine = run("plan", "--results", "analysis/summaries/paper", "--error", 0.05, "--json")
    one, two = (json.loads(x.stdout) for x in (loose, fine))
    check(two, "replications")
    for m, needed in one["reps"].items():
        assert two["reps"][m] == pytest.approx(4 * needed, rel=1e-3)


# --- JSON ----------------------------------------------------------------------------------------


def check(content, kind):
    """Check against the schema, by the library where it is installed and by hand anyway."""
    rules = schema(kind)
    assert content["schema"] == identifier(kind) == rules["$id"]
    assert set(rules["required"]) <= set(content)
    assert set(content) <= set(rules["properties"]), set(content) - set(rules["properties"])
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(rules)
    jsonschema.validate(content, rules)


COMMANDS = {
    "predict": ["--N", 64],
    "diagnose": ["--N", 64, "--m", 8, "--batches", 2, "--prompts", 4],
    "compare": ["--N", 8],
    "plan": ["--N", 8, "--half-width", 0.3],
}


@pytest.mark.parametrize("kind", list(COMMANDS))
def test_json_follows_its_schema(kind, files):
    pilots = files if kind == "compare" else files[:1]
    done = run(kind, *pilots, *COMMANDS[kind], "--json")
    assert done.exit_code == 0, done.stderr
    content = json.loads(done.stdout)
    check(content, kind)
    # a field that goes, or another type, is noticed
    jsonschema = pytest.importorskip("jsonschema")
    for broken in ({**content, "N": "many"}, {k: v for k, v in content.items() if k != "schema"}):
        if kind != "diagnose" or "schema" not in broken:
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(broken, schema(kind))


def test_other_json_follows_its_schema(files):
    small = ["--m", 8, "--N", 16, "--prompts", 4, "--batches", 10, "--json"]
    check(json.loads(run("simulate", "Normal", "tea", *small).stdout), "simulate")
    verifier = run("diagnose", files[0], "--verdicts-only", "--json")
    check(json.loads(verifier.stdout), "diagnose")


def described(rules):
    """Yield every field of a schema with its description."""
    for name, rule in rules.get("properties", {}).items():
        yield name, rule.get("description")
        yield from described(rule)
    for inner in (rules.get("items"), rules.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from described(inner)


@pytest.mark.parametrize("kind", list(SCHEMAS))
def test_schemas_are_printed_and_describe_every_field(kind):
    done = run("schema", kind)
    assert json.loads(done.stdout) == schema(kind)
    assert [name for name, text in described(schema(kind)) if not text] == []


def test_unknown_schemas_are_refused():
    done = run("schema", "nothing")
    assert done.exit_code == 2 and "give one of 'predict'" in done.stderr


# --- reports -------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Tags, sources and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.text, self.policy = [], [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        values = dict(attributes)
        self.sources += [v for k, v in values.items() if k in ("src", "href", "action", "data")]
        assert not any(name.startswith("on") for name in values)
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("kind", list(COMMANDS))
def test_reports_are_self_contained_and_escape_names(kind, groups, tmp_path):
    labels = [f"{HOSTILE} {i}" for i in range(24)]
    names = ["<img src=x onerror=alert(2)>.jsonl", "b&amp;.jsonl"]
    logs = [write(tmp_path / n, x, labels) for n, x in zip(names, groups, strict=True)]
    page = tmp_path / "page.html"
    more = ["--per-prompt"] if kind == "predict" else []
    pilots = logs if kind == "compare" else logs[:1]
    done = run(kind, *pilots, *COMMANDS[kind], *more, "--report", page)
    assert done.exit_code == 0, done.stderr
    assert f"report: {page}" in done.stdout
    read = Page(page.read_text(encoding="utf-8"))
    assert not {"script", "iframe", "link", "object", "form", "a"} & set(read.tags)
    assert read.tags.count("img") == 1  # the figure, not the file's name
    assert "default-src 'none'" in read.policy
    (source,) = read.sources
    drawing = base64.b64decode(source.removeprefix("data:image/svg+xml;base64,"))
    assert b"<svg" in drawing and b"<script" not in drawing
    assert names[0] in read.text
    assert read.tags.count("table") >= 1
    if kind == "predict":
        assert "<script>alert(1)</script>" in read.text  # as text
    # the same log gives the same page
    first = page.read_bytes()
    run(kind, *pilots, *COMMANDS[kind], *more, "--report", page)
    assert page.read_bytes() == first


def test_a_report_of_rewards_without_a_tail(tmp_path):
    rewards = (np.random.default_rng(0).random((30, 8)) < 0.3) * 1.0
    page = tmp_path / "page.html"
    done = run(
        "diagnose", write(tmp_path / "v.jsonl", rewards), *COMMANDS["diagnose"], "--report", page
    )
    assert done.exit_code == 0, done.stderr
    text = Page(page.read_text(encoding="utf-8")).text
    assert "few values" in text and "For best-of-64" in text


# --- terminals -----------------------------------------------------------------------------------

PROGRAM = """
import sys, json
sys.argv[0] = "tea-stats"
for arguments in json.loads(sys.argv.pop()):
    sys.argv[1:] = arguments
    from tea_stats.__main__ import main
    try:
        main()
    except SystemExit as end:
        assert end.code in (0, 2), arguments
"""


def printed(encoding, *commands):
    """Return what commands print in a terminal of that encoding."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([[str(x) for x in c] for c in commands])],
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "COLUMNS": "150"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode("latin-1")
    assert b"Traceback" not in done.stderr
    return done.stdout.decode(encoding), done.stderr.decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_plain_terminals(encoding, files, groups, tmp_path):
    strange = write(tmp_path / "strange.jsonl", groups[0], STRANGE)
    commands = [[k, *(files if k == "compare" else files[:1]), *v] for k, v in COMMANDS.items()]
    commands += [["predict", strange, "--N", 64, "--per-prompt"], ["estimators"]]
    commands += [["estimators", "tea"], ["predict", tmp_path / "ψ", "--N", 4]]
    commands += [[name, "--help"] for name in ("predict", "diagnose", "compare", "plan", "schema")]
    out, err = printed(encoding, *commands)
    assert ("b - a" in out) and (" +- " in out) == (encoding == "ascii")
    assert ("pi " in out) and ("\\u" not in out)
    assert ("psi" in err) and err.count("error: ") == 1
    # tables keep their columns: every row is as wide as its rule
    rule, row = re.search(r"^( *\|-[-+]*\|)\n( *\|.*)$", out, re.MULTILINE).groups()
    assert len(rule) == len(row)


def test_json_is_the_same_in_every_terminal(files, groups, tmp_path):
    strange = write(tmp_path / "s.jsonl", groups[0], STRANGE)
    command = ["predict", strange, "--N", 8, "--per-prompt", "--json"]
    one, two = (json.loads(printed(x, command)[0]) for x in ("ascii", "utf-8"))
    assert one == two
    assert "π ? 0" in one["prompt_labels"][0]


def test_every_sign_the_commands_print_has_a_plain_form():
    for sign, plain in terminal.PLAIN.items():
        assert plain.isascii() and len(sign) == 1
        assert terminal.plain(sign, "ascii") == plain
    assert terminal.plain("é漢\ud800", "ascii") == "e\\u6f22?"
    assert codecs.lookup_error(terminal.HANDLER) is not None
    files = (Path(__file__).parents[1] / "tea_stats").rglob("*.py")
    signs = set().union(*(set(path.read_text(encoding="utf-8")) for path in files)) - {"漢"}
    assert [sign for sign in sorted(signs) if "\\" in terminal.letter(sign) != sign] == []


# --- figures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(COMMANDS))
def test_figures_can_be_read_at_the_width_of_a_column(kind, files, monkeypatch):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from tea_stats.command_line import figures
    from tests.readable import check_text

    drawn = []
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.append(figure))
    options = COMMANDS[kind] if kind != "diagnose" else ["--verdicts-only"]
    done = run(kind, *(files if kind == "compare" else files[:1]), *options, "--figure", "x.png")
    assert done.exit_code == 0, done.stderr
    (figure,) = drawn
    FigureCanvasAgg(figure)
    assert figure.get_size_inches()[0] <= 3.5
    check_text(figure)
