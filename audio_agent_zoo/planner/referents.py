"""Find the step that words mean: "e2", "the last one", "the barking", "the sound at 3 seconds", "it"."""

import re
from collections.abc import Sequence

from audio_agent_zoo.planner.errors import QuestionError
from audio_agent_zoo.planner.plan import Step, canonical

ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "sixth": 5, "seventh": 6, "eighth": 7}
ORDINALS |= {"1st": 0, "2nd": 1, "3rd": 2, "4th": 3, "5th": 4, "6th": 5, "7th": 6, "8th": 7, "last": -1, "final": -1}
MAX_CHOICES = 3
MAX_LISTED = 5

_IDS = re.compile(r"\be[1-9]\d{0,5}\b", re.I)
_QUOTED = re.compile(r"[\"“”]([^\"“”]+)[\"“”]|(?<!\w)['‘]([^'‘’]+(?:['’]\w[^'‘’]*)*)['’](?!\w)")
_NOUN = r"(?:sounds?|steps?|ones?|events?|tracks?|layers?|noises?|parts?)"
_NUMBERED = re.compile(rf"^(?:the\s+)?{_NOUN}\s+(?:number\s+|no\.?\s*)?(\d{{1,3}})$", re.I)
_ORDINAL = re.compile(rf"^(?:the\s+)?(?:very\s+)?({'|'.join(ORDINALS)})\b\s*(?!seconds?\b)(.*)$", re.I)
_AT_TIME = re.compile(
    r"^(?:(?:the|that|what)\s+)?(?:\w+\s+)?(?:that\s+(?:is|plays|sounds)\s+)?at\s+(?:second\s+)?(\d{1,4}(?:\.\d+)?)",
    re.I,
)
_EVERYTHING = re.compile(
    r"^(?:everything|every\s+\w+|all(?:\s+of)?(?:\s+(?:it|them|the\s+\w+|sounds|steps))?|the\s+(?:whole|entire|full)\s+"
    r"(?:thing|clip|mix|timeline|scene|sound|audio))$",
    re.I,
)
_OTHERS = re.compile(
    r"^(?:(?:all\s+)?the\s+(?:others?|rest)|(?:all|everything|every\w*)\s+(?:\w+\s+)?else|others)$", re.I
)
_ALL_BUT = re.compile(
    r"^(?:everything|all(?:\s+(?:of\s+)?the\s+\w+|\s+\w+)?|every\s+\w+)\s+(?:but|except(?:\s+for)?)\s+(.+)$", re.I
)
_BACKGROUND = re.compile(rf"^(?:the\s+)?(?:background|ambien\w+|atmos\w*|bed)(?:\s+(?:{_NOUN}|ambience))?$", re.I)
_FOREGROUND = re.compile(rf"^(?:the\s+)?foreground(?:\s+{_NOUN})?$", re.I)
_SPEECH = re.compile(r"^(?:the\s+|his\s+|her\s+)?(?:speech|voices?|talking|speaking|dialog(?:ue)?|narrat\w+)$", re.I)
_MUSIC = re.compile(r"^(?:the\s+)?(?:music|song|melody)$", re.I)
_RECENT = re.compile(
    r"^(?:it|that|this|them|these|those|that\s+one|this\s+one|the\s+(?:new|latest|newest)(?:\s+(?:one|sound|step))?|"
    r"(?:the\s+)?(?:one|sound|step)\s+(?:you|i|we)\s+(?:just\s+)?(?:added|changed|made))$",
    re.I,
)
_STOP = frozenset(
    re.findall(
        r"\S+",
        "a an the of it its it's is are was were be been being to in on at by for with and or he she they his her "
        "their them him this that these those sound sounds noise noises one ones step steps event events track "
        "layer audio some part there my our your i you we please again also too just so from into up out off away",
    )
)
_SAME = {"speak": "talk", "say": "talk", "chat": "talk", "guy": "man", "men": "man", "women": "woman",
         "people": "person", "automobile": "car", "vehicl": "car", "puppi": "dog", "kitten": "cat", "rang": "ring",
         "drove": "driv", "thunderclap": "thunder", "rainfall": "rain", "kid": "child",
         "children": "child"}  # fmt: skip


