"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp

from audio_agent_zoo.errors import MediaError


def _default_mode() -> int:
    """Permissions that a newly opened file would get."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the final name, on any failure it vanishes.

    A file that had the final name stays as it was until the new one is complete and on the disk.

    Raises:
        MediaError: If the folder can't be written, the disk is full, or `path` is a folder.
    """
    final = Path(path)
    if final.is_dir():
        raise MediaError(f"{final} is a folder; give the name of a file.")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, name = mkstemp(dir=final.parent, prefix=".unfinished-", suffix=final.suffix)
    except OSError as error:
        raise MediaError(f"{final} can't be written: {error.strerror}. Choose another folder.") from error
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.chmod(_default_mode())
        partial.replace(final)
    except OSError as error:
        raise MediaError(
            f"{final} was not written: {error.strerror or error}. "
            "Free some space or choose another folder; nothing was changed."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
