"""Turn whatever a planner answered into a valid plan, and say what was changed."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from audio_agent_zoo.planner.errors import MalformedPlanError
from audio_agent_zoo.planner.plan import (
    BACKGROUND_LUFS,
    FOREGROUND_LUFS,
    MAX_PROMPT_CHARACTERS,
    MAX_STEPS,
    MIN_STEP_S,
    Plan,
    PlannerInfo,
    Step,
    canonical,
    clean_text,
)

_GRID_S = 0.01
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?")


@dataclass(frozen=True)
class _Draft:
    """A step before it is valid."""

    prompt: str
    start: float
    end: float
    level: float
    background: bool
    kind: str
    seed: int | None
    take: int
    negative: str
    pan: float
    id: str


def number(value: Any) -> float | None:
    """A finite number from a number or from text like "7.5 s"; None if there is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        found = _NUMBER.search(value)
        value = found.group().replace(",", ".") if found else None
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def _grid(value: float) -> float:
    return round(round(value / _GRID_S) * _GRID_S, 2)


def _first(event: Mapping[str, Any], *keys: str) -> Any:
    return next((event[key] for key in keys if key in event), None)


def _whole(value: Any, top: int) -> int | None:
    found = number(value)
    return int(found) if found is not None and 0 <= found < top else None


def _draft(event: Mapping[str, Any], duration: float, notes: list[str]) -> _Draft | None:
    prompt = clean_text(str(_first(event, "prompt", "caption", "description", "text") or ""))
    if not prompt:
        notes.append("a step without a prompt was dropped.")
        return None
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        prompt = prompt[:MAX_PROMPT_CHARACTERS].rsplit(" ", 1)[0]
        notes.append(f"a prompt was shortened to {MAX_PROMPT_CHARACTERS} characters: {prompt[:40]}…")
    start = number(_first(event, "start_s", "start", "start_time"))
    end = number(_first(event, "end_s", "end", "end_time"))
    if start is None or end is None:
        notes.append(f"{prompt!r} had no usable times; it got {'a start' if start is None else 'an end'} by default.")
    start = 0.0 if start is None else start
    end = duration if end is None else end
    if end < start:
        notes.append(f"start and end of {prompt!r} were the wrong way round.")
        start, end = end, start
    background = str(event.get("layer", "")).lower().startswith("back")
    level = number(_first(event, "level_lufs", "level", "volume"))
    standard = BACKGROUND_LUFS if background else FOREGROUND_LUFS
    if level is not None and not -60 <= level <= 0:
        notes.append(f"the level {level:g} of {prompt!r} was brought into -60 to 0 LUFS.")
        level = min(0.0, max(-60.0, level))
    kind = str(event.get("kind", "sfx")).lower()
    pan = number(event.get("pan")) or 0.0
    return _Draft(
        prompt=prompt,
        start=start,
        end=end,
        level=standard if level is None else level,
        background=background,
        kind=kind if kind in ("sfx", "music", "speech") else "sfx",
        seed=_whole(event.get("seed"), 2**63),
        take=_whole(event.get("take"), 2**31) or 0,
        negative=clean_text(str(event.get("negative_prompt") or ""))[:MAX_PROMPT_CHARACTERS],
        pan=min(1.0, max(-1.0, pan)),
        id=str(event.get("id") or ""),
    )


def _clamped(draft: _Draft, duration: float, notes: list[str]) -> _Draft:
    start, end = draft.start, draft.end
    if start >= duration or end <= 0:
        length = min(max(end - start, MIN_STEP_S), duration)
        start, end = (duration - length, duration) if start >= duration else (0.0, length)
        notes.append(f"{draft.prompt!r} lay outside the clip and was moved in.")
    start, end = _grid(max(0.0, start)), _grid(min(duration, end))
    if end - start < MIN_STEP_S:
        end = min(duration, start + MIN_STEP_S)
        start = max(0.0, end - MIN_STEP_S)
        notes.append(f"{draft.prompt!r} was lengthened to {MIN_STEP_S} s.")
    return replace(draft, start=_grid(start), end=_grid(end))


def _without_copies(drafts: list[_Draft], notes: list[str]) -> list[_Draft]:
    kept: dict[tuple[str, float, float], _Draft] = {}
    for draft in drafts:
        key = (canonical(draft.prompt), draft.start, draft.end)
        if key in kept:
            notes.append(f"{draft.prompt!r} was planned twice at the same time; once is kept.")
        else:
            kept[key] = draft
    return list(kept.values())


def _sounding(drafts: Sequence[_Draft], at: float) -> list[int]:
    return [i for i, d in enumerate(drafts) if d.start <= at + 1e-9 < d.end - 1e-9]


def _thinned(drafts: list[_Draft], max_polyphony: int, notes: list[str]) -> list[_Draft]:
    """At most `max_polyphony` at once: the foreground that began earlier ends when the later begins."""
    drafts = sorted(drafts, key=lambda d: (d.start, d.end))
    changed = True
    while changed:
        changed = False
        for at in sorted({d.start for d in drafts}):
            together = _sounding(drafts, at)
            if len(together) <= max_polyphony:
                continue
            # Beds keep their span while anything else can give way.
            order = sorted(together, key=lambda i: (drafts[i].background, drafts[i].start, drafts[i].end))
            first = order[0]
            d = drafts[first]
            if at - d.start >= MIN_STEP_S:
                drafts[first] = replace(d, end=_grid(at))
                notes.append(f"{d.prompt!r} ends at {at:g} s: no more than {max_polyphony} sounds at once.")
            else:
                drafts, said = _in_turns(drafts, together, at, max_polyphony)
                notes.append(said)
            drafts = sorted(drafts, key=lambda d: (d.start, d.end))
            changed = True
            break
    return drafts


