"""A folder that gets all files of an export, or none."""

import json
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import time

from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.media import atomic_path

REPORT = "report.json"
"""Name of the file that lists the others under `files`, each with its checksum."""

_UNFINISHED, _ABANDONED_S = ".unfinished-", 24 * 3600

_OURS = re.compile(r"(stems|handles)/\d\d_e\d+[\w-]*\.(wav|flac)")


def checksums(folder: Path) -> dict[str, str]:
    """Name of every file in a folder -> its SHA-256."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in paths}


def _sha256(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def write_zip(folder: Path, name: str, names: Sequence[str]) -> None:
    """A zip whose bytes depend on what it holds alone: names in order, one date, one mode."""
    with atomic_path(folder / name) as partial, zipfile.ZipFile(partial, "w") as bundle:
        for one in names:
            entry = zipfile.ZipInfo(one)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            is_packed = Path(one).suffix in (".flac", ".mp4")
            entry.compress_type = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
            bundle.writestr(entry, (folder / one).read_bytes())


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A folder inside `folder` to write to, gone afterwards; a `folder` made for a failed export goes too."""
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        with TemporaryDirectory(dir=folder, prefix=_UNFINISHED) as staging:
            yield Path(staging)
    except OSError as error:
        raise MediaError(
            f"{folder} can't be written: {error.strerror or error}. Free some space or choose another folder."
        ) from error
    finally:
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _sweep(folder: Path) -> None:
    """Remove what exports that were killed left behind; one that still runs is not as old."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        if left.is_dir() and time() - left.stat().st_mtime > _ABANDONED_S:
            rmtree(left, ignore_errors=True)


def publish(staging: Path, folder: Path, names: Sequence[str]) -> None:
    """Give every finished file its final name."""
    if taken := [name for name in names if (folder / name).is_dir()]:
        raise MediaError(f"{folder / taken[0]} is a folder, where a file is to be; choose another folder.")
    stale = _unchanged_sounds(folder) - set(names)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / name, folder / name)
    for name in stale:
        (folder / name).unlink(missing_ok=True)


def _unchanged_sounds(folder: Path) -> set[str]:
    """Stems and handles of an earlier export that nobody touched: left beside new ones, they would be mixed twice."""
    try:
        files = json.loads((folder / REPORT).read_text(encoding="utf-8"))["files"]
        names = {name for name in files if _OURS.fullmatch(name) and (folder / name).is_file()}
        return {name for name in names if _sha256(folder / name) == files[name]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
