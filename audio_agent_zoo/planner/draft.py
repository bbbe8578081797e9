"""A timeline while it is being edited: steps change one by one, and at the end it is a valid plan again."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from audio_agent_zoo.planner.errors import QuestionError
from audio_agent_zoo.planner.plan import (
    MAX_STEPS,
    MIN_STEP_S,
    Plan,
    PlannerInfo,
    Step,
    canonical,
    clean_text,
    polyphony,
)
from audio_agent_zoo.planner.referents import find_steps, listed, name, seconds
from audio_agent_zoo.rates import MAX_DURATION_S

MOST_AT_ONCE = 16
"""Most sounds at once that a plan can have."""


class Draft:
    """A plan under edit, with what was done to it in words.

    Args:
        plan: The plan to begin from; it is not changed.
        recent: Ids that "it" may mean.
        next_id: Number of the next new step.
        earlier: Plans of earlier turns; their takes are not taken again.

    Attributes:
        steps: The steps so far.
        duration_s: The length so far, in seconds.
        said: Sentences on what was done.
        notes: Sentences on what had to give way.
        recent: Ids that "it" means from here on.
    """

    def __init__(self, plan: Plan, recent: Sequence[str], next_id: int, earlier: Sequence[Plan] = ()) -> None:
        self.plan, self.duration_s, self.recent = plan, plan.duration_s, list(recent)
        self.steps = list(plan.steps)
        self._earlier = [step for one in earlier for step in one.steps]
        self.said: list[str] = []
        self.notes: list[str] = []
        self._next = max([next_id, *(int(step.id[1:]) + 1 for step in plan.steps)])

    def fresh_id(self) -> str:
        """An id that no step ever had."""
        self._next += 1
        return f"e{self._next - 1}"

    def next_take(self, step: Step) -> int:
        """Number of a take that was not heard yet."""
        heard = [one.take for one in self._earlier if (one.id, one.prompt) == (step.id, step.prompt)]
        return max([step.take, *heard]) + 1

    def find(self, words: str) -> tuple[Step, ...]:
        """Steps that words mean.

        Raises:
            QuestionError: If that is not clear.
        """
        if not self.steps:
            raise QuestionError("There are no sounds left to change. What do you want to hear?")
        return find_steps(words, self.steps, self.recent)

    def unlocked(self, words: str) -> tuple[Step, ...]:
        """Steps that words mean and that may be changed; a locked one among several is passed over and noted.

        Raises:
            QuestionError: If none may be changed, or it is not clear which are meant.
        """
        found = self.find(words)
        locked = [step for step in found if step.locked]
        if locked and len(locked) == len(found):
            raise QuestionError(
                f"{listed([name(s) for s in locked])} {_is(locked)} locked. Unlock {_it(locked)} first?"
            )
        if locked:
            self.notes.append(
                f"{listed([name(s) for s in locked])} {_is(locked)} locked and {_stays(locked)} as before."
            )
        return tuple(step for step in found if not step.locked)

    def timed(self, words: str) -> tuple[Step, ...]:
        """Steps that words mean and whose time may be changed.

        Raises:
            QuestionError: Also for the sound of a video, which stays with its picture.
        """
        found = self.unlocked(words)
        for step in found:
            self.needs_time_of(step)
        return found

    def needs_time_of(self, step: Step) -> None:
        """Make sure that a step may be moved or cut.

        Raises:
            QuestionError: If it is locked, or belongs to a video.
        """
        if step.locked:
            raise QuestionError(f"{name(step)} is locked and in the way. Unlock it first?")
        if step.source == "video":
            raise QuestionError(f"{name(step)} is the sound of the video and keeps its time. What else may change?")

    def change(self, step: Step, **values: Any) -> Step:
        """Put a changed step in a step's place.

        Raises:
            QuestionError: If there can be no such step.
        """
        try:
            new = Step.model_validate({**step.model_dump(), **values})
        except ValidationError as error:
            raise QuestionError(f"That can't be: {_reason(error)} What do you want instead?") from None
        self.steps = [new if old.id == step.id else old for old in self.steps]
        self.recent = [step.id]
        return new

    def add(self, steps: Iterable[Step]) -> list[Step]:
        """Put in new steps under new ids; returns them."""
        added = [step.model_copy(update={"id": self.fresh_id()}) for step in steps]
        self.steps += added
        self.recent = [step.id for step in added]
        return added

    def remove(self, steps: Sequence[Step]) -> None:
        """Take steps out."""
        gone = {step.id for step in steps}
        self.steps = [step for step in self.steps if step.id not in gone]
        self.recent = [one for one in self.recent if one not in gone]

    def grow_to(self, end_s: float) -> None:
        """Make the clip last until a time if it is shorter; beds that reached its end go on.

        Raises:
            QuestionError: If that is longer than a plan may be, or a video sets the length.
        """
        if end_s <= self.duration_s + 1e-6:
            return
        self.check_length(end_s)
        before, self.duration_s = self.duration_s, round(end_s, 2)
        self.notes.append(f"The clip now lasts {seconds(self.duration_s)} s, for {seconds(before)} s before.")
        recent = list(self.recent)
        for step in self.ending_at(before, beds_only=True):
            self.change(step, end_s=self.duration_s)
            self.notes.append(f"{name(step)} goes on to the new end.")
        self.recent = recent

    def ending_at(self, end_s: float, *, beds_only: bool) -> list[Step]:
        """Steps that may be lengthened and end at a time."""
        return [
            step
            for step in self.steps
            if abs(step.end_s - end_s) <= 0.05
            and not step.locked
            and step.source == "text"
            and (step.layer == "background" or not beds_only)
        ]

    def check_length(self, duration_s: float) -> None:
        """Make sure that the clip may get another length.

        Raises:
            QuestionError: If it may not.
        """
        if not MIN_STEP_S <= duration_s <= MAX_DURATION_S:
            raise QuestionError(f"A clip lasts {MIN_STEP_S:g} to {MAX_DURATION_S:g} s. How long should it be?")
        if any(step.source == "video" for step in self.steps):
            raise QuestionError("The clip is as long as its video. Shall the sounds change within that length?")

    def finish(self, request: str, planner: PlannerInfo) -> Plan | None:
        """The plan as it is now, None if nothing changed; more sounds at once and a silent end are noted.

        Raises:
            QuestionError: If it can't be a plan.
        """
        before = self.plan
        steps = tuple(sorted(self.steps, key=lambda step: step.start_s))
        if steps == before.steps and self.duration_s == before.duration_s:
            return None
        if len(steps) > MAX_STEPS:
            raise QuestionError(f"That makes {len(steps)} sounds; {MAX_STEPS} is the most. Which ones can go?")
        at_once, profile = polyphony(steps), before.profile
        if at_once > MOST_AT_ONCE:
            raise QuestionError(f"That makes {at_once} sounds at once; {MOST_AT_ONCE} is the most. Which can go?")
        if at_once > before.max_polyphony:
            self.notes.append(f"{at_once} sounds now overlap; the limit was {before.max_polyphony}.")
            profile = "free"
        if profile == "paper" and (last := max(step.end_s for step in steps)) < self.duration_s - 0.05:
            profile = "free"
            self.notes.append(
                f"Nothing sounds after {seconds(last)} s; the clip still lasts {seconds(self.duration_s)} s."
            )
        try:
            return Plan(
                duration_s=self.duration_s,
                steps=steps,
                max_polyphony=max(at_once, before.max_polyphony),
                profile=profile,
                request=clean_text(request),
                planner=planner,
                notes=tuple(dict.fromkeys(self.notes)),
            )
        except ValidationError as error:
            if copies := _copies(steps):
                raise QuestionError(f"{copies[0]} already plays there. Where should another one be?") from None
            raise QuestionError(f"That can't be: {_reason(error)} What do you want instead?") from None


def _copies(steps: Sequence[Step]) -> list[str]:
    seen: dict[tuple[str, float, float], Step] = {}
    twice = [seen.setdefault((canonical(s.prompt), s.start_s, s.end_s), s) for s in steps]
    return [name(first) for first, step in zip(twice, steps, strict=True) if first is not step]


def _reason(error: ValidationError) -> str:
    return str(error.errors()[0]["msg"]).removeprefix("Value error, ")


def _is(steps: Sequence[Step]) -> str:
    return "is" if len(steps) == 1 else "are"


def _it(steps: Sequence[Step]) -> str:
    return "it" if len(steps) == 1 else "them"


def _stays(steps: Sequence[Step]) -> str:
    return "stays" if len(steps) == 1 else "stay"
