"""Read an English request into sounds: what follows what, what sounds together, and at which times."""

import re
from dataclasses import dataclass, replace

from audio_agent_zoo.planner.plan import clean_text

_NUMBER = r"(\d+(?:\.\d+)?)"
_UNIT = r"\s*-?\s*(?:seconds?|secs?|s)\b"
_CLIP = r"(?:clip|sound|audio|recording|soundtrack|track|scene|piece|ambience|sample)"

_TOTALS = (
    re.compile(
        rf"\b(?:the\s+)?(?:generation|audio|total|clip|overall|sound)?\s*(?:length|duration)\s*(?:is|of|=|:|should be)?\s*(?:still\s+)?{_NUMBER}{_UNIT}",
        re.I,
    ),
    re.compile(rf"\b(?:an?\s+)?{_NUMBER}{_UNIT}(?:[\s-]long)?\s+{_CLIP}\b(?:\s+(?:of|with))?", re.I),
    re.compile(rf"\b(?:an?\s+)?{_CLIP}\s+of\s+{_NUMBER}{_UNIT}(?:\s+(?:of|with))?", re.I),
)
_LEAD_IN = re.compile(
    r"^(?:(?:please|now|can you|could you|i want(?: you)? to|i would like to|i'd like to|let's)\s+)*"
    r"(?:(?:generate|create|make|produce|compose|synthesi[sz]e|hear|give me|play)\s+(?:me\s+)?)?"
    rf"(?:(?:(?:an?|the|some)\s+)?(?:sounds?|noises?|{_CLIP}s?)\s+(?:of|with|where|in which)\s+)?",
    re.I,
)
_THROWAWAY = re.compile(
    r"^(?:and|then|also|finally|next|first|lastly|afterwards|after that|there (?:is|are)|you (?:can )?hear|we hear|it is|"
    r"(?:the )?(?:sounds?|noises?) of)\b[\s,]*",
    re.I,
)
_SEQUENCE = re.compile(
    r"\s*(?:[,;]?\s*(?:and\s+)?(?:is\s+|are\s+)?(?:immediately\s+|which is\s+)?followed\s+by|[,;]?\s*(?:and\s+)?(?:then|afterwards|after that|next|finally|subsequently|later)\b,?"
    r"|;|\.(?=\s|$)|[,]?\s*\bbefore\b)\s*",
    re.I,
)
_AFTER = re.compile(r"[,]?\s+\bafter\b\s+", re.I)
_TOGETHER = re.compile(
    r"[,]?\s+(?:while|whilst|as|during|amid(?:st)?|along with|together with|accompanied by|at the same time as|over the sound of|meanwhile)\s+",
    re.I,
)
_WITH = re.compile(r"[,]?\s+with\s+(?=.*\b\w{3,}ing\b|.*\bin the background\b)", re.I)
_BACKGROUND = re.compile(
    r"[,]?\s*\b(?:(?:faintly |softly )?(?:in|as|on|into) the background|in the distance as a background|throughout(?: the (?:whole )?clip)?)\b",
    re.I,
)
_NEGATION = re.compile(
    r"[,;]?\s*\b(?:but\s+)?(?:with\s+no|without(?:\s+any)?|no|there (?:is|are) no)\s+([a-z][a-z '-]*?)(?=$|[,;.]|\s+and\s+(?:a|the)\b)",
    re.I,
)
_TIMES = (
    ("span", re.compile(rf"[,]?\s*\b(?:from|between)\s+(?:second\s+)?{_NUMBER}(?:{_UNIT})?\s*(?:to|and|until|-)\s*(?:second\s+)?{_NUMBER}(?:{_UNIT})?", re.I)),
    ("first", re.compile(rf"[,]?\s*\b(?:for|in|during)\s+the\s+first\s+{_NUMBER}{_UNIT}", re.I)),
    ("last", re.compile(rf"[,]?\s*\b(?:for|in|during)\s+the\s+last\s+{_NUMBER}{_UNIT}", re.I)),
    ("length", re.compile(rf"[,]?\s*\b(?:for|lasting)\s+{_NUMBER}{_UNIT}", re.I)),
    ("at", re.compile(rf"[,]?\s*\b(?:at|after)\s+(?:second\s+)?{_NUMBER}(?:{_UNIT})", re.I)),
)  # fmt: skip
_DETERMINER = re.compile(
    r"^(?:an?|the|some|someone|somebody|people|another|several|many|multiple|two|three|four|other|his|her|their|its|this)\b",
    re.I,
)
_NO_VERB = {"morning", "evening", "string", "ring", "spring", "ceiling", "building", "wing", "king", "something", "nothing",
            "anything", "everything", "during", "bring", "thing", "swing", "sing", "sling", "lightning", "clothing", "wedding", "bowling"}  # fmt: skip
