"""What an English text asks to change: the words of each edit, before anyone looks for the steps they mean."""

import re
from dataclasses import replace

from audio_agent_zoo.planner.clauses import looks_like_sound
from audio_agent_zoo.planner.edit_patterns import PATTERNS, Edit
from audio_agent_zoo.planner.plan import clean_text

_POLITE = re.compile(
    r"^(?:(?:please|now|ok(?:ay)?|and|then|also|but|just|next|finally|hey|hi|great|good|nice|thanks|can you|could you|would you|"
    r"will you|i (?:want|need)(?: you)? to|i would like(?: you)? to|i'd like(?: you)? to|let's|let us|you (?:can|should))\b[\s,:]*)+",
    re.I,
)
_POLITE_END = re.compile(r"[\s,]*\b(?:please|thanks|thank you|for me|instead please|too|as well)[\s.!]*$", re.I)
_WORDS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
          "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "sixty": 60, "a": 1, "an": 1}  # fmt: skip
_NUMBER_WORD = re.compile(rf"\b({'|'.join(_WORDS)})(?=[\s-]+(?:and a half\s+)?(?:seconds?|secs?|db|decibels?)\b)", re.I)
_QUOTE = re.compile(r"\"[^\"]*\"|“[^”]*”|(?<!\w)['‘][^'‘’]+(?:['’]\w[^'‘’]*)*['’](?!\w)")
_EARLIER_NOUN = (
    r"(?:results?|versions?|turns?|generations?|audios?|clips?|recordings?|mix(?:es)?|requests?|plans?|timelines?)"
)
_PLACES = r"(?:first|second|third|fourth|fifth|sixth|last|previous|earlier|initial|original|\d+(?:st|nd|rd|th))"
_EARLIER = re.compile(
    rf"\b{_PLACES}(?:\s*(?:,|and|with|&)+\s*(?:the\s+)?{_PLACES})*\s+{_EARLIER_NOUN}\b|\b(?:of|from|in)\s+(?:the\s+)?{_PLACES}\s+one\b|"
    rf"\b(?:result|version|turn)\s+\d+\b",
    re.I,
)


_COMPILED = tuple((re.compile(pattern, re.I), build) for pattern, build in PATTERNS)
_NEW = re.compile(
    r"^(?:(?:now|and|ok(?:ay)?|please|next|for|as|let's|let us|do|make|try|this is|here is|here's|i want|give me)[\s,]+)*"
    r"(?:(?:an?|the)\s+)?(?:(?:something|anything)\s+(?:(?:completely|entirely|totally|quite)\s+)?(?:different|new|else)(?:\s+now)?|"
    r"(?:independent|separate|unrelated|(?:completely\s+|entirely\s+|totally\s+)?(?:different|new|fresh))\s+"
    r"(?:request|scene|one|clip|generation|thing|idea|audio|timeline|soundscape|topic|plan)|"
    r"start\s+(?:over|again|anew|afresh|fresh|from scratch)(?:\s+with)?|from scratch|"
    r"forget\s+(?:about\s+)?(?:it|that|this|all (?:of )?(?:it|that|this)|everything))"
    r"(?=$|[\s:,.;!-])\s*[:,.;!-]*\s*(.*)$",
    re.I,
)  # fmt: skip
_GENERATE = re.compile(r"^(?:generate|create|produce|compose|synthesi[sz]e)\s+(?:me\s+)?(.+)$", re.I)
_JOINT = re.compile(r"\s*,?\s+(?:and then|and also|and|then|but)\s+|\s*,\s+|\s+-\s+", re.I)
_VERB = re.compile(
    r"\b(?:make|add|insert|remove|delete|mute|unmute|replace|move|put|fade|lock|unlock|shorten|extend)\b", re.I
)
_PLACE_FIRST = re.compile(
    r"^((?:right\s+|just\s+)?(?:before|after|while|during|when|at|between|from|in)\b.+?),\s*((?:please\s+)?(?:add|insert|put|play|include)\s+.+)$",
    re.I,
)
_MORE = re.compile(r"^(?:and |now |please )*(?:also|plus|with|and also)[ ,]+(?!no\b|without\b)(.+)$", re.I)
_SENTENCE = re.compile(r"[;!?]+\s*|\.+(?=\s|$)\s*")


def parse_edits(text: str) -> list[Edit] | None:
    """Edits that a text asks for, in order; None where it holds anything else.

    Args:
        text: English. Quoted captions stay whole.
    """
    quotes: list[str] = []

    def keep(match: re.Match[str]) -> str:
        quotes.append(match.group())
        return f"Q{len(quotes) - 1}Q"

    plain = _QUOTE.sub(keep, clean_text(text))
    plain = _NUMBER_WORD.sub(
        lambda m: str(_WORDS[m.group(1).lower()]), re.sub(r"\bhalf a second\b", "0.5 seconds", plain)
    )

    def restore(words: str) -> str:
        return re.sub(
            r"Q(\d+)Q", lambda m: quotes[int(m.group(1))] if int(m.group(1)) < len(quotes) else m.group(), words
        ).strip(" ,;:")

    edits = _parse(plain)
    if edits is None:
        return None
    return [
        replace(edit, target=restore(edit.target), content=restore(edit.content), other=restore(edit.other))
        for edit in edits
    ]


def _parse(text: str) -> list[Edit] | None:
    if new := _NEW.match(text):
        return [Edit("new", content=new.group(1))]
    if (
        (made := _GENERATE.match(_POLITE.sub("", text)))
        and not _EARLIER.search(text)
        and _one(_POLITE.sub("", text)) is None
    ):
        return [Edit("new", content=made.group(1))]
    edits: list[Edit] = []
    for sentence in _SENTENCE.split(text):
        if not sentence.strip(" ,.:"):
            continue
        found = _joined(sentence)
        if found is None:
            return None
        edits += found
    return edits or None


def _joined(sentence: str, joints: int = 12) -> list[Edit] | None:
    """Edits of one sentence, split wherever both sides are edits."""
    if joints:
        for joint in list(_JOINT.finditer(sentence))[:joints]:
            if _EARLIER.search(sentence) and not _EARLIER.search(sentence[: joint.start()]):
                continue
            left = _one(sentence[: joint.start()])
            if left is None:
                continue
            rest = sentence[joint.end() :]
            right = _joined(rest, joints - 1)
            if right is None and left.kind == "replace":
                right = _joined(f"replace {rest}", 0)
            if right is not None:
                return [left, *right]
    whole = _one(sentence)
    return None if whole is None else [whole]


def _one(text: str) -> Edit | None:
    """The edit of a piece of text that holds no other."""
    said = text.strip(" ,.:;!?")
    text = _PLACE_FIRST.sub(r"\2 \1", _POLITE.sub("", said))
    text = _POLITE_END.sub("", _POLITE.sub("", text)).strip(" ,.:;!?")
    if not text:
        return None
    if _EARLIER.search(text):
        return Edit("earlier", content=text)
    for pattern, build in _COMPILED:
        if (match := pattern.fullmatch(text)) and (edit := build(match)) and not _VERB.search(edit.target):
            return edit
    more = _MORE.match(said)
    if more and looks_like_sound(more.group(1)):
        return Edit("insert", content=more.group(1))
    return None
