"""Pages whose every block is run, and prints what the page shows: the tutorial, and a finding."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("markdown_it")

from tests.page_blocks import run_page

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(("name", "least"), [("tutorial.md", 8), ("findings/mixed_rewards.md", 7)])
def test_every_block_prints_what_the_page_shows(tmp_path, name, least):
    assert run_page(DOCS / name, tmp_path) >= least


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```python\nprint(1)\n```\n```text\n2\n```\n", "prints"),
        ("```python\nprint(1)\n```\n", "not shown"),
        ("```python\nprint(1)\n```\n```python\nx = 1\n```\n", "not shown"),
        ("```text\n1\n```\n", "prints"),
        ("```bash\nls\n```\n", "no kind of block"),
        ("```console\n$ python -c 'print(1)'\n2\n```\n", "prints"),
        ("```console\n$ python -c 'raise SystemExit(3)'\n```\n", "raise SystemExit"),
        ("```console\npython\n```\n", "starts with"),
        ("text\n\n    x = 1\n", "no kind of block"),
    ],
)
def test_a_wrong_page_fails(tmp_path, text, problem):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(AssertionError, match=problem):
        run_page(page, tmp_path)


def test_a_right_page_passes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 1\n```\n```python\nprint(x, 0.123)\n```\n```text\n1 ...\n```\n"
        "```console\n$ python -c 'print(1)'\n1\n$ python -c 'pass'\n```\n"
    )
    assert run_page(page, tmp_path) == 4
