"""Any folder of videos: with a table of captions beside them, or sorted into folders by class."""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from audio_agent_zoo.data.sources.splits import Split, held_out, is_split, read_split
from audio_agent_zoo.data.sources.tables import csv_rows, json_rows
from audio_agent_zoo.data.sources.video_files import VideoFiles, VideoRow, find_files, named_file, words
from audio_agent_zoo.errors import MediaError

TABLES = ("metadata.jsonl", "metadata.csv")
_BETWEEN_CAPTIONS = "|"


class FolderSource(VideoFiles):
    """The videos of a folder, each with its own sound.

    What they sound like stands in `metadata.jsonl` or `metadata.csv`, one row per file, with the columns

    - `file_name`: path below the folder; several rows of one file add their captions up,
    - `caption`, or `captions`: a list, in CSV with `|` between the wordings,
    - `class_name`, `onset_s` (seconds; in CSV with spaces between them), `split`: where wanted.

    A row without a caption is captioned by its class. Without a table each file is captioned by the folder it
    lies in: `dog_barking/1.mp4` is "dog barking". Where the only folders at the top are `train`, `validation`
    (`val`) and `test`, they are splits, each with a table or class folders of its own.

    Where neither a column nor a folder says what is for validation, a hash of the name does, so that new files
    don't move the others. The test split has what is said to be of it, nothing else.

    Args:
        path: Folder.
        split: train, validation or test.
        validation_share: Share of the clips that is held out, where nothing else says so.
        seed: Another seed holds others out.

    Raises:
        MediaError: If there is no such folder, it holds no videos, or its table can't be read.
        ValueError: If the share is not in [0, 1).
    """

    def __init__(self, path: str | Path, split: Split = "train", validation_share: float = 0.05, seed: int = 0) -> None:
        folder = Path(path)
        found = list(_described(folder))
        if not found:
            raise MediaError(f"{folder} holds no videos; put them there, or give another folder.")
        told = {said for _, said in found if said is not None}
        open_names = [row.id for row, said in found if said in (None, "train")]
        # A validation split that is there already is not added to.
        kept_out = held_out(open_names, validation_share, seed) if "validation" not in told else frozenset()
        rows = [row for row, said in found if _split_of(row, said, kept_out) == split]
        settings = {"source": "folder", "split": split, "validation_share": validation_share, "seed": seed}
        super().__init__(settings, rows, _notes(folder, [row for row, _ in found]))


def _split_of(row: VideoRow, said: Split | None, kept_out: frozenset[str]) -> Split:
    return "validation" if row.id in kept_out else said or "train"


def _notes(folder: Path, rows: Iterable[VideoRow]) -> Iterator[str]:
    listed = {Path(row.path) for row in rows}
    extra = [path for path in find_files(folder) if path not in listed]
    if extra:
        yield f"{len(extra)} videos are in no table and left out, such as {extra[0].relative_to(folder)}."
    empty = [row.id for row in rows if not row.captions]
    if empty:
        yield f"{len(empty)} clips have no caption, such as {empty[0]}."


def _described(folder: Path) -> Iterator[tuple[VideoRow, Split | None]]:
    """Every clip with the split it is said to be of."""
    if not folder.is_dir():
        raise MediaError(f"{folder} is not a folder; check the path.")
    parts = sorted(part for part in folder.iterdir() if part.is_dir() and part.name[0] != ".")
    has_table = any((folder / name).is_file() for name in TABLES)
    # A train is a class of sounds too.
    if has_table or not parts or not all(is_split(part.name) for part in parts):
        yield from _clips(folder, folder)
        return
    for part in parts:
        for row, said in _clips(folder, part):
            yield row, said or read_split(part.name)


def _clips(root: Path, folder: Path) -> Iterator[tuple[VideoRow, Split | None]]:
    tables = [folder / name for name in TABLES if (folder / name).is_file()]
    if len(tables) > 1:
        raise MediaError(f"{folder} holds {' and '.join(TABLES)}; keep one of them.")
    if tables:
        yield from _from_table(root, tables[0])
        return
    for path in find_files(folder):
        inner = path.relative_to(folder).parts
        class_name = unicodedata.normalize("NFC", inner[0]) if len(inner) > 1 else ""
        captions = (words(class_name),) if class_name else ()
        yield VideoRow(_name(root, path), str(path), captions, class_name), None


def _name(root: Path, path: Path) -> str:
    """Path below the root, spelt the same on every system."""
    below = path.relative_to(root) if path.is_relative_to(root) else path
    return unicodedata.normalize("NFC", below.as_posix())


def _from_table(root: Path, table: Path) -> Iterator[tuple[VideoRow, Split | None]]:
    lines = json_rows(table) if table.suffix == ".jsonl" else csv_rows(table, ["file_name"])
    merged: dict[str, tuple[VideoRow, Split | None]] = {}
    for number, cells in lines:
        try:
            row, split = _row(root, table.parent, cells)
        except (ValueError, TypeError) as error:
            raise MediaError(f"{table}, line {number}: {error}") from error
        if row.id in merged:
            first, split = merged[row.id]
            row = VideoRow(row.id, row.path, (*first.captions, *row.captions), first.class_name, first.onset_s)
        merged[row.id] = row, split
    yield from (merged[name] for name in sorted(merged))


def _row(root: Path, folder: Path, cells: Mapping[str, Any]) -> tuple[VideoRow, Split | None]:
    file_name = cells.get("file_name")
    if not isinstance(file_name, str) or not file_name.strip():
        raise ValueError(f"file_name is {file_name!r}; write the path of a video below {folder.name}/.")
    class_name = _text(cells, "class_name")
    captions = _captions(cells) or ((words(class_name),) if class_name else ())
    path = named_file(folder, file_name.strip())
    split = _text(cells, "split")
    row = VideoRow(_name(root, path), str(path), captions, class_name, _onsets(cells.get("onset_s")))
    return row, read_split(split) if split else None


def _text(cells: Mapping[str, Any], column: str) -> str:
    value = cells.get(column)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{column} is {value!r}; write text.")
    return unicodedata.normalize("NFC", value.strip()) if value else ""


def _captions(cells: Mapping[str, Any]) -> tuple[str, ...]:
    several = cells.get("captions") or []
    if isinstance(several, str):
        several = json.loads(several) if several.startswith("[") else several.split(_BETWEEN_CAPTIONS)
    if not isinstance(several, list) or not all(isinstance(one, str) for one in several):
        raise ValueError(f"captions is {several!r}; write a list of texts.")
    given = [_text(cells, "caption"), *several]
    return tuple(dict.fromkeys(text for one in given if (text := " ".join(one.split()))))


def _onsets(value: Any) -> tuple[float, ...]:
    """Seconds from a list, a number, or a text of numbers."""
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        value = value.strip("[]").replace(",", " ").replace(";", " ").split()
    seconds = sorted(float(one) for one in (value if isinstance(value, list) else [value]))
    if not all(0 <= one < float("inf") for one in seconds):
        raise ValueError(f"onset_s is {value!r}; write seconds from the start of the clip.")
    return tuple(seconds)
