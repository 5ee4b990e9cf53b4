"""Run the code blocks of a Markdown page, in order, and compare what they print.

`python` blocks share their variables. What one prints is in the `text` block that follows it. In
`console` blocks, lines with a `$` are commands, and what each prints follows it. Every other kind
of block is an error: none is skipped. As in a doctest, `...` stands for anything.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from markdown_it import MarkdownIt

#: programs that a page may call
PROGRAMS = {"python": [sys.executable], "tea-stats": [sys.executable, "-m", "tea_stats"]}
ROOT = Path(__file__).parents[1]


def run_page(path, folder):
    """Run a page's blocks in a folder; return how many there were, or raise AssertionError."""
    tokens = MarkdownIt().parse(path.read_text(encoding="utf-8"))
    blocks = [(token.info, token.content) for token in tokens if token.tag == "code"]
    names, count = {"__name__": "__main__"}, 0
    printed = ""
    with contextlib.chdir(folder):
        for kind, body in blocks:
            where = f"{path.name}, block {(count := count + 1)}"
            if kind == "text":
                compare(printed, body, where)
                printed = ""
                continue
            assert not printed, f"{where}: what the block before prints is not shown:\n{printed}"
            if kind == "python":
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    exec(compile(body, where, "exec"), names)
                printed = out.getvalue()
            else:
                assert kind == "console", f"{where}: {kind!r} is no kind of block that is run"
                run_console(body, where)
    assert not printed, f"{path.name}: what the last block prints is not shown:\n{printed}"
    return count


def run_console(body, where):
    """Run the commands of a console block."""
    first, *sessions = re.split(r"^\$ ", body, flags=re.MULTILINE)
    assert not first and sessions, f"{where}: a console block starts with $"
    for session in sessions:
        command, _, expected = session.partition("\n")
        program, *arguments = shlex.split(command)
        done = subprocess.run(
            [*PROGRAMS[program], *arguments],
            env={**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{where}: {command}\n{done.stderr}"
        compare(done.stdout, expected, f"{where}: {command}")


def compare(printed, expected, where):
    """Check what was printed, but for spaces at ends of lines and blank lines at both ends."""
    got, want = (
        "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
        for text in (printed, expected)
    )
    same = doctest.OutputChecker().check_output(f"{want}\n", f"{got}\n", doctest.ELLIPSIS)
    assert same, f"{where} prints\n{got}\nnot\n{want}"
