"""Edits of the sounds that are there: level, side, fades, time, length, mute, lock, takes; one function per kind."""

from collections.abc import Callable, Sequence
from typing import Any

from audio_agent_zoo.planner.draft import Draft
from audio_agent_zoo.planner.edit_patterns import Edit, Kind
from audio_agent_zoo.planner.errors import QuestionError
from audio_agent_zoo.planner.plan import (
    BACKGROUND_LUFS,
    FOREGROUND_LUFS,
    MAX_PROMPT_CHARACTERS,
    MIN_STEP_S,
    Step,
    canonical,
)
from audio_agent_zoo.planner.referents import find_step, listed, name, seconds, stems

_SOON_S = 1.0


def apply(draft: Draft, edit: Edit) -> None:
    """Carry out an edit of what is there.

    Args:
        draft: Where to; unchanged steps stay the same objects.
        edit: An edit of a kind that `APPLIED` knows.

    Raises:
        QuestionError: If it is not clear what is meant, or it can't be done.
    """
    APPLIED[edit.kind](draft, edit)


def _each(draft: Draft, steps: Sequence[Step], what: str, values: Callable[[Step], dict[str, Any]]) -> None:
    """Change fields of steps and say it in one sentence; `what` follows the names."""
    for step in steps:
        draft.change(step, **values(step))
    draft.recent = [step.id for step in steps]
    draft.said.append(f"{listed([name(step) for step in steps])} {_plural(what, steps)}.")


def _plural(what: str, steps: Sequence[Step]) -> str:
    """The predicate for several subjects."""
    if len(steps) == 1:
        return what
    first, _, rest = what.partition(" ")
    return f"{ {'is': 'are', 'has': 'have', 'stays': 'stay'}.get(first, first.removesuffix('s')) } {rest}"


def _level_by(draft: Draft, edit: Edit) -> None:
    amount = _needed(edit)
    steps = draft.unlocked(edit.target)
    levels = {step.id: min(0.0, max(-60.0, round(step.level_lufs + amount, 2))) for step in steps}
    if stuck := [step for step in steps if levels[step.id] != round(step.level_lufs + amount, 2)]:
        draft.notes.append(f"{listed([name(s) for s in stuck])} reached the limit of -60 to 0 LUFS.")
    what = f"is {seconds(abs(amount))} dB {'louder' if amount > 0 else 'quieter'}"
    _each(draft, steps, what, lambda step: {"level_lufs": levels[step.id]})


def _level_to(draft: Draft, edit: Edit) -> None:
    level = min(0.0, max(-60.0, _needed(edit)))
    _each(draft, draft.unlocked(edit.target), f"is at {level:g} LUFS", lambda _: {"level_lufs": level})


def _pan(draft: Draft, edit: Edit) -> None:
    pan = min(1.0, max(-1.0, _needed(edit)))
    side = "in the centre" if not pan else f"{'left' if pan < 0 else 'right'}"
    how = "" if not pan else "fully on the " if abs(pan) == 1 else f"{round(100 * abs(pan))}% to the "
    _each(draft, draft.unlocked(edit.target), f"is {how}{side}", lambda _: {"pan": pan})


def _layer(draft: Draft, edit: Edit) -> None:
    behind = edit.other == "background"
    old, new = (FOREGROUND_LUFS, BACKGROUND_LUFS) if behind else (BACKGROUND_LUFS, FOREGROUND_LUFS)

    def moved(step: Step) -> dict[str, Any]:
        shift = 0.0 if step.layer == edit.other else new - old
        return {"layer": edit.other, "level_lufs": min(0.0, max(-60.0, step.level_lufs + shift))}

    _each(draft, draft.unlocked(edit.target), f"is in the {edit.other}", moved)


def _fade(draft: Draft, edit: Edit) -> None:
    field, way = ("fade_in_s", "in") if edit.kind == "fade_in" else ("fade_out_s", "out")
    steps = draft.unlocked(edit.target)
    if edit.target == "everything":  # a fade of everything is one of the clip
        border = draft.duration_s if edit.kind == "fade_out" else 0.0
        steps = tuple(s for s in steps if abs((s.end_s if border else s.start_s) - border) <= 0.05) or steps
    length = min(10.0, max(0.0, _needed(edit)), *(step.duration_s for step in steps))
    length = round(length, 2)
    _each(draft, steps, f"fades {way} over {seconds(length)} s", lambda _: {field: length})


def _mute(draft: Draft, edit: Edit) -> None:
    muted = edit.kind == "mute"
    steps = draft.unlocked(edit.target)
    _each(draft, steps, "is muted" if muted else "is heard again", lambda _: {"muted": muted})


