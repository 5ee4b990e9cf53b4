"""Damaged logs through the reader: each is read, or ends in one line that names the file.

python -m tests.endurance.logs --files 10000

The logs are those of `tests/reward_logs` and `tests/reward_cases`, of every format. A damaged one
has bytes changed, cut out, doubled, or put in from elsewhere: brackets, quotes, separators, zero
bytes, huge numbers, deep nesting, pieces of other files. What is read has finite rewards; what is
not read ends in a LogError of one line. Anything else is a traceback, and is reported with the
file that causes it.
"""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tea_stats import reward_log

HERE = Path(__file__).parent.parent
PIECES = (
    b"\0", b'"', b"'", b"{", b"}", b"[", b"]", b",", b";", b"\t", b"\n", b"\r\n", b"\\", b"\\ud83d",
    b"\xff\xfe", b"\xef\xbb\xbf", b"\x80", b"NaN", b"1e999", b"-", b"null", b"[" * 5000,
    b'{"a":' * 5000, b"9" * 5000, b'"reward":', b"a," * 100, b"PAR1", b"\x1f\x8b", b"\xff" * 8,
    b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f",
)  # fmt: skip


def seeds() -> list[Path]:
    """Return the undamaged logs."""
    found = [path for name in ("reward_logs", "reward_cases") for path in (HERE / name).rglob("*")]
    return sorted(
        path for path in found if path.is_file() and path.suffix not in (".py", ".md", ".pyc")
    )


def damaged(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return the content with one to three random changes."""
    for _ in range(rng.integers(1, 4)):
        place, end = np.sort(rng.integers(0, len(content) + 1, 2))
        kind = rng.integers(7)
        if kind == 0 and place < len(content):  # a flipped bit
            flipped = content[place] ^ (1 << rng.integers(8))
            content = content[:place] + bytes([flipped]) + content[place + 1 :]
        elif kind == 1:  # cut off
            content = content[:place]
        elif kind == 2:  # a piece cut out
            content = content[:place] + content[min(end, place + 50) :]
        elif kind == 3:  # a piece doubled
            content = content[:end] + content[place:]
        elif kind == 4:  # something put in
            content = content[:place] + PIECES[rng.integers(len(PIECES))] + content[place:]
        elif kind == 5:  # a piece of another log
            start = int(rng.integers(0, len(other) + 1))
            content = content[:place] + other[start : start + 200] + content[place:]
        else:  # random bytes in place of others
            size = int(rng.integers(1, 20))
            content = content[:place] + rng.bytes(size) + content[place + size :]
    return content


def check(path: Path, options: dict[str, object]) -> str:
    """Read a log, and return what came of it: "read" or "refused"; AssertionError for neither."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            log = reward_log.read(path, **options)
    except reward_log.LogError as error:
        message = str(error)
        assert "\n" not in message and message.isprintable(), f"{message!r} is not one line"
        assert path.name in message, f"{message!r} does not name the file"
        assert len(message) < 1000, f"{message[:80]!r} … has {len(message)} characters"
        return "refused"
    assert np.isfinite(log.rewards).all() and log.offsets[-1] == len(log.rewards)
    assert (log.sizes > 0).all() and log.sizes.max() >= 2
    log.reading.lines()
    return "read"


def run(files: int, seed: int = 0, keep: Path | None = None) -> Counter[str]:
    """Read so many damaged logs; AssertionError with the path of the first that is not clean."""
    rng, logs, counts = np.random.default_rng(seed), seeds(), Counter()
    contents = [path.read_bytes() for path in logs]
    choices = ({}, {}, {"drop_missing": True}, {"step": "all"}, {"wide": True})
    with tempfile.TemporaryDirectory() as folder:
        for number in range(files):
            place = number % len(logs)
            content = damaged(contents[place], contents[rng.integers(len(logs))], rng)
            path = Path(folder) / f"log{''.join(logs[place].suffixes)}"
            path.write_bytes(content)
            options = choices[rng.integers(len(choices))]
            try:
                counts[check(path, options)] += 1
            except Exception as error:
                if keep is not None:
                    (keep / f"{number}-{logs[place].name}").write_bytes(content)
                raise AssertionError(
                    f"file {number} (seed {seed}), a damaged {logs[place].relative_to(HERE)} with "
                    f"{options}: {type(error).__name__}: {error}"
                ) from error
    return counts


def main(
    files: Annotated[int, typer.Option(min=1, help="Damaged logs.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    keep: Annotated[Path | None, typer.Option(help="Folder for a file that fails.")] = None,
) -> None:
    """Read damaged logs, and print what came of them."""
    print(dict(run(files, seed, keep)))


if __name__ == "__main__":
    typer.run(main)