def name(step: Step) -> str:
    """How a step is called in an answer: its id and its caption."""
    return f"{step.id} '{step.prompt.rstrip('.')}'"


def listed(names: Sequence[str], last: str = "and") -> str:
    """Names as a list in a sentence; of many, the first few."""
    if len(names) > MAX_LISTED:
        names = [*names[: MAX_LISTED - 1], f"{len(names) - MAX_LISTED + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def seconds(value: float) -> str:
    """A time without needless zeros, as "2.5"."""
    return f"{round(value, 2):.2f}".rstrip("0").rstrip(".")


def stem(word: str) -> str:
    """Stem of an English word, the same for "drives", "driving" and "drive"."""
    bare = word.lower().removesuffix("'s").removesuffix("’s")
    if bare in _SAME:
        return _SAME[bare]
    for ending in ("ing", "ed", "es", "s"):
        if bare.endswith(ending) and len(bare) - len(ending) >= 3 and not bare.endswith("ss"):
            bare = bare.removesuffix(ending)
            break
    if len(bare) > 3 and bare[-1] == bare[-2] and bare[-1] not in "aeiouls":
        bare = bare[:-1]
    if bare.endswith("y") and len(bare) > 3:
        bare = bare[:-1] + "i"
    bare = bare.removesuffix("e") if len(bare) > 3 else bare
    return _SAME.get(bare, bare)


def stems(text: str) -> set[str]:
    """Stems of the words that carry meaning."""
    return {stem(word) for word in re.findall(r"[\w'’]+", text.lower()) if word not in _STOP}


def choices(steps: Sequence[Step]) -> str:
    """A few steps to choose from, as in "e1 'Rain' or e2 'A dog barks'"."""
    named = [name(step) for step in steps]
    if len(named) <= MAX_CHOICES:
        return listed(named, "or")
    return f"{', '.join(named[:MAX_CHOICES])}, or one of {len(named) - MAX_CHOICES} more"


def find_steps(words: str, steps: Sequence[Step], recent: Sequence[str] = ()) -> tuple[Step, ...]:
    """Steps that words mean, in their order.

    Args:
        words: A reference in English.
        steps: Where to look.
        recent: Ids of the steps that the last turn added or changed.

    Raises:
        QuestionError: If they mean none, or could mean several; the message is the question.
    """
    words = words.strip(" ,.;:!?")
    if found := _by_rule(words, steps, recent):
        return found
    parts = [part for part in re.split(r"\s*,\s*(?:and\s+)?|\s+(?:and|&)\s+", words) if part.strip()]
    if 1 < len(parts) <= len(steps) and not _whole_match(words, steps):
        named = {step.id for part in parts for step in find_steps(part, steps, recent)}
        return tuple(step for step in steps if step.id in named)
    return _by_words(words, steps, recent)


def find_step(words: str, steps: Sequence[Step], recent: Sequence[str] = ()) -> Step:
    """The one step that words mean.

    Raises:
        QuestionError: If they mean none, or several.
    """
    found = find_steps(words, steps, recent)
    if len(found) > 1:
        raise QuestionError(f"Which one do you mean: {choices(found)}?")
    return found[0]


def _by_rule(words: str, steps: Sequence[Step], recent: Sequence[str]) -> tuple[Step, ...]:
    """What needs no comparison of words; () if no rule speaks."""
    for quote in _QUOTED.finditer(words):
        quoted = canonical(quote.group(1) or quote.group(2))
        if same := tuple(step for step in steps if canonical(step.prompt) == quoted):
            return _one_of(same, recent)
    if match := _ALL_BUT.match(words):
        kept = {step.id for step in find_steps(match.group(1), steps, recent)}
        return tuple(step for step in steps if step.id not in kept)
    if ids := [found.lower() for found in _IDS.findall(words)]:
        if missing := [one for one in ids if one not in {step.id for step in steps}]:
            raise QuestionError(f"There is no {missing[0]}. Which one do you mean: {choices(steps)}?")
        return tuple(step for step in steps if step.id in ids)
    if _EVERYTHING.match(words):
        return tuple(steps)
    if _OTHERS.match(words):
        return tuple(step for step in steps if step.id not in recent)
    if match := _NUMBERED.match(words):
        return _numbered(int(match.group(1)) - 1, steps, steps)
    if match := _AT_TIME.match(words):
        return _sounding(float(match.group(1)), steps, recent)
    if match := _ORDINAL.match(words):
        place, rest = ORDINALS[match.group(1).lower()], match.group(2).strip()
        of_kind = _matching(rest, steps) if stems(rest) else steps
        return _numbered(place, of_kind, steps) if of_kind else ()
    if _RECENT.match(words):
        return _recent(words, steps, recent)
    for pattern, chosen in (
        (_BACKGROUND, [step for step in steps if step.layer == "background"]),
        (_FOREGROUND, [step for step in steps if step.layer == "foreground"]),
        (_SPEECH, [step for step in steps if step.kind == "speech"]),
        (_MUSIC, [step for step in steps if step.kind == "music"]),
    ):
        if pattern.match(words) and chosen:
            return _one_of(tuple(chosen), recent)
    return ()


def _sounding(at: float, steps: Sequence[Step], recent: Sequence[str]) -> tuple[Step, ...]:
    """What sounds at a time, the foreground first."""
    there = [step for step in steps if step.start_s <= at < step.end_s]
    if not there:
        raise QuestionError(f"Nothing sounds at {seconds(at)} s. Which one do you mean: {choices(steps)}?")
    return _one_of(tuple([step for step in there if step.layer == "foreground"] or there), recent)


def _numbered(place: int, among: Sequence[Step], steps: Sequence[Step]) -> tuple[Step, ...]:
    if not -len(among) <= place < len(among):
        count = "only one" if len(among) == 1 else f"only {len(among)}"
        raise QuestionError(f"There {'is' if len(among) == 1 else 'are'} {count}. Which do you mean: {choices(steps)}?")
    return (among[place],)


def _recent(words: str, steps: Sequence[Step], recent: Sequence[str]) -> tuple[Step, ...]:
    found = tuple(step for step in steps if step.id in recent) if len(steps) > 1 else tuple(steps)
    if len(found) == 1 or (found and words.lower() in ("them", "these", "those")):
        return found
    raise QuestionError(f"Which one do you mean by '{words}': {choices(found or steps)}?")


def _one_of(found: tuple[Step, ...], recent: Sequence[str]) -> tuple[Step, ...]:
    """The only one, or the one that was touched last."""
    if len(found) == 1:
        return found
    touched = tuple(step for step in found if step.id in recent)
    if len(touched) == 1:
        return touched
    raise QuestionError(f"Which one do you mean: {choices(found)}?")


def _matching(words: str, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Steps whose captions hold most of the words."""
    wanted = stems(words)
    scores = {step.id: len(wanted & stems(step.prompt)) for step in steps}
    most = max(scores.values(), default=0)
    return tuple(step for step in steps if most and scores[step.id] == most)


def _whole_match(words: str, steps: Sequence[Step]) -> bool:
    """Whether one caption holds every word, as "A man and a woman talk" does of "the man and the woman"."""
    wanted = stems(words)
    return bool(wanted) and any(wanted <= stems(step.prompt) for step in steps)


def _by_words(words: str, steps: Sequence[Step], recent: Sequence[str]) -> tuple[Step, ...]:
    wanted = stems(words)
    found = _matching(words, steps)
    shown = words if len(words) <= 60 else words[:60] + "…"
    if not found:
        said = f"I find no '{shown}' here. " if wanted else ""
        raise QuestionError(f"{said}Which one do you mean: {choices(steps)}?")
    if 2 * max(len(wanted & stems(step.prompt)) for step in found) <= len(wanted):
        raise QuestionError(f"I am not sure what '{shown}' is. Do you mean {choices(found)}?")
    return _one_of(found, recent)
