"""A chat planner's answer to an edit becomes the next plan: what it did not mean to change stays the same object."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from audio_agent_zoo.planner.draft import MOST_AT_ONCE, Draft
from audio_agent_zoo.planner.errors import QuestionError, RefusalError
from audio_agent_zoo.planner.plan import Plan, PlannerInfo, Step, canonical, clean_text
from audio_agent_zoo.planner.referents import name, seconds, stems
from audio_agent_zoo.planner.repair import repair_plan

_SAME_WORDS = 0.6
_SAME_TIME_S, _SAME_DB = 0.011, 0.051
_MOST_SAID, _MOST_CHARACTERS = 4, 300


@dataclass(frozen=True)
class Revision:
    """What a chat planner made of a turn.

    Attributes:
        plan: The plan after it; None if nothing changed.
        said: The planner's own words.
        notes: What had to give way.
    """

    plan: Plan | None
    said: str
    notes: tuple[str, ...] = ()


@runtime_checkable
class RevisingPlanner(Protocol):
    """A planner that can also change a plan."""

    def plan(self, text: str, duration_s: float = 10.0) -> Plan:
        """Plan a request of the given length in seconds."""

    def revise(
        self,
        text: str,
        plan: Plan | None,
        *,
        duration_s: float = 10.0,
        history: Sequence[tuple[str, str]] = (),
        next_id: int = 1,
    ) -> Revision:
        """Change a plan as a request says, or plan anew."""


def revise_plan(
    reply: Mapping[str, Any],
    plan: Plan | None,
    *,
    request: str,
    planner: PlannerInfo,
    next_id: int = 1,
    duration_s: float = 10.0,
    max_polyphony: int = 2,
) -> Revision:
    """The plan that a parsed reply means.

    Steps whose caption, time, level and layer are as before are kept whole, with their seed, take, fades, pan and
    mute; locked ones are kept whatever the reply says; new ones get new ids.

    Args:
        reply: What `parse_reply` read.
        plan: The plan that counts; None to plan anew.
        request: What was said.
        planner: Who answered.
        next_id: Smallest number that no step ever had.
        duration_s: Length of a new plan in seconds where the reply names none.
        max_polyphony: Most sounds at once in a new plan.

    Raises:
        QuestionError: If the planner asks, or the plan would lose a locked step.
        RefusalError: If it declines.
        MalformedPlanError: If the reply holds no step.
    """
    said = clean_text(str(reply.get("reply") or ""))[:_MOST_CHARACTERS]
    if reply.get("mode") == "refuse":
        raise RefusalError(f"The planner declined: {said or 'no reason given'} Word the request differently.")
    if reply.get("mode") == "ask":
        raise QuestionError(said or "Please say more: which sound, and what about it?")
    if plan is None or _is_new(reply, plan):
        if plan is not None and (locked := [step for step in plan.steps if step.locked]):
            raise QuestionError(f"{name(locked[0])} is locked and would go. Unlock it first?")
        made = repair_plan(
            reply,
            duration_s=duration_s if plan is None else plan.duration_s,
            request=request,
            planner=planner,
            max_polyphony=max_polyphony,
        )
        steps = tuple(step.model_copy(update={"id": f"e{next_id + i}"}) for i, step in enumerate(made.steps))
        return Revision(made.model_copy(update={"steps": steps}), said, made.notes)
    repaired = repair_plan(
        {**reply, "events": _identified(reply, plan, next_id)},
        duration_s=plan.duration_s,
        max_polyphony=MOST_AT_ONCE,  # a repair would shorten what the request does not concern; `finish` notes it
        profile=plan.profile,
    )
    draft = Draft(plan, (), next_id)
    draft.notes += repaired.notes
    before = {step.id: step for step in plan.steps}
    merged = [_merged(before.get(step.id), step) for step in repaired.steps]
    kept = {step.id for step in merged}
    for step in plan.steps:
        if step.locked and step.id not in kept:
            merged.append(step)
            draft.notes.append(f"{name(step)} is locked and stays.")
    # New ids close up: what the repair dropped leaves no gap.
    draft.steps = [
        step if step.id in before else step.model_copy(update={"id": draft.fresh_id()})
        for step in sorted(merged, key=lambda step: (step.start_s, int(step.id[1:])))
    ]
    own_length = abs(repaired.duration_s - plan.duration_s) > _SAME_TIME_S
    fixed = any(step.source == "video" for step in plan.steps)
    length = repaired.duration_s if own_length and not fixed else plan.duration_s
    draft.duration_s = max([length, *(step.end_s for step in draft.steps)])
    made_plan = draft.finish(request, planner)
    return Revision(made_plan, said, tuple(dict.fromkeys(draft.notes)))


def _events(reply: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = next((reply[key] for key in ("events", "steps", "plan") if key in reply), None)
    return [dict(event) for event in listed if isinstance(event, Mapping)] if isinstance(listed, list | tuple) else []


def _is_new(reply: Mapping[str, Any], plan: Plan) -> bool:
    """A fresh timeline; one that goes on with ids of the old is an edit, whatever it calls itself."""
    ids = {step.id for step in plan.steps}
    return reply.get("mode") == "new" and not any(str(event.get("id")) in ids for event in _events(reply))


def _identified(reply: Mapping[str, Any], plan: Plan, next_id: int) -> list[dict[str, Any]]:
    """Events with the id of the step they go on from, else a new one; where ids are lost, captions decide."""
    events = _events(reply)
    left = {step.id: step for step in plan.steps}
    own: dict[int, Step] = {}
    for i, event in enumerate(events):
        if (step := left.pop(str(event.get("id")), None)) is not None:
            own[i] = step
    for least in (1.0, _SAME_WORDS):
        for i, event in enumerate(events):
            if i not in own and left:
                close = max(left.values(), key=lambda step: _likeness(str(event.get("prompt")), step.prompt))
                if _likeness(str(event.get("prompt")), close.prompt) >= least:
                    own[i] = left.pop(close.id)
    fresh = max([next_id, *(int(step.id[1:]) + 1 for step in plan.steps)])
    for i, event in enumerate(events):
        old = own.get(i)
        event["id"] = f"e{fresh + i}" if old is None else old.id
        if old is not None:
            was = {"prompt": old.prompt, "start": old.start_s, "end": old.end_s, "level": old.level_lufs}
            for key, value in {**was, "layer": old.layer, "kind": old.kind}.items():
                if event.get(key) in (None, ""):
                    event[key] = value
    return events


def _plain(prompt: str) -> str:
    """A caption as it comes back from the planner, to which it went without pointed brackets."""
    return canonical(prompt.replace("<", "‹").replace(">", "›"))


def _likeness(a: str, b: str) -> float:
    if _plain(a) == _plain(b):
        return 1.0
    left, right = stems(a), stems(b)
    return 0.99 * len(left & right) / len(left | right) if left | right else 0.0


def _merged(old: Step | None, new: Step) -> Step:
    """A step with what the reply changed of it, and all else as before."""
    if old is None:
        return new
    if old.locked:
        return old
    values: dict[str, Any] = {}
    if _plain(old.prompt) != _plain(new.prompt):
        values |= {"prompt": new.prompt, "kind": new.kind, "take": 0}
    moved = max(abs(old.start_s - new.start_s), abs(old.end_s - new.end_s)) > _SAME_TIME_S
    if moved and old.source == "text":
        values |= {"start_s": new.start_s, "end_s": new.end_s}
    if abs(old.level_lufs - new.level_lufs) > _SAME_DB:
        values["level_lufs"] = new.level_lufs
    if old.layer != new.layer:
        values["layer"] = new.layer
    return old.model_copy(update=values) if values else old


def told(before: Plan, after: Plan) -> str:
    """What changed from one plan to the next, in sentences."""
    old = {step.id: step for step in before.steps}
    said = []
    for step in after.steps:
        was = old.pop(step.id, None)
        if was is None:
            said.append(f"{name(step)} is new, from {seconds(step.start_s)} to {seconds(step.end_s)} s.")
        elif was != step:
            said.append(_changed(was, step))
    said += [f"{name(step)} is gone." for step in old.values()]
    if before.duration_s != after.duration_s:
        said.insert(0, f"The clip lasts {seconds(after.duration_s)} s.")
    if len(said) > _MOST_SAID:
        said = [*said[: _MOST_SAID - 1], f"{len(said) - _MOST_SAID + 1} more changes are in the plan."]
    return " ".join(said)


def _changed(was: Step, step: Step) -> str:
    parts = []
    if was.prompt != step.prompt:
        parts.append(f"takes the place of '{was.prompt.rstrip('.')}'")
    if (was.start_s, was.end_s) != (step.start_s, step.end_s):
        parts.append(f"plays from {seconds(step.start_s)} to {seconds(step.end_s)} s")
    if louder := round(step.level_lufs - was.level_lufs, 2):
        parts.append(f"is {seconds(abs(louder))} dB {'louder' if louder > 0 else 'quieter'}")
    if was.layer != step.layer:
        parts.append(f"is in the {step.layer}")
    return f"{name(step)} {' and '.join(parts) or 'changed'}."
