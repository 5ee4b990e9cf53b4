"""What a file is, from its first bytes, and its rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from tea_stats.reward_log import tables, text
from tea_stats.reward_log.chunks import Chunk
from tea_stats.reward_log.documents import document
from tea_stats.reward_log.errors import DAMAGE, LogError, reason
from tea_stats.reward_log.sources import FOREIGN, Source
from tea_stats.reward_log.tables import Needed


def kind_of(source: Source) -> str:
    """Return what a file is: JSON lines, JSON, delimited, Parquet, Arrow, NumPy or zip."""
    try:
        head = source.start()
    except (LogError, ModuleNotFoundError):
        raise
    except IsADirectoryError:
        raise LogError(f"{source.name} is a folder; give the files in it") from None
    except PermissionError:
        raise LogError(f"{source.name} may not be read; change its permissions") from None
    except DAMAGE as error:
        raise LogError(
            f"{source.name} cannot be decompressed: {reason(error)}; the file is damaged or "
            "incomplete, copy or write it again"
        ) from None
    for magic, cure in FOREIGN.items():
        if head.startswith(magic):
            raise LogError(f"{source.name} is {cure}")
    if head[257:262] == b"ustar":
        raise LogError(f"{source.name} is a tar archive; unpack it and give the folder")
    binary = {b"PAR1": "Parquet", b"ARROW1": "Arrow", b"\xff\xff\xff\xff": "Arrow",
              b"\x93NUMPY": "NumPy", b"PK\x03\x04": "zip"}  # fmt: skip
    for magic, name in binary.items():
        if head.startswith(magic):
            return name
    # a damaged first byte must not turn a table into text
    expected = {".parquet": "Parquet", ".arrow": "Arrow", ".npy": "NumPy", ".eval": "zip"}
    suffix = Path(source.path).suffix.lower()
    if suffix in expected and head:
        what = "an inspect_ai log" if suffix == ".eval" else expected[suffix]
        if not (suffix == ".eval" and head.lstrip()[:1] == b"{"):
            raise LogError(
                f"{source.name} cannot be read as {what}: it does not begin as one; the file is "
                "damaged or has another's name, copy or rename it"
            )
    return _text(source, head)


def _text(source: Source, head: bytes) -> str:
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    beginning = head.decode(encoding, errors="replace").lstrip("\ufeff \t\r\n")
    if encoding == "utf-8-sig" and b"\0" in head:
        raise LogError(
            f"{source.name} holds zero bytes, which no text does; give a file of text, Parquet or "
            "Arrow, or copy the file again"
        )
    if Path(source.path).suffix.lower() in (".jsonl", ".ndjson") and beginning[:1] != "{":
        return "JSON lines"
    if beginning[:1] not in ("{", "["):
        return "delimited"
    if beginning[:1] == "[":
        return "JSON"
    return "JSON lines" if _is_lines(source, beginning) else "JSON"


def _is_lines(source: Source, beginning: str) -> bool:
    """Whether the first line is an object, and another follows; else the file is one document."""
    first, rest = (re.split(r"[\r\n]+", beginning, maxsplit=1) + [""])[:2]
    if Path(source.path).suffix.lower() in (".jsonl", ".ndjson") and len(first) > 2:
        return True
    if rest.lstrip(" \t\r\n\ufeff")[:1] not in ("{", "") or len(first) < 3:
        return False
    if not rest:
        # longer than what was looked at: an object of a line or the start of a document
        with text.opened(source) as stream:
            first = stream.readline()
            rest = stream.readline().strip()
        if not rest:
            return False  # one object only: its rows may be inside
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return rest.lstrip()[:1] == "{"


def read(source: Source, kind: str, needed: Needed) -> Iterator[Chunk]:
    """Yield the rows of a file of this kind."""
    if kind == "JSON lines":
        return text.json_lines(source)
    if kind == "delimited":
        return text.delimited(source)
    if kind == "JSON":
        return document(source)
    if kind == "Parquet":
        return tables.parquet(source, needed)
    if kind == "Arrow":
        return tables.arrow_ipc(source)
    if kind == "NumPy":
        return tables.array(source)
    return tables.inspect_archive(source)
