"""The tree of a session's timelines, folded from its log: where undo and redo lead."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from audio_agent_zoo.errors import SessionError
from audio_agent_zoo.planner.plan import Plan, Step
from audio_agent_zoo.studio.step_sounds import SessionVideo, Timeline
from audio_agent_zoo.studio.turn import TimelineSound, Turn

_WIDEST = 8192  # a session's own windows are at most the native width
_FIELDS = ("user", "status", "action", "reply")


class History:
    """Turns in order, and the tree of those that made a timeline.

    Args:
        records: Lines of the log, without its first.
        media: Folder of the session's videos.
        play: Makes the sound of a timeline, for turns that are read from the log.

    Raises:
        SessionError: If a record is no turn.
    """

    def __init__(
        self,
        records: Sequence[dict[str, Any]],
        media: Path,
        play: Callable[[Timeline], TimelineSound],
    ) -> None:
        self._media, self._play = media, play
        self.turns: list[Turn] = []
        self.nodes: dict[int, Turn] = {}
        self._head: int | None = None
        self._last_child: dict[int | None, int] = {}
        self._widths: dict[tuple[str, str], tuple[int, ...]] = {}
        for record in records:
            self.add(self._read(record))

    def _video(self, record: dict[str, Any]) -> SessionVideo | None:
        about = record.get("video")
        # A name and no path: whoever wrote the log must not choose which file is read.
        return about and SessionVideo(
            self._media / Path(str(about["file"])).name, str(about["sha256"]), float(about["duration_s"])
        )

    def _read(self, record: dict[str, Any]) -> Turn:
        number = len(self.turns) + 1
        try:
            if record["turn"] != number:
                raise SessionError(f"turn {number} of this session's log is missing; it was cut or joined by hand.")
            head = record["head"]
            timeline: Timeline | None = None
            if "plan" in record:
                plan = Plan.model_validate(record["plan"])
                timeline = Timeline(plan, self._video(record), _widths(record.get("widths", {})))
            elif head is not None:
                timeline = self.nodes[head].timeline
            return Turn(
                number=number,
                **{name: record[name] for name in _FIELDS},
                plan=None if timeline is None else timeline.plan,
                notes=tuple(record["notes"]),
                kept=tuple(record.get("kept", ())),
                regenerated=tuple(record.get("regenerated", ())),
                windows=record.get("windows", 0),
                failed=record.get("failed", {}),
                parent=record.get("parent"),
                head=head,
                video=None if timeline is None else timeline.video,
                widths={} if timeline is None else dict(timeline.widths),
                seconds=record.get("seconds", 0.0),
                at=record["at"],
                play=None if timeline is None else partial(self._play, timeline),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SessionError(f"turn {number} of this session's log can't be read: {error}.") from error

    def add(self, turn: Turn) -> None:
        """Take in the next turn."""
        self.turns.append(turn)
        if turn.made_plan:
            self.nodes[turn.number] = turn
            self._last_child[turn.parent] = turn.number
            for step in turn.plan.steps if turn.plan else ():
                if step.id in turn.widths:
                    self._widths[step.id, step.render_key] = turn.widths[step.id]
                    self._widths["", step.render_key] = turn.widths[step.id]
        elif turn.action == "undo" and self._head is not None:
            # Redo leads back to the branch that was left, not to the newest one.
            self._last_child[self.nodes[self._head].parent] = self._head
        self._head = turn.head

    @property
    def head(self) -> Turn | None:
        """The turn whose timeline counts."""
        return None if self._head is None else self.nodes[self._head]

    def after(self) -> Turn | None:
        """Where redo leads."""
        number = self._last_child.get(self._head)
        return None if number is None else self.nodes[number]

    def line(self) -> list[Turn]:
        """Turns that led to the timeline that counts, oldest first."""
        found: list[Turn] = []
        at = self.head
        while at is not None:
            found.append(at)
            at = None if at.parent is None else self.nodes[at.parent]
        return found[::-1]

    def recent(self) -> list[str]:
        """Steps that the timeline's last turn added or changed."""
        head = self.head
        if head is None or head.plan is None:
            return []
        before = None if head.parent is None else self.nodes[head.parent].plan
        old = {} if before is None else {step.id: step for step in before.steps}
        return [step.id for step in head.plan.steps if old.get(step.id) != step]

    def widths(self, step: Step) -> tuple[int, ...]:
        """Widths of the windows that a step's sound was heard from last, under its id if there; () if it never was."""
        head = self.head
        if head is not None and head.plan is not None and step.id in head.widths:
            now = next(one for one in head.plan.steps if one.id == step.id)
            if now.render_key == step.render_key:
                return head.widths[step.id]
        return self._widths.get((step.id, step.render_key)) or self._widths.get(("", step.render_key), ())

    def next_id(self) -> int:
        """The smallest number that no step of this session ever had, nor any below it."""
        ids = [step.id for turn in self.nodes.values() if turn.plan is not None for step in turn.plan.steps]
        return 1 + max((int(found[0]) for one in ids if (found := re.findall(r"\d+", one))), default=0)


def _widths(record: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    widths = {str(name): tuple(int(width) for width in own) for name, own in record.items()}
    if any(not 0 < width <= _WIDEST for own in widths.values() for width in own):
        raise ValueError(f"a window is not 1 to {_WIDEST} columns wide")
    return widths