def _solo(draft: Draft, edit: Edit) -> None:
    chosen = {step.id for step in draft.find(edit.target)}
    for step in list(draft.steps):
        if step.muted == (step.id not in chosen):
            continue
        if step.locked:
            draft.notes.append(f"{name(step)} is locked and stays as before.")
        else:
            draft.change(step, muted=step.id not in chosen)
    heard = [step for step in draft.steps if step.id in chosen]
    draft.recent = [step.id for step in heard]
    draft.said.append(f"Only {listed([name(step) for step in heard])} {'is' if len(heard) == 1 else 'are'} heard.")


def _lock(draft: Draft, edit: Edit) -> None:
    locked = edit.kind == "lock"
    _each(draft, draft.find(edit.target), "is locked" if locked else "is unlocked", lambda _: {"locked": locked})


def _take(draft: Draft, edit: Edit) -> None:
    steps = draft.unlocked(edit.target)
    if edit.amount is None:
        _each(draft, steps, "gets another take", lambda step: {"take": draft.next_take(step)})
    else:
        number = int(min(edit.amount, 2**31 - 1))
        _each(draft, steps, f"is take {number}", lambda _: {"take": number})


def _seed(draft: Draft, edit: Edit) -> None:
    number = int(min(_needed(edit), 2**53))
    _each(draft, draft.unlocked(edit.target), f"has seed {number}", lambda _: {"seed": number})


def _without(draft: Draft, edit: Edit) -> None:
    if edit.target == "everything":
        unwanted = canonical(edit.content)
        same = [
            s for s in draft.steps if s.kind == unwanted or (stems(unwanted) and stems(unwanted) <= stems(s.prompt))
        ]
        if same:
            which = listed([name(step) for step in same])
            raise QuestionError(f"Shall I remove {which}, or keep '{edit.content}' out of the other sounds?")

    def more(step: Step) -> dict[str, Any]:
        parts = [part for part in step.negative_prompt.split(", ") if part]
        if canonical(edit.content) not in map(canonical, parts):
            parts.append(edit.content)
        return {"negative_prompt": ", ".join(parts)[:MAX_PROMPT_CHARACTERS]}

    _each(draft, draft.unlocked(edit.target), f"is made without {edit.content}", more)


def _move(draft: Draft, edit: Edit) -> None:
    for step in draft.timed(edit.target):
        room = max(0.0, draft.duration_s - step.duration_s)
        if edit.kind == "move_by":
            start = step.start_s + _needed(edit)
            if not 0 <= start <= room + 1e-6:
                draft.notes.append(f"{name(step)} can't go further than the clip.")
            start = min(room, max(0.0, start))
        else:
            start = room if edit.other == "end" else _needed(edit) if edit.amount is not None else 0.0
        if round(start, 2) != round(step.start_s, 2):
            _put_at(draft, step, start)


def _copy(draft: Draft, edit: Edit) -> None:
    copies = []
    for step in draft.find(edit.target):
        start = round(step.end_s if edit.amount is None else max(0.0, edit.amount), 2)
        if start + MIN_STEP_S > draft.duration_s:
            draft.grow_to(start + step.duration_s)
        end = min(draft.duration_s, round(start + step.duration_s, 2))
        copies.append(step.model_copy(update={"start_s": start, "end_s": end, "locked": False}))
    for step in draft.add(copies):
        draft.said.append(f"{name(step)} also plays from {seconds(step.start_s)} to {seconds(step.end_s)} s.")


def _put_at(draft: Draft, step: Step, start: float) -> None:
    """Start a step at a time; at the end of the clip it is shortened, beyond the end the clip grows."""
    start, end = round(max(0.0, start), 2), round(max(0.0, start) + step.duration_s, 2)
    if end > draft.duration_s and start + _SOON_S <= draft.duration_s:
        end = draft.duration_s
        draft.notes.append(f"{name(step)} is shortened to end with the clip.")
    draft.grow_to(end)
    _retimed(draft, step, start, min(end, draft.duration_s))


def _retimed(draft: Draft, step: Step, start: float, end: float) -> None:
    new = draft.change(step, start_s=start, end_s=end)
    draft.said.append(f"{name(new)} plays from {seconds(new.start_s)} to {seconds(new.end_s)} s.")


