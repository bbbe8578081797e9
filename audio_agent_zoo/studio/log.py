"""The log of a session: one line of JSON per turn, only ever added to, held by one writer."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from audio_agent_zoo.errors import MediaError, SessionError

LOG_NAME, _LOCK_NAME = "session.jsonl", ".lock"
LOG_VERSION = 1

Record = dict[str, Any]


class SessionLog:
    """Lines that stay once they are written.

    A line counts when its end is on the disk; what a kill left of a last one is cut off when the log is opened.

    Args:
        folder: Folder of the session; made if it is missing.

    Raises:
        SessionError: If another process or object writes to it, it is damaged, or of a later format.
        MediaError: If the folder can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / _LOCK_NAME, timeout=0, thread_local=False)
            self._lock.acquire()
        except Timeout:
            raise SessionError(
                f"the session in {folder} is open elsewhere; close it there, or give another folder."
            ) from None
        except OSError as error:
            raise MediaError(f"{folder} can't be written: {error.strerror}. Choose another folder.") from error
        try:
            self.records: list[Record] = list(self._read())
        except BaseException:
            self.close()
            raise

    def _read(self) -> Iterator[Record]:
        if not self.path.exists():
            return
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with self.path.open("r+b") as file:
                file.truncate(whole)
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                record = json.loads(line)
                version = int(record["version"]) if number == 1 else LOG_VERSION
            except (ValueError, KeyError, TypeError):
                raise SessionError(
                    f"{self.path} is damaged in line {number}; take a copy of that folder, remove the lines from there "
                    "on, and what came before is whole."
                ) from None
            if version > LOG_VERSION:
                raise SessionError(
                    f"{self.path} has format {version}, this version of the package reads up to {LOG_VERSION}; "
                    "upgrade with: pip install -U audio-agent-zoo"
                )
            yield record

    def append(self, record: Record) -> None:
        """Add a line and see it onto the disk.

        Raises:
            MediaError: If it can't be written; the log is as it was.
            SessionError: If the log is closed.
        """
        if not self._lock.is_locked:
            raise SessionError(f"the session in {self.path.parent} is closed; open it again.")
        line = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")).encode() + b"\n"
        before = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            os.truncate(self.path, before)
            raise MediaError(
                f"{self.path} can't be written: {error.strerror}. Free some space; the turn was not kept."
            ) from error
        self.records.append(record)

    def close(self) -> None:
        """Let others write; what is written stays."""
        self._lock.release()
