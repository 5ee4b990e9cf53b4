"""What is wrong with a log, and how values and names are quoted in it."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterable

#: what Python's own modules and pyarrow raise for damaged bytes; pyarrow's errors are among them
DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    NotImplementedError,
    RecursionError,
    MemoryError,
    OverflowError,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


class LogError(ValueError):
    """What is wrong with a log, in one line that names file, line, value and cure."""

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        # what a damaged file holds must not reach a terminal as it is
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in line))


def listing(names: Iterable[object], most: int = 12) -> str:
    """Return the names of columns, the first of many."""
    every = [name if len(name) <= 40 else name[:37] + "..." for name in map(str, names)]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more if every else "none"


def short(value: object, most: int = 40) -> str:
    """Return a value as Python writes it, cut to 40 characters."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        text = "a number of thousands of digits"
    return text if len(text) <= most else text[: most - 3] + "..."


def reason(error: BaseException) -> str:
    """Return the first line of an error, or its type where it says nothing."""
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