def _in_turns(drafts: list[_Draft], together: list[int], at: float, max_polyphony: int) -> tuple[list[_Draft], str]:
    """Sounds that begin together share their span one after the other; what finds no room is dropped."""
    movable = [i for i in together if not drafts[i].background] or together
    beds = [i for i in together if i not in movable]
    lanes = max(1, max_polyphony - len(beds))
    span = max(drafts[i].end for i in movable) - at
    share = span / -(-len(movable) // lanes)
    if share < MIN_STEP_S or len(movable) <= lanes:
        last = together[-1]
        return [
            d for i, d in enumerate(drafts) if i != last
        ], f"{drafts[last].prompt!r} was dropped: no room at {at:g} s."
    out = list(drafts)
    for k, i in enumerate(movable):
        turn = k // lanes
        start, end = _grid(at + turn * share), _grid(at + (turn + 1) * share)
        out[i] = replace(drafts[i], start=start, end=end)
    return out, f"{len(movable)} sounds that began together at {at:g} s take turns."


def _reaching_the_end(drafts: list[_Draft], duration: float, max_polyphony: int, notes: list[str]) -> list[_Draft]:
    if max(d.end for d in drafts) >= duration - 0.05:
        return drafts
    latest = max(d.end for d in drafts)
    beds = [i for i, d in enumerate(drafts) if d.background]
    i = beds[-1] if beds else max(range(len(drafts)), key=lambda i: drafts[i].end)
    notes.append(f"{drafts[i].prompt!r} was extended from {latest:g} s to the end of the clip.")
    extended = list(drafts)
    extended[i] = replace(drafts[i], end=duration)
    return extended


def _ids(drafts: Sequence[_Draft]) -> list[str]:
    """Given ids where they are valid and unique, fresh ones elsewhere."""
    used: set[str] = set()
    ids: list[str] = []
    fresh = 1
    given = {d.id for d in drafts}
    for draft in drafts:
        name = draft.id
        if not re.fullmatch(r"e[1-9]\d{0,5}", name) or name in used:
            while f"e{fresh}" in used or f"e{fresh}" in given:
                fresh += 1
            name = f"e{fresh}"
        used.add(name)
        ids.append(name)
    return ids


def repair_plan(
    reply: Any,
    *,
    duration_s: float = 10.0,
    request: str = "",
    planner: PlannerInfo | None = None,
    max_polyphony: int = 2,
    profile: Literal["paper", "free"] = "paper",
    notes: Sequence[str] = (),
) -> Plan:
    """Make a valid plan of a parsed reply.

    Args:
        reply: A mapping with `events` (or `steps`), each with a prompt and times; `duration` may override.
        duration_s: Length of the plan where the reply names none that can be used.
        request: What was asked for.
        planner: Who answered.
        max_polyphony: Most sounds at once.
        profile: With "paper" a step is made to end with the plan.
        notes: Notes to begin with.

    Raises:
        MalformedPlanError: If it holds no step at all.
    """
    said = list(notes)
    if not isinstance(reply, Mapping):
        raise MalformedPlanError(f"the planner's answer is a {type(reply).__name__}, not an object with events.")
    asked = number(_first(reply, "duration_s", "duration"))
    if asked is not None and not MIN_STEP_S <= asked <= 600:
        said.append(f"a plan of {asked:g} s is not possible (0.25 to 600 s); it has {duration_s:g} s.")
        asked = None
    duration = _grid(duration_s if asked is None else asked)
    events = _first(reply, "events", "steps", "plan")
    listed = [e for e in events if isinstance(e, Mapping)] if isinstance(events, list | tuple) else []
    drafts = [d for d in (_draft(e, duration, said) for e in listed) if d is not None]
    if not drafts:
        raise MalformedPlanError("the planner's answer holds no step with a prompt.")
    if len(drafts) > MAX_STEPS:
        said.append(f"{len(drafts)} steps were planned; the first {MAX_STEPS} are kept.")
        drafts = drafts[:MAX_STEPS]
    for _ in range(4 * MAX_STEPS):  # each repair may undo another; in practice two rounds settle it
        before = drafts
        drafts = [_clamped(d, duration, said) for d in drafts]
        drafts = _without_copies(drafts, said)
        drafts = _thinned(drafts, max_polyphony, said)
        if profile == "paper":
            drafts = _reaching_the_end(drafts, duration, max_polyphony, said)
        if drafts == before:
            break
    steps = [
        Step(
            id=name,
            prompt=d.prompt,
            start_s=d.start,
            end_s=d.end,
            level_lufs=d.level,
            layer="background" if d.background else "foreground",
            kind=d.kind,  # type: ignore[arg-type]
            seed=d.seed,
            take=d.take,
            negative_prompt=d.negative,
            pan=d.pan,
            fade_in_s=0.25 if d.background and d.end - d.start > 1 else 0.01,
            fade_out_s=0.25 if d.background and d.end - d.start > 1 else 0.05,
        )
        for name, d in zip(_ids(drafts), drafts, strict=True)
    ]
    return Plan(
        duration_s=duration,
        steps=tuple(sorted(steps, key=lambda s: s.start_s)),
        max_polyphony=max_polyphony,
        profile=profile,
        request=clean_text(request),
        planner=planner or PlannerInfo(),
        notes=tuple(dict.fromkeys(said)),
    )
