"""One session per visitor of the page, in folders of their own, and no more of them open than a bound."""

import re
from collections import OrderedDict
from pathlib import Path
from shutil import rmtree
from threading import Event, RLock
from uuid import uuid4

from audio_agent_zoo.pipelines.audio_agent import AudioAgent
from audio_agent_zoo.studio.session import Session


class Cancelled(Exception):
    """The visitor stopped what was being made."""


class Visitor:
    """A visitor's session, and the way to stop what it is doing.

    Args:
        session: The session.

    Attributes:
        step: The step that is listened to.
        is_busy: Something is being made; the session must stay open.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.step: str | None = None
        self.is_busy = False
        self._stop = Event()

    def begin(self) -> None:
        """Forget an earlier wish to stop."""
        self._stop.clear()

    def stop(self) -> None:
        """Stop at the next denoising step."""
        self._stop.set()

    def check(self) -> None:
        """Stop here if that is wished.

        Raises:
            Cancelled: If it is.
        """
        if self._stop.is_set():
            raise Cancelled


class Visitors:
    """Sessions by the name a browser tab goes by.

    Args:
        agent: What all of them share; it keeps nothing of a visitor.
        folder: Where their sessions are kept.
        most: Sessions open at once; the one unused for longest is closed for a new one, and opened again on return;
            none that is at work is closed.
        keep: Keep the folder of a visitor who left.
    """

    def __init__(self, agent: AudioAgent, folder: Path, most: int = 32, *, keep: bool = True) -> None:
        self.agent, self.folder, self.most, self.keep = agent, folder, most, keep
        self._open: OrderedDict[str, Visitor] = OrderedDict()
        self._lock = RLock()

    def get(self, name: str | None) -> Visitor:
        """The visitor of a tab, opened if need be.

        Args:
            name: What the browser tab is called; it becomes a folder's name, so nothing else than letters and digits
                is taken from it.
        """
        key = re.sub(r"[^A-Za-z0-9]", "", name or "")[:64] or uuid4().hex
        with self._lock:
            if key not in self._open:
                idle = [one for one, visitor in self._open.items() if not visitor.is_busy]
                for one in idle[: max(0, len(self._open) + 1 - self.most)]:
                    self._open.pop(one).session.close()
                self._open[key] = Visitor(self.agent.session(self.folder / key))
            self._open.move_to_end(key)
            return self._open[key]

    def leave(self, name: str | None) -> None:
        """Close the session of a tab that was closed; its folder goes unless it is to be kept."""
        with self._lock:
            visitor = self._open.pop(re.sub(r"[^A-Za-z0-9]", "", name or "")[:64], None)
        if visitor is not None:
            visitor.stop()
            visitor.session.close()
            if not self.keep:
                rmtree(visitor.session.folder, ignore_errors=True)

    def __len__(self) -> int:
        """Sessions open now."""
        return len(self._open)

    def close(self) -> None:
        """Close every session."""
        for name in list(self._open):
            self.leave(name)
