"""Rows of the tables that lie beside clips: CSV in the ways programs write it, and JSON lines."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from audio_agent_zoo.errors import MediaError

_DELIMITERS = (",", ";", "\t")


def read_text(path: str | Path) -> str:
    """A text file in UTF-8, with or without the mark that spreadsheets put before it.

    Raises:
        MediaError: If it is missing or not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MediaError(f"{path} can't be read: {error.strerror or error}; check the path.") from error
    except UnicodeDecodeError as error:
        raise MediaError(f"{path} is not UTF-8 (byte {error.start}); save it again as UTF-8.") from error


def csv_lines(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each line that is not empty; between cells lies a comma, a semicolon or a tab.

    Raises:
        MediaError: If it can't be read, or a line is no CSV.
    """
    text = read_text(path)
    first = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise MediaError(f"{path}, line {reader.line_num}: {error}; quote cells that hold commas or quotes.") from error


def csv_rows(path: str | Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column of each line below the header.

    Args:
        path: CSV with a header.
        needed: Columns it must have.

    Raises:
        MediaError: If it can't be read, is empty, lacks a column, or a line has another number of cells.
    """
    lines = csv_lines(path)
    _, header = next(lines, (0, []))
    if missing := [name for name in needed if name not in header]:
        raise MediaError(f"{path} has the columns {', '.join(header) or 'none'}; it needs {', '.join(missing)}.")
    for number, cells in lines:
        if len(cells) > len(header):
            raise MediaError(f"{path}, line {number}: {len(cells)} cells under {len(header)} columns; quote commas.")
        yield number, dict(zip(header, cells, strict=False))


def json_rows(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each line that is not empty.

    Raises:
        MediaError: If it can't be read or a line is no JSON object.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise MediaError(f"{path}, line {number}: {error}; write one JSON object per line.") from error
        if not isinstance(row, dict):
            raise MediaError(f"{path}, line {number} is {line.strip()[:40]!r}; write one JSON object per line.")
        yield number, row