_SOUND_NOUNS = re.compile(
    r"\b(?:thunder|rain|wind|applause|gunfire|gunshots?|footsteps?|music|birds?|laughter|explosions?|sirens?|crickets|"
    r"waves|traffic|speech|static|silence|bells?|insects|dogs?|cats?|engine|fire|fireworks|cheering|hammering|typing|knocking)\b", re.I)  # fmt: skip
_PLURAL_SUBJECT = re.compile(r"^(?:[a-z]+\s+){0,2}[a-z]+s\s+[a-z]{3,}", re.I)


@dataclass(frozen=True)
class Sound:
    """One sound of a request.

    Attributes:
        prompt: Atomic caption.
        background: Said to be in the background.
        start_s: Start that was asked for, or None.
        end_s: End that was asked for, or None.
        length_s: Length that was asked for, or None.
        from_end_s: Seconds before the end of the clip at which it starts, or None.
    """

    prompt: str
    background: bool = False
    start_s: float | None = None
    end_s: float | None = None
    length_s: float | None = None
    from_end_s: float | None = None


@dataclass(frozen=True)
class Reading:
    """A request as sounds.

    Attributes:
        groups: Groups in sequence; the sounds of one group sound together.
        total_s: Length of the clip that the text itself names, or None.
        negative_prompt: What the text excludes.
    """

    groups: tuple[tuple[Sound, ...], ...]
    total_s: float | None = None
    negative_prompt: str = ""


def _protect(text: str) -> tuple[str, list[str]]:
    """Replace quoted speech by marks that no rule splits."""
    quotes: list[str] = []

    def keep(match: re.Match[str]) -> str:
        quotes.append(match.group())
        return f"QUOTE{len(quotes) - 1}Q"

    return re.sub(r'"[^"]*"|“[^”]*”', keep, text), quotes


def _restore(text: str, quotes: list[str]) -> str:
    return re.sub(r"QUOTE(\d+)Q", lambda m: quotes[int(m.group(1))], text)


def _verb_at(words: list[str]) -> int | None:
    """Index of the first word that looks like the verb of a caption, never the first word."""
    for i, word in enumerate(words):
        bare = word.strip(",.").lower()
        if i and bare.endswith("ing") and len(bare) > 4 and bare not in _NO_VERB:
            return i - 1 if words[i - 1].lower() in ("is", "are", "was", "were") else i
        if i and bare in ("is", "are"):
            return i
        if i >= 1 and bare.endswith("s") and not bare.endswith(("ss", "us", "'s")) and len(bare) > 3:
            follows_noun = not _DETERMINER.match(words[i - 1])
            if follows_noun and words[0].lower() in (
                "a",
                "an",
                "the",
                "someone",
                "somebody",
                "another",
                "his",
                "her",
            ):
                return i
    return None


def looks_like_sound(text: str) -> bool:
    """Whether a piece of a sentence can stand as a caption of its own."""
    words = text.split()
    if not words:
        return False
    if _DETERMINER.match(text):
        return len(words) >= 2
    if _verb_at(words) is not None or _SOUND_NOUNS.search(text):
        return True
    first = words[0].lower()
    return (first.endswith("ing") and len(first) > 4 and first not in _NO_VERB) or bool(_PLURAL_SUBJECT.match(text))


def _coordinated(text: str) -> tuple[list[str], bool]:
    """Split at commas and "and" where each piece is a sound; also whether one subject does all of it in turn."""
    pieces = _joined_subjects([p for p in re.split(r"\s*,\s*(?:and\s+)?|\s+and\s+", text) if p.strip()])
    if len(pieces) < 2:
        return [text], False
    head = pieces[0].split()
    verb = _verb_at(head)
    shared = []
    for piece in pieces[1:]:
        first = piece.split()[0].lower()
        is_verb = (first.endswith("ing") and first not in _NO_VERB and len(first) > 4) or (
            first.endswith("s")
            and not first.endswith("ss")
            and len(first) > 3
            and not _SOUND_NOUNS.match(piece)
            and verb is not None
            and head[verb].lower().endswith("s")
        )
        shared.append(verb is not None and verb > 0 and is_verb and not _own_subject(piece))
    if all(shared) and verb is not None:
        subject = " ".join(head[:verb])
        to_be = head[verb] + " " if head[verb].lower() in ("is", "are") else ""
        return [pieces[0], *(f"{subject} {to_be}{piece}" for piece in pieces[1:])], True
    if all(looks_like_sound(piece) for piece in pieces):
        return pieces, False
    return _partly_split(text), False


