"""Results of earlier turns in the present timeline: on top of each other, one after another, or one sound of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from audio_agent_zoo.planner import Planner
from audio_agent_zoo.planner.draft import Draft
from audio_agent_zoo.planner.errors import QuestionError
from audio_agent_zoo.planner.plan import BACKGROUND_LUFS, MIN_STEP_S, Plan, Step
from audio_agent_zoo.planner.referents import ORDINALS, find_steps, listed, name, seconds

_NOUN = r"(?:results?|versions?|turns?|generations?|audios?|clips?|recordings?|mix(?:es)?|requests?|plans?|timelines?|ones?)"
_PLACE = r"(?:first|second|third|fourth|fifth|sixth|last|previous|earlier|initial|original|\d+(?:st|nd|rd|th))"
_ONE = re.compile(rf"(?:the\s+|my\s+)?\b({_PLACE})\b(?:\s+{_NOUN})?|\b(?:result|version|turn)\s+(\d{{1,3}})", re.I)
_HERE = re.compile(r"\b(?:this|it|that|the\s+(?:current|present|new)\s+\w+|what we have(?:\s+now)?|here)\b", re.I)
_PART = re.compile(
    rf"^(?:play|put|add|use|take|bring back|bring|insert|copy|include|restore|mix|layer)\s+(?:back\s+)?(.+?)\s+(?:of|from|in)\s+(?:the\s+)?"
    rf"({_PLACE})(?:\s+{_NOUN})?(?:\s+(?:back|again))?(?:\s+(.*))?$",
    re.I,
)  # fmt: skip
_BACK = re.compile(
    rf"^(?:go back to|return to|revert to|use|take|restore|play|give me|bring back)\s+(?:the\s+)?{_PLACE}\s+{_NOUN}(?:\s+again)?$",
    re.I,
)
_SCENARIO = re.compile(
    r"\s*,?\s*\b(?:to\s+(?:make|form|create|get|produce|build)|into|as|for)\s+(?:an?\s+|the\s+)?(?:\w+\s+)?(?:scenario|scene|soundscape|setting)\b.*$",
    re.I,
)
_COMBINE = re.compile(
    r"^(?:combine|mix|merge|layer|overlay|blend|put|play|add|join|concatenate|chain|append|compose)\s+(.+)$", re.I
)
_IN_TURN = re.compile(
    r"\b(?:after|then|followed by|followed|in sequence|one after (?:another|the other)|append|concatenate|chain|to the end)\b",
    re.I,
)
_TOGETHER = re.compile(
    r"\s*(?:,\s*(?:and\s+)?|\band\b|\bwith\b|\bunder(?:neath)?\b|\bon top of\b|\bover\b|\bonto\b|\bto\b|\bthen\b|\bfollowed by\b|\bafter\b|\bbefore\b|\bplus\b)\s*",
    re.I,
)
_FILLER = re.compile(
    r"\s*\b(?:together|in sequence|one after (?:another|the other)|on top of each other|at the same time|into one|results?|versions?)\b\s*$",
    re.I,
)


@dataclass(frozen=True)
class _Part:
    """What goes into a composition: steps of the present or an earlier plan, or a caption still to be planned."""

    words: str
    plan: Plan | None = None
    here: bool = False


def compose(draft: Draft, words: str, planner: Planner, earlier: Sequence[Plan]) -> None:
    """Carry out an edit that names results of earlier turns.

    Args:
        draft: Where to.
        words: The request, as "combine the first and the third result".
        planner: Plans what the words add.
        earlier: Plans of the earlier turns, oldest first.

    Raises:
        QuestionError: If it is not clear which results, or what to do with them.
    """
    words = _SCENARIO.sub("", words.strip(" ,."))
    if _BACK.match(words):
        _take_up(draft, [_Part(words, _plan_of(words, earlier))], False, planner)
        return
    part = _PART.match(words)
    if (
        part
        and not _ONE.fullmatch(part.group(1))
        and not re.fullmatch(r"(?:everything|all|it all|all of it)", part.group(1), re.I)
    ):
        _borrow(draft, part.group(1), _plan_of(part.group(2), earlier), part.group(3) or "")
        return
    combined = _COMBINE.match(words)
    if combined is None:
        raise QuestionError(
            "What shall I do with the earlier result: play it together with this, play it after this, or go back to it?"
        )
    in_turn = bool(_IN_TURN.search(words))
    body = _FILLER.sub("", _FILLER.sub("", combined.group(1)))
    parts = [_part(piece, earlier) for piece in _TOGETHER.split(body) if piece.strip(" ,.")]
    if len(parts) == 1:
        parts.insert(0, _Part("this", here=True))
    elif re.search(r"\bafter\b", body, re.I) and len(parts) == 2:
        parts.reverse()
    if (
        in_turn
        and re.match(r"(?:append|add|put|play)\b", words, re.I)
        and not re.search(r"\bafter\b|\bthen\b|followed", words, re.I)
    ):
        parts.sort(key=lambda one: not one.here)
    _take_up(draft, parts, in_turn, planner)


def _number(word: str, count: int) -> int | None:
    word = word.lower()
    if word in ORDINALS:
        return ORDINALS[word]
    if word in ("initial", "original"):
        return 0
    if word in ("previous", "earlier"):
        return -2 if count > 1 else -1
    digits = re.sub(r"\D", "", word)
    return int(digits) - 1 if digits else None


def _plan_of(words: str, earlier: Sequence[Plan]) -> Plan:
    found = _ONE.search(words)
    place = _number(found.group(1) or found.group(2), len(earlier)) if found else None
    if place is None or not -len(earlier) <= place < len(earlier):
        many = "only one result" if len(earlier) == 1 else f"{len(earlier)} results"
        raise QuestionError(
            f"There is {many} so far. Which one do you mean?"
            if len(earlier) == 1
            else f"There are {many} so far. Which one do you mean?"
        )
    return earlier[place]


def _part(words: str, earlier: Sequence[Plan]) -> _Part:
    words = words.strip(" ,.")
    if _ONE.fullmatch(words):
        return _Part(words, _plan_of(words, earlier))
    if _HERE.fullmatch(words):
        return _Part(words, here=True)
    return _Part(words)


def _take_up(draft: Draft, parts: Sequence[_Part], in_turn: bool, planner: Planner) -> None:
    """Make the timeline of parts alone, together or in turn."""
    present = list(draft.steps)
    present_length = draft.duration_s
    length = (
        0.0
        if in_turn
        else max([p.plan.duration_s for p in parts if p.plan] + [present_length for p in parts if p.here])
    )
    taken: list[Step] = []
    at = 0.0
    for part in parts:
        if part.plan is not None:
            steps, lasts = list(part.plan.steps), part.plan.duration_s
        elif part.here:
            steps, lasts = present, present_length
        else:
            planned = planner.plan(part.words, duration_s=length or present_length)
            lasts = planned.duration_s
            steps = [step.model_copy(update={"id": draft.fresh_id()}) for step in planned.steps]
        _join(taken, steps, at, draft)
        at += lasts if in_turn else 0.0
        length = max(length, at if in_turn else lasts)
    kept = {step.id for step in taken}
    if locked := [step for step in present if step.locked and (step.id not in kept or step not in taken)]:
        raise QuestionError(f"{name(locked[0])} is locked and would go. Unlock it first?")
    if length != draft.duration_s:
        draft.check_length(length)
    draft.steps, draft.duration_s = taken, round(length, 2)
    draft.recent = [step.id for step in taken if step not in present]
    how = "one after another" if in_turn else "together" if len(parts) > 1 else "again"
    draft.said.append(
        f"{listed([_called(part) for part in parts]).capitalize()} {'sound' if len(parts) > 1 else 'sounds'} {how}, {seconds(length)} s."
    )


def _called(part: _Part) -> str:
    return (
        "what is here"
        if part.here
        else re.sub(r"^(?:go back to|return to|revert to|use|take|restore|play|give me|bring back)\s+", "", part.words)
    )


def _join(taken: list[Step], steps: Sequence[Step], shift: float, draft: Draft) -> None:
    """Put steps beside those taken so far; equal ones once, others of the same id under a new one."""
    for step in steps:
        moved = (
            step
            if not shift
            else step.model_copy(
                update={"start_s": round(step.start_s + shift, 2), "end_s": round(step.end_s + shift, 2)}
            )
        )
        if any((o.render_key, o.start_s, o.end_s) == (moved.render_key, moved.start_s, moved.end_s) for o in taken):
            continue
        if any(other.id == moved.id for other in taken):
            moved = moved.model_copy(update={"id": draft.fresh_id(), "locked": False})
        taken.append(moved)


def _borrow(draft: Draft, words: str, plan: Plan, where: str) -> None:
    """Add some sounds of an earlier result."""
    under = re.search(r"\b(?:under|beneath|behind|background|throughout)\b", where, re.I)
    at = re.search(r"\bat\s+(?:second\s+)?(\d{1,4}(?:\.\d+)?)", where, re.I)
    new = []
    for step in find_steps(words, plan.steps):
        values: dict[str, object] = {"locked": False, "muted": False}
        start, end = step.start_s, step.end_s
        if under:
            start, end = 0.0, draft.duration_s
            values |= {"layer": "background", "level_lufs": min(step.level_lufs, BACKGROUND_LUFS)}
            values |= {"fade_in_s": 0.25, "fade_out_s": 0.25}
        elif at:
            start, end = float(at.group(1)), float(at.group(1)) + step.duration_s
        if start + MIN_STEP_S > draft.duration_s:
            draft.grow_to(end)
        values |= {"start_s": round(start, 2), "end_s": min(round(end, 2), draft.duration_s)}
        new.append(step.model_copy(update=values))
    for step in draft.add(new):
        draft.said.append(f"{name(step)} is back, from {seconds(step.start_s)} to {seconds(step.end_s)} s.")