def _move_beside(draft: Draft, edit: Edit) -> None:
    steps = draft.timed(edit.target)
    other = find_step(edit.other, draft.steps, draft.recent)
    if len(steps) > 1 or steps[0].id == other.id:
        raise QuestionError(f"Which one shall stand {edit.content} {name(other)}?")
    step = steps[0]
    if edit.content == "after":
        _put_at(draft, step, other.end_s)
        return
    start = max(0.0, other.start_s - step.duration_s)
    if other.start_s - start < MIN_STEP_S:
        raise QuestionError(
            f"There is no room before {name(other)}, it begins at {seconds(other.start_s)} s. Move that one?"
        )
    if other.start_s - start < step.duration_s - 1e-6:
        draft.notes.append(f"{name(step)} is shortened to fit before {name(other)}.")
    _retimed(draft, step, round(start, 2), other.start_s)


def _span(draft: Draft, edit: Edit) -> None:
    start, end = sorted((max(0.0, _needed(edit)), edit.until or 0.0))
    for step in draft.timed(edit.target):
        draft.grow_to(end)
        _retimed(draft, step, start, min(end, draft.duration_s))


def _end(draft: Draft, edit: Edit) -> None:
    for step in draft.timed(edit.target):
        end = draft.duration_s if edit.amount is None else edit.amount
        draft.grow_to(end)
        _retimed(draft, step, step.start_s, min(end, draft.duration_s))


def _stretch(draft: Draft, edit: Edit) -> None:
    for step in draft.timed(edit.target):
        if edit.kind == "last":
            length = _needed(edit)
        elif edit.amount is not None:
            length = step.duration_s + edit.amount
        else:
            length = step.duration_s * (1.5 if edit.other in ("longer", "extend") else 2 / 3)
        if length < MIN_STEP_S:
            raise QuestionError(
                f"{name(step)} would last {seconds(length)} s; {MIN_STEP_S:g} s is the least. How long?"
            )
        end = round(step.start_s + length, 2)
        draft.grow_to(end)
        _retimed(draft, step, step.start_s, min(end, draft.duration_s))


def _total(draft: Draft, edit: Edit) -> None:
    if edit.amount is None:
        raise QuestionError("How long should the clip be, in seconds?")
    length = round(edit.amount + (draft.duration_s if edit.kind == "total_by" else 0.0), 2)
    draft.said.append(f"The clip lasts {seconds(length)} s.")
    if length == draft.duration_s:
        return
    draft.check_length(length)
    before, draft.duration_s = draft.duration_s, length
    if length > before:
        _extended(draft, before)
    else:
        _cut(draft, before)


def _extended(draft: Draft, before: float) -> None:
    """Beds go on to the new end; without one, what ended the clip does."""
    recent = draft.recent
    for step in draft.ending_at(before, beds_only=True) or draft.ending_at(before, beds_only=False)[-1:]:
        draft.change(step, end_s=draft.duration_s)
        draft.notes.append(f"{name(step)} goes on to {seconds(draft.duration_s)} s.")
    draft.recent = recent


def _cut(draft: Draft, before: float) -> None:
    """Steps end with the clip; if one would be lost, all move closer together instead."""
    length, recent = draft.duration_s, draft.recent
    if locked := [step for step in draft.steps if step.locked and step.end_s > length + 1e-6]:
        raise QuestionError(f"{name(locked[0])} is locked and lasts to {seconds(locked[0].end_s)} s. Unlock it first?")
    if all(step.start_s + MIN_STEP_S <= length for step in draft.steps):
        for step in draft.steps:
            if step.end_s > length:
                draft.change(step, end_s=length)
                draft.notes.append(f"{name(step)} ends at {seconds(length)} s.")
    else:
        factor = length / before
        for step in draft.steps:
            if not step.locked:
                end = min(length, max(round(step.end_s * factor, 2), MIN_STEP_S))
                draft.change(step, start_s=max(0.0, min(round(step.start_s * factor, 2), end - MIN_STEP_S)), end_s=end)
        draft.notes.append("All sounds moved closer together, so that none is lost.")
    draft.recent = recent


def _needed(edit: Edit) -> float:
    if edit.amount is None:
        raise QuestionError("By how much?")
    return edit.amount


APPLIED: dict[Kind, Callable[[Draft, Edit], None]] = {
    "level_by": _level_by,
    "level_to": _level_to,
    "pan": _pan,
    "layer": _layer,
    "fade_in": _fade,
    "fade_out": _fade,
    "mute": _mute,
    "unmute": _mute,
    "solo": _solo,
    "lock": _lock,
    "unlock": _lock,
    "take": _take,
    "seed": _seed,
    "without": _without,
    "copy": _copy,
    "move_to": _move,
    "move_by": _move,
    "move_beside": _move_beside,
    "span": _span,
    "end": _end,
    "stretch": _stretch,
    "last": _stretch,
    "total": _total,
    "total_by": _total,
}
"""Edits that need no new caption."""