def _joined_subjects(pieces: list[str]) -> list[str]:
    """Put "a man" and "woman are talking" together again: two subjects of one plural verb."""
    joined: list[str] = []
    for piece in pieces:
        last = joined[-1] if joined else ""
        nameless = last and len(last.split()) <= 3 and _verb_at(last.split()) is None and not _SOUND_NOUNS.search(last)
        if nameless and re.search(r"\bare\b", piece, re.I):
            joined[-1] = f"{last} and {piece}"
        else:
            joined.append(piece)
    return joined


def _own_subject(piece: str) -> bool:
    """Whether "hammering and birds chirping" names someone new after the "and"."""
    words = piece.split()
    return bool(_DETERMINER.match(piece)) or (
        len(words) > 1 and not words[0].lower().endswith("ing") and _verb_at(words) is not None
    )


def _partly_split(text: str) -> list[str]:
    """Split only at those joints whose right side is a sound of its own."""
    pieces = [text]
    while True:
        for joint in re.finditer(r"\s*,\s*(?:and\s+)?|\s+and\s+", pieces[-1]):
            left, right = pieces[-1][: joint.start()], pieces[-1][joint.end() :]
            if left and _DETERMINER.match(right) and looks_like_sound(right) and looks_like_sound(left):
                pieces[-1:] = [left, right]
                break
        else:
            return pieces


def _timed(sound: str) -> Sound:
    """Take explicit times and the word for background out of a caption."""
    background = bool(_BACKGROUND.search(sound))
    made = Sound(_BACKGROUND.sub("", sound), background)
    for kind, pattern in _TIMES:
        if not (found := pattern.search(made.prompt)):
            continue
        values = [float(value) for value in found.groups()]
        made = replace(made, prompt=made.prompt[: found.start()] + made.prompt[found.end() :])
        if kind == "span":
            made = replace(made, start_s=min(values), end_s=max(values))
        elif kind == "first":
            made = replace(made, start_s=0.0, end_s=values[0])
        elif kind == "last":
            made = replace(made, from_end_s=values[0])
        elif kind == "length" and made.end_s is None:
            made = replace(made, length_s=values[0])
        elif kind == "at" and made.start_s is None:
            made = replace(made, start_s=values[0])
    return made


def _tidy(text: str) -> str:
    text = text.strip(" ,.;:-")
    before = ""
    while before != text:
        before, text = text, _THROWAWAY.sub("", text).strip(" ,.;:-")
    return text[:1].upper() + text[1:]


def _group(clause: str) -> list[list[str]]:
    """Groups of one clause: what sounds together stays in one, what one subject does in turn does not."""
    together: list[str] = []
    in_turn: list[list[str]] = []
    parts = [part for chunk in _TOGETHER.split(clause) for part in _WITH.split(chunk)]
    for part in parts:
        pieces, one_subject = _coordinated(part)
        if one_subject and len(parts) == 1:
            in_turn += [[piece] for piece in pieces]
        else:
            together += pieces
    return in_turn or [together]


def _clauses(text: str) -> list[str]:
    """Clauses in the order in which they sound."""
    ordered: list[str] = []
    for clause in _SEQUENCE.split(text):
        if not clause or not clause.strip(" ,.;"):
            continue
        halves = _AFTER.split(clause, maxsplit=1)
        later = len(halves) == 2 and looks_like_sound(halves[1]) and not re.match(r"\d", halves[1])
        ordered += [halves[1], halves[0]] if later else [clause]
    return ordered


def read_request(text: str) -> Reading:
    """Read a request.

    Args:
        text: English; the offline planner checks that first.
    """
    protected, quotes = _protect(clean_text(text))
    total_s = None
    for pattern in _TOTALS:
        if found := pattern.search(protected):
            total_s = float(found.group(1))
            protected = protected[: found.start()] + " " + protected[found.end() :]
            break
    negatives = [found.strip() for found in _NEGATION.findall(protected)]
    protected = _NEGATION.sub("", protected)
    body = _LEAD_IN.sub("", protected.strip(" ,.;"), count=1) or protected
    if combine := re.match(r"^(?:combine|mix|blend|layer)\s+(.+?)\s+(?:with|and)\s+(.+)$", body, re.I):
        clauses = [f"{combine.group(1)} while {combine.group(2)}"]
    else:
        clauses = _clauses(body)
    groups = []
    for clause in clauses:
        for pieces in _group(clause):
            timed = [replace(t, prompt=_tidy(_restore(t.prompt, quotes))) for t in map(_timed, pieces)]
            if kept := tuple(sound for sound in timed if sound.prompt):
                groups.append(kept)
    return Reading(tuple(groups), total_s, ", ".join(negatives))
