"""New sounds in a timeline: where the words put them, and what gives way."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from audio_agent_zoo.planner import Planner
from audio_agent_zoo.planner.draft import Draft
from audio_agent_zoo.planner.errors import QuestionError
from audio_agent_zoo.planner.plan import BACKGROUND_LUFS, MIN_STEP_S, Step
from audio_agent_zoo.planner.referents import choices, listed, name, seconds
from audio_agent_zoo.planner.rule_planner import is_bed, is_short

MIN_ROOM_S = 1.0
_LONGEST_S, _USUAL_S, _SHORT_S = 4.0, 3.0, 1.5

_N = r"(\d{1,4}(?:\.\d+)?)"
_S = r"\s*-?\s*(?:seconds?|secs?|s)\b"
_LENGTH = re.compile(
    rf"\s*,?\s*\b(?:(?:for|lasting|that lasts)\s+{_N}{_S}(?:\s+long)?|(?<!\bat )(?<!\bfrom ){_N}{_S}(?:[\s-]long)?(?=\s+\w)|{_N}{_S}\s+long)",
    re.I,
)
_SPAN = re.compile(
    rf"\s*,?\s*\b(?:from|between)\s+(?:second\s+)?{_N}(?:{_S})?\s*(?:to|and|until|till|-)\s*(?:second\s+)?{_N}(?:{_S})?",
    re.I,
)
_AT = re.compile(rf"\s*,?\s*\b(?:at|from|starting at|beginning at)\s+(?:second\s+{_N}|{_N}{_S})(?:\s+in)?", re.I)
_AT_BORDER = re.compile(
    r"\s*,?\s*\b(?:(?:at|to|in)\s+the\s+(?:very\s+)?(start|beginning|end)|(first|last)\s+of\s+all)(?:\s+of\s+(?:it|the\s+\w+))?$",
    re.I,
)
_THROUGHOUT = re.compile(
    r"\s*,?\s*\b(?:in|to|as|into|on)\s+(?:the|a)\s+background(?:\s+of\s+(?:it|everything|the\s+\w+))?|\s*,?\s*\bthroughout(?:\s+\w+){0,3}$|"
    r"\s*,?\s*\b(?:under|beneath|underneath|behind|below|over|on top of|during)\s+(?:it all|everything|all(?: of it)?|"
    r"the\s+(?:whole|entire)\s+\w+|all the \w+)$|\s*,?\s*\ball\s+(?:the\s+)?(?:way\s+)?through$",
    re.I,
)  # fmt: skip
_ONTO = re.compile(
    r"\s+(?:to|into|in|on|onto)\s+(?:it|this|(?:the|this)\s+(?:mix|scene|clip|timeline|audio|sound|soundscape|result))$",
    re.I,
)
_RELATION = re.compile(
    r"\s*,?\s*\b(?:and\s+)?(?:right\s+|just\s+|directly\s+|shortly\s+|immediately\s+)?"
    r"(before|after|while|during|between|when|as|under|underneath|beneath|behind|over|on top of|alongside|along with|"
    r"together with|with|following)\s+(?=\S)",
    re.I,
)
_DEFINITE = re.compile(r"^(?:the|it|he|she|they|this|that|everything|his|her|e\d+|[\"'“‘])", re.I)
_BEHIND = ("under", "underneath", "beneath", "behind")


@dataclass(frozen=True)
class Place:
    """Where a new sound goes.

    Attributes:
        how: before, after, between, over, span or free.
        steps: What it stands beside.
        start_s: Start of a span in seconds.
        end_s: End of a span; None where its length decides.
        length_s: Length that was asked for.
        behind: Whether it lies under the rest.
    """

    how: str = "free"
    steps: tuple[Step, ...] = ()
    start_s: float = 0.0
    end_s: float | None = None
    length_s: float | None = None
    behind: bool = False


def insert(draft: Draft, words: str, planner: Planner, over: bool = False) -> None:
    """Add what words describe, where they say.

    Args:
        draft: Where to.
        words: Captions and places, as "a man talking before it drives away".
        planner: Plans the captions.
        over: Whether it sounds along with everything.

    Raises:
        QuestionError: If the place is not clear, or there is no room.
    """
    caption, place = read_place(words, draft)
    if not caption:
        raise QuestionError("What should be added?")
    if place.how == "free" and (over or is_bed(caption)):
        place = Place("span", end_s=draft.duration_s, behind=is_bed(caption))
    noted, moved = len(draft.said), dict(zip([s.id for s in draft.steps], draft.steps, strict=True))
    start, end = _room(draft, place, caption)
    planned = planner.plan(caption, duration_s=end - start)
    scale = (end - start) / planned.duration_s  # the caption may name a length of its own
    alone = len(planned.steps) == 1
    new = [
        step.model_copy(
            update={
                "start_s": start if alone else round(start + scale * step.start_s, 2),
                "end_s": end if alone else min(end, round(start + scale * step.end_s, 2)),
                **(_background(step) if place.behind else {}),
            }
        )
        for step in planned.steps
    ]
    if any(step.duration_s < MIN_STEP_S for step in new):
        raise QuestionError(f"There is no room for {len(new)} sounds there. Where should they be?")
    added = draft.add(new)
    draft.notes += planned.notes if scale == 1 else ()
    for step in added:
        draft.said.insert(noted, f"{name(step)} is new, from {seconds(step.start_s)} to {seconds(step.end_s)} s.")
        noted += 1
    _say_moved(draft, moved)


def move_into(draft: Draft, target: str, words: str) -> None:
    """Move a step to where words say.

    Args:
        draft: Where.
        target: Words for the step.
        words: The place, as "between the man and the car".

    Raises:
        QuestionError: If either is not clear, or there is no room.
    """
    steps = draft.timed(target)
    if len(steps) > 1:
        raise QuestionError(f"Which one shall move there: {choices(steps)}?")
    step, before = steps[0], {one.id: one for one in draft.steps}
    draft.remove([step])
    rest, place = read_place(f"x {words}", draft) if draft.steps else ("x " + words, Place())
    if rest != "x" or place.how == "free":
        raise QuestionError(f"Where shall {name(step)} go: at which second, or before or after which sound?")
    beside = place.how in ("before", "after", "between")
    wanted = place if beside else replace(place, length_s=place.length_s or step.duration_s)
    start, end = _room(draft, wanted, step.prompt)
    if beside and end - start > step.duration_s:
        start, end = (end - step.duration_s, end) if place.how == "before" else (start, start + step.duration_s)
    start, end = round(start, 2), round(end, 2)
    draft.steps.append(step)
    draft.change(step, start_s=start, end_s=end)
    draft.said.append(f"{name(step)} plays from {seconds(start)} to {seconds(end)} s.")
    _say_moved(draft, {one: was for one, was in before.items() if one != step.id})


def _background(step: Step) -> dict[str, object]:
    return {
        "layer": "background",
        "level_lufs": min(step.level_lufs, BACKGROUND_LUFS),
        "fade_in_s": 0.25,
        "fade_out_s": 0.25,
    }


def _say_moved(draft: Draft, before: dict[str, Step]) -> None:
    for step in draft.steps:
        old = before.get(step.id)
        if old is not None and (old.start_s, old.end_s) != (step.start_s, step.end_s):
            draft.notes.append(f"{name(step)} now plays from {seconds(step.start_s)} to {seconds(step.end_s)} s.")


def read_place(words: str, draft: Draft) -> tuple[str, Place]:
    """The caption without its place, and the place.

    Raises:
        QuestionError: If it stands beside something that is not clear.
    """
    caption, length = words.strip(" ,."), None
    if found := _SPAN.search(caption):
        start, end = sorted(float(value) for value in found.groups())
        return _without(caption, found), Place("span", start_s=start, end_s=end)
    if found := _LENGTH.search(caption):
        length = float(next(value for value in found.groups() if value))
        caption = _without(caption, found)
    if found := _THROUGHOUT.search(caption):
        return _without(caption, found), Place(
            "span", end_s=draft.duration_s, behind="over" not in found[0] and "top" not in found[0]
        )
    if found := _AT.search(caption):
        at = float(found.group(1) or found.group(2))
        return _without(caption, found), Place("span", start_s=at, length_s=length)
    if found := _AT_BORDER.search(caption):
        at_end = (found.group(1) or found.group(2)).lower() in ("end", "last")
        caption = _without(caption, found)
        wanted = min(draft.duration_s, length or _usual(caption))
        return caption, Place("span", start_s=draft.duration_s - wanted if at_end else 0.0, length_s=wanted)
    caption = _ONTO.sub("", caption)
    return _beside(caption, draft, length)


def _without(text: str, found: re.Match[str]) -> str:
    rest = re.sub(r"\s+", " ", f"{text[: found.start()]} {text[found.end() :]}").strip(" ,.")
    return _ONTO.sub("", re.sub(r"\s*,(?=\s+\w+ly$)|\s+(?=,)", "", rest))


def _beside(caption: str, draft: Draft, length: float | None) -> tuple[str, Place]:
    """A place given by other sounds: "after the engine starts and before it drives away"."""
    places: dict[str, tuple[Step, ...]] = {}
    question: QuestionError | None = None
    for found in list(_RELATION.finditer(caption))[::-1]:
        how, rest = found.group(1).lower(), caption[found.end() :]
        if how not in ("before", "after", "between", "following", "while", "during", "when") and not _DEFINITE.match(
            rest
        ):
            continue
        try:
            steps = draft.find(rest)
        except QuestionError as unclear:
            if _DEFINITE.match(rest) and how in ("before", "after", "between", "following", "during"):
                question = question or unclear
            continue
        question = None
        caption, how = caption[: found.start()].strip(" ,."), "after" if how == "following" else how
        places[how] = steps
        if how not in ("before", "after"):
            break
    if question is not None:
        raise question
    if not places:
        return caption, Place(length_s=length)
    if {"before", "after"} <= set(places) or "between" in places:
        steps = places.get("between") or (places["after"][-1], places["before"][0])
        if len(steps) < 2:
            raise QuestionError(f"Between {name(steps[0])} and what?")
        return caption, Place("between", steps, length_s=length)
    how, steps = next(iter(places.items()))
    if how in ("before", "after"):
        return caption, Place(how, steps, length_s=length)
    return caption, Place("over", steps, length_s=length, behind=how in _BEHIND)


def _usual(caption: str) -> float:
    return _SHORT_S if is_short(caption) else _USUAL_S


def _room(draft: Draft, place: Place, caption: str) -> tuple[float, float]:
    """Start and end in seconds of the room that a place gives; what stands there moves."""
    if place.how == "before":
        first = min(place.steps, key=lambda step: step.start_s)
        return _before(draft, first, _end_of_previous(draft, first), place.length_s)
    if place.how == "between":
        first, second = sorted(place.steps, key=lambda step: step.start_s)[:2]
        return _before(draft, second, min(first.end_s, second.start_s), place.length_s)
    if place.how == "after":
        return _after(draft, max(place.steps, key=lambda step: step.end_s), place.length_s)
    if place.how == "over":
        start, end = min(s.start_s for s in place.steps), max(s.end_s for s in place.steps)
        return start, end if place.length_s is None else min(end, start + place.length_s)
    if place.how == "span":
        length = place.length_s or _usual(caption)
        end = place.end_s if place.end_s is not None else place.start_s + length
        if place.end_s is None and place.length_s is None and place.start_s + MIN_ROOM_S <= draft.duration_s:
            end = min(end, draft.duration_s)
        end = max(end, place.start_s + MIN_STEP_S)
        draft.grow_to(end)
        return round(place.start_s, 2), min(round(end, 2), draft.duration_s)
    return _quietest(draft, min(place.length_s or _usual(caption), draft.duration_s))


def _quietest(draft: Draft, length: float) -> tuple[float, float]:
    """The latest span over which the fewest sounds play."""
    last = draft.duration_s - length
    starts = {
        0.0,
        last,
        *(s.end_s for s in draft.steps if s.end_s <= last),
        *(0.5 * i for i in range(int(2 * last) + 1)),
    }

    def load(start: float) -> float:
        return sum(max(0.0, min(s.end_s, start + length) - max(s.start_s, start)) for s in draft.steps)

    start = min(sorted(starts, reverse=True), key=lambda at: round(load(at), 2))
    return round(start, 2), min(round(start + length, 2), draft.duration_s)


def _foreground(draft: Draft, but: Step) -> Sequence[Step]:
    return [step for step in draft.steps if step.layer == "foreground" and step.id != but.id]


def _end_of_previous(draft: Draft, step: Step) -> float:
    ends = [other.end_s for other in _foreground(draft, step) if other.end_s <= step.start_s + 0.01]
    return max(ends, default=0.0)


def _before(draft: Draft, step: Step, since: float, length: float | None) -> tuple[float, float]:
    """Room that ends where a step begins; without a gap the step begins later."""
    gap = step.start_s - since
    if gap >= (length or MIN_ROOM_S) - 1e-6:
        return round(step.start_s - (length or min(gap, _LONGEST_S)), 2), step.start_s
    draft.needs_time_of(step)
    start, wanted = step.start_s, length or min(_LONGEST_S, round(step.duration_s / 2, 2))
    if step.duration_s - wanted >= MIN_ROOM_S:
        middle = round(start + wanted, 2)
        draft.change(step, start_s=middle)
        return start, middle
    return _opened(draft, start, length or 2.0)


def _after(draft: Draft, step: Step, length: float | None) -> tuple[float, float]:
    """Room that begins where a step ends; without a gap what follows begins later, or the step ends earlier."""
    later = [other for other in _foreground(draft, step) if other.start_s >= step.end_s - 0.01]
    following = min(later, key=lambda other: other.start_s, default=None)
    gap = (following.start_s if following else draft.duration_s) - step.end_s
    if gap >= (length or MIN_ROOM_S) - 1e-6:
        return step.end_s, round(step.end_s + (length or min(gap, _LONGEST_S)), 2)
    if following is not None:
        return _before(draft, following, step.end_s, length)
    wanted = length or min(_LONGEST_S, round(step.duration_s / 2, 2))
    movable = not step.locked and step.source == "text"
    if movable and step.duration_s - wanted >= MIN_ROOM_S:
        end = step.end_s
        draft.change(step, end_s=round(end - wanted, 2))
        return round(end - wanted, 2), end
    draft.grow_to(step.end_s + (length or 2.0))
    return step.end_s, draft.duration_s


def _opened(draft: Draft, at: float, length: float) -> tuple[float, float]:
    """Room at a time by moving everything after it, the clip growing as much."""
    later = [step for step in draft.steps if step.start_s >= at - 1e-6]
    for step in later:
        draft.needs_time_of(step)
    draft.grow_to(draft.duration_s + length)
    for old in later:
        step = next(one for one in draft.steps if one.id == old.id)
        draft.change(
            step, start_s=round(step.start_s + length, 2), end_s=min(draft.duration_s, round(old.end_s + length, 2))
        )
    return round(at, 2), round(at + length, 2)


def replace_steps(draft: Draft, steps: Sequence[Step], words: str, planner: Planner) -> None:
    """Put other sounds in the place and time of some.

    Args:
        draft: Where to.
        steps: What goes; the first gives its id to what comes.
        words: Captions.
        planner: Plans them.

    Raises:
        QuestionError: If there is no room for them.
    """
    for step in steps:
        if step.locked:
            raise QuestionError(f"{name(step)} is locked. Unlock it first?")
    start, end = min(s.start_s for s in steps), max(s.end_s for s in steps)
    caption = words.strip(" .,").removeprefix('"').removesuffix('"').strip("'“”‘’ ")
    planned = planner.plan(caption, duration_s=end - start).steps
    old = steps[0]
    draft.remove(steps[1:])
    scale = (end - start) / max(step.end_s for step in planned)
    times = [(round(start + scale * s.start_s, 2), min(end, round(start + scale * s.end_s, 2))) for s in planned]
    if len(planned) == 1:
        times = [(start, end)]
    if any(b - a < MIN_STEP_S for a, b in times):
        raise QuestionError(f"There is no room for {len(planned)} sounds from {seconds(start)} to {seconds(end)} s.")
    first = draft.change(
        old, prompt=planned[0].prompt, kind=planned[0].kind, take=0, start_s=times[0][0], end_s=times[0][1]
    )
    rest = [
        step.model_copy(
            update={"start_s": a, "end_s": b, "level_lufs": old.level_lufs, "layer": old.layer, "pan": old.pan}
        )
        for step, (a, b) in zip(planned[1:], times[1:], strict=True)
    ]
    new = [first, *draft.add(rest)]
    draft.recent = [step.id for step in new]
    draft.said.append(f"{listed([name(step) for step in new])} {'takes' if len(new) == 1 else 'take'} the place of "
                      f"{listed([_caption(step) for step in steps])}.")  # fmt: skip


def _caption(step: Step) -> str:
    return f"'{step.prompt.rstrip('.')}'"
