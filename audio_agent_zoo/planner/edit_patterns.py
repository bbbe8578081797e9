"""The sentences that ask for an edit: one pattern a line, and what it means."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "insert", "replace", "copy", "remove", "move_to", "move_by", "move_beside", "span", "end", "stretch", "last", "level_by",
    "level_to", "pan", "layer", "fade_in", "fade_out", "mute", "unmute", "solo", "lock", "unlock", "take", "without",
    "seed", "total", "total_by", "undo", "redo", "new", "earlier", "permit",
]  # fmt: skip
MECHANICAL: frozenset[Kind] = frozenset(
    ("level_by", "level_to", "pan", "fade_in", "fade_out", "mute", "unmute", "solo", "lock", "unlock", "take", "without",
     "seed", "undo", "redo")
)  # fmt: skip
"""Edits that say in one way what they mean, and mostly what a chat API's answer has no field for."""


@dataclass(frozen=True)
class Edit:
    """One edit as it was said.

    Attributes:
        kind: What to do.
        target: Words for the steps to change.
        content: Caption of what is new, or what a sound must not hold.
        amount: dB, seconds, pan or seed.
        until: End of a span in seconds.
        other: Words for a second step, or a word that says how.
    """

    kind: Kind
    target: str = ""
    content: str = ""
    amount: float | None = None
    until: float | None = None
    other: str = ""


Build = Callable[[re.Match[str]], Edit | None]

_N = r"(-?\d+(?:\.\d+)?)"
_S = r" ?-? ?(?:seconds?|secs?|s)\b"
_DB = rf"{_N} ?(?:dbs?|decibels?)\b"
_REF = r"(.+?)"
_THE = r"((?:the|it|that|this|them|these|those|e\d+|Q\d+Q|its|his|her|everything|all)\b.*?)"
_CLIP = (
    r"(?:it|this|(?:the )?(?:whole |entire |total )?(?:clip|thing|audio|timeline|mix|scene|result|generation|recording|"
    r"soundtrack)|everything)"
)
_LITTLE = r"(?:a (?:little(?: bit)?|bit|touch|tad)|slightly|somewhat)"
_MUCH = r"(?:much|a lot|far|way|considerably|significantly|clearly)"
_HOW = rf"(?:(?:by )?(?:about )?{_DB}|({_LITTLE})|({_MUCH}))"


def _amount(match: re.Match[str], first: int, up: bool) -> float:
    """Decibels of the groups that `_HOW` makes, beginning at `first`."""
    number, little, much = match.group(first), match.group(first + 1), match.group(first + 2)
    size = abs(float(number)) if number else 2.0 if little else 8.0 if much else 4.0
    return size if up else -size


def _louder(word: str) -> bool:
    return word.lower() in ("louder", "up", "raise", "increase", "boost", "lift", "amplify", "quiet", "faint", "soft")


def _pan(match: re.Match[str]) -> Edit:
    how, percent, side = (match.group(2) or "").lower(), match.group(3), match.group(4).lower()
    size = 1.0 if re.search(r"hard|full|far|all|complete", how) else 0.3 if how and "half" not in how else 0.6
    size = float(percent) / 100 if percent else 0.5 if "half" in how else size
    return Edit("pan", match.group(1), amount={"left": -size, "right": size}.get(side, 0.0))


def _in_or_out(match: re.Match[str], word: int, target: int, seconds: int) -> Edit:
    found = match.group(seconds)
    length = float(found) if found else 1.0
    return Edit(
        "fade_in" if match.group(word).lower() == "in" else "fade_out", match.group(target) or "it", amount=length
    )


def _longer(match: re.Match[str], seconds: int, word: int, target: int = 1) -> Edit:
    sign = 1.0 if match.group(word).lower() in ("longer", "extend", "lengthen", "stretch", "prolong") else -1.0
    found = match.group(seconds)
    kind: Kind = "total_by" if re.fullmatch(_CLIP, match.group(target), re.I) else "stretch"
    return Edit(
        kind,
        match.group(target),
        amount=sign * float(found) if found else None,
        other="" if found else match.group(word),
    )


def _lasting(match: re.Match[str]) -> Edit:
    clip = re.fullmatch(_CLIP, match.group(1), re.I)
    return Edit("total" if clip else "last", match.group(1), amount=float(match.group(2)))


def _shifted(match: re.Match[str]) -> Edit:
    by = float(match.group(2) or match.group(4) or 1)
    return Edit("move_by", match.group(1), amount=by if match.group(3).lower() == "later" else -by)


def _level(target: str, amount: float) -> Edit:
    target = re.sub(
        r"^(?:i(?:'d| would) like )?(?:(?:the )?(?:level|volume|loudness|gain) (?:of )?)?", "", target, flags=re.I
    )
    return Edit(
        "level_by",
        re.sub(r" (?:should |must |needs to |to |has to )?be$", "", target, flags=re.I) or "it",
        amount=amount,
    )


_LENGTH = rf"(?:{_CLIP} )?(?:the )?(?:generation|total|clip|overall|whole|audio|sound)? ?(?:length|duration)"
_MAKE = r"(?:(?:make|let|have|get|turn|bring|set) )?"
# The first that fits decides, so the narrower stand before the wider.
PATTERNS: tuple[tuple[str, Build], ...] = (
    (r"(?:undo|revert|go back|take (?:that|it) back|take back|step back)(?: (?:it|that|this|the last (?:edit|change|step|turn|one)|one step))?", lambda m: Edit("undo")),
    (r"(?:redo|go forward)(?: (?:it|that|this|the last (?:edit|change|one)))?", lambda m: Edit("redo")),
    (r"(?:if needed,? ?)?(?:you )?(?:may|might|can|are allowed to|feel free to) (?:need to )?(?:add|include|use|invent) (?:any |some |more )?(?:additional|extra|other|further|more|new)\b.*", lambda m: Edit("permit")),
    (rf"(?:(?:set|make|change) )?{_LENGTH}(?: of {_CLIP})? ?(?:is|of|to|=|:|should be|must be|shall be|stays|remains)? ?(?:still |now )?{_N}{_S}(?: long)?", lambda m: Edit("total", amount=float(m[1]))),
    (rf"{_N}{_S}(?: long| in total| total)?", lambda m: Edit("total", amount=float(m[1]))),
    (rf"(?:set |use )?(?:the )?seed (?:of |for ){_REF} (?:to |= ?|is )?(\d+)", lambda m: Edit("seed", m[1], amount=float(m[2]))),
    (rf"(?:set |use )?(?:the )?seed (?:to |= ?|is |of )?(\d+)(?: (?:for|on|in) {_REF})?", lambda m: Edit("seed", m[2] or "everything", amount=float(m[1]))),
    (rf"(?:make |give me |try |generate |do |get )?(?:another|a (?:new|different|second|fresh)) (?:take|try|version|variation|variant)(?: (?:of|for|on) {_REF})?", lambda m: Edit("take", m[1] or "it")),
    (rf"(?:retake|regenerate|re-?roll|redo|re-?do|try again|re-?render) {_REF}", lambda m: Edit("take", m[1])),
    (rf"try {_REF} again", lambda m: Edit("take", m[1])),
    (rf"(?:go back to|use|take|switch to) take (\d+)(?: (?:of|for) {_REF})?", lambda m: Edit("take", m[2] or "it", amount=float(m[1]))),
    (rf"(?:unlock|unfreeze|release) {_REF}", lambda m: Edit("unlock", m[1])),
    (rf"(?:lock|freeze|protect|(?:do not|don't) (?:touch|change)) {_REF}", lambda m: Edit("lock", m[1])),
    (rf"(?:unmute|un-mute) {_REF}", lambda m: Edit("unmute", m[1])),
    (r"(?:unsolo|un-solo|no solo|stop soloing|solo off)\b.*", lambda m: Edit("unmute", "everything")),
    (rf"(?:mute|silence) {_REF}", lambda m: Edit("mute", m[1])),
    (rf"(?:solo|(?:let me )?(?:only )?hear only|only (?:play|hear)|play only|let me hear only) {_REF}", lambda m: Edit("solo", m[1])),
    # Levels.
    (rf"(?:make )?{_REF} (?:is |are )?(?:a (?:bit|little) |much |far |way )?too (loud|quiet|faint|soft)", lambda m: _level(m[1], 4.0 if _louder(m[2]) else -4.0)),
    (rf"(?:{_HOW} )?(louder|quieter|softer)", lambda m: _level("it", _amount(m, 1, _louder(m[4])))),
    (rf"{_MAKE}{_REF} half as loud", lambda m: _level(m[1], -10.0)),
    (rf"{_MAKE}{_REF} (?:twice|double|two times) as loud", lambda m: _level(m[1], 10.0)),
    (rf"(?:make|keep) {_THE} (?:(?:very|quite|rather|really) )?(loud|quiet|soft|faint)", lambda m: _level(m[1], 4.0 if m[2].lower() == "loud" else -4.0)),
    (rf"{_MAKE}{_REF} (?:(?:by )?{_DB}|({_LITTLE})|({_MUCH})) (louder|quieter|softer)", lambda m: _level(m[1], _amount(m, 2, _louder(m[5])))),
    (rf"{_MAKE}{_REF} (louder|quieter|softer)(?: {_HOW})?", lambda m: _level(m[1], _amount(m, 3, _louder(m[2])))),
    (rf"(?:set|bring|put|make|change) (?:the (?:level|volume|loudness) of )?{_REF} (?:to|at) (-\d+(?:\.\d+)?) ?(?:lufs|dbs?|lkfs|decibels?)?", lambda m: Edit("level_to", m[1], amount=float(m[2]))),
    (rf"(?:turn|bring) {_REF} (up|down)(?: {_HOW})?", lambda m: _level(m[1], _amount(m, 3, _louder(m[2])))),
    (rf"turn (up|down) {_REF}(?: {_HOW})?", lambda m: _level(m[2], _amount(m, 3, _louder(m[1])))),
    (rf"(raise|increase|boost|lift|amplify|lower|reduce|decrease|attenuate|drop|cut) {_REF} {_HOW}", lambda m: _level(m[2], _amount(m, 3, _louder(m[1])))),
    (rf"(raise|increase|boost|lift|amplify|lower|reduce|decrease|attenuate) (?!the (?:length|duration)){_REF}", lambda m: _level(m[2], 4.0 if _louder(m[1]) else -4.0)),
    # Side, depth and fades.
    (rf"(?:pan|move|put|place|shift) {_REF} (?:(hard|fully|far|slightly|a bit|a little|half(?:way)?|all the way|completely) )?(?:(\d+) ?% )?(?:(?:to|on|in|from) )?(?:the )?(left|right|cent(?:er|re))(?: (?:side|ear|channel|speaker))?", _pan),
    (rf"pan {_REF} (?:to )?{_N}", lambda m: Edit("pan", m[1], amount=float(m[2]))),
    (rf"(?:move|put|send|push|bring|place) {_THE} (?:in|into|to) the (background|foreground|front)", lambda m: Edit("layer", m[1], other="background" if m[2].lower() == "background" else "foreground")),
    (r"fade (?:everything |it all |all )?(in|out)(?: everything)?(?: at the (?:very )?(?:end|start|beginning))(?: (?:over|for) (-?\d+(?:\.\d+)?) ?(?:seconds?|secs?|s))?", lambda m: Edit("fade_in" if m[1].lower() == "in" else "fade_out", "everything", amount=float(m[2] or 1))),
    (rf"fade (in|out)(?: {_REF})??(?: (?:over|for|in|within|during|by) {_N}{_S})?", lambda m: _in_or_out(m, 1, 2, 3)),
    (rf"(?:(?:let|make|have) )?(?:fade )?{_REF} (?:fade )?(in|out) (?:over|for|within|during|in) {_N}{_S}", lambda m: _in_or_out(m, 2, 1, 3)),
    (rf"(?:let|make|have) {_REF} fade (in|out)()", lambda m: _in_or_out(m, 2, 1, 3)),
    (rf"fade {_REF} (in|out)()", lambda m: _in_or_out(m, 2, 1, 3)),
    (rf"(?:add|give|put) (?:an? )?(?:{_N}{_S} )?fade[- ](in|out)(?: (?:to|on|of) {_REF})?", lambda m: _in_or_out(m, 2, 3, 1)),
    # Length.
    (rf"(?:make|let|have) {_REF} (?:to )?(?:last|be|take|go on)? ?(?:for )?{_N}{_S} (longer|shorter)", lambda m: _longer(m, 2, 3)),
    (rf"(?:make|let|have) {_REF} (longer|shorter)(?: by {_N}{_S})?", lambda m: _longer(m, 3, 2)),
    (rf"(extend|lengthen|stretch|prolong|shorten|trim|cut) {_REF} by {_N}{_S}", lambda m: _longer(m, 3, 1, 2)),
    (rf"(?:extend|lengthen|stretch|prolong|shorten|trim|cut|reduce|set|change) (?:the (?:length|duration) of )?{_REF} (?:down )?to (?:last )?{_N}{_S}", _lasting),
    (rf"{_THE} (?:should|must|shall) (?:last (?:for )?|be ){_N}{_S}(?: long)?", _lasting),
    (rf"(?:(?:extend|make|let|stretch|keep|have) ){_REF} (?:(?:play|last|go on|sound|run|end|stop) )?(?:to|until|till|through to|at) the (?:very )?end", lambda m: Edit("end", m[1])),
    (rf"(?:end|stop|cut|finish) {_REF} (?:until|till|at) (?:second )?{_N}(?:{_S})", lambda m: Edit("end", m[1], amount=float(m[2]))),
    (rf"(?:make|let|have) {_REF} (?:end|stop|finish) at (?:second )?{_N}(?:{_S})", lambda m: Edit("end", m[1], amount=float(m[2]))),
    (rf"(?:extend|make|let|stretch|have|keep) {_REF} (?:(?:play|last|go on|sound|run|playing|going) )?(?:until|till) (?:second )?{_N}(?:{_S})", lambda m: Edit("end", m[1], amount=float(m[2]))),
    (rf"(?:extend|lengthen|prolong|shorten) {_REF}", lambda m: Edit("total_by" if re.fullmatch(_CLIP, m[1], re.I) else "stretch", m[1], other="shorter" if m[0].lower().startswith("short") else "longer")),
    # Place in time.
    (rf"play {_THE} (?:again|once more|a second time)(?: at (?:second )?{_N}(?:{_S})?)?", lambda m: Edit("copy", m[1], amount=float(m[2]) if m[2] else None)),
    (rf"(?:put|place|play|move|shift|make|let|have) {_THE} (?:play |sound |run )?(?:from|between) (?:second )?{_N}(?:{_S})? ?(?:to|and|until|-) ?(?:second )?{_N}(?:{_S})?", lambda m: Edit("span", m[1], amount=float(m[2]), until=float(m[3]))),
    (rf"(?:move|shift|push|put|place|start|play|make|let|have|begin) {_THE} (?:(?:start|begin|come in|come|play|sound|enter) )?(?:to|at|from) (?:second )?{_N}(?:{_S})?", lambda m: Edit("move_to", m[1], amount=float(m[2]))),
    (rf"(?:move|shift|push|put|place|make|let|start|play) {_THE} (?:(?:start|begin|come|play) )?(?:to|at|from) (?:the )?(?:very )?(beginning|start|end)", lambda m: Edit("move_to", m[1], other=m[2].lower())),
    (rf"{_THE} (?:should|must|shall|could|can|has to|needs to) (?:start|begin|come|play|be)(?: in)? (?:by )?(?:{_N}{_S} )?(earlier|sooner|later)(?: by {_N}{_S})?", _shifted),
    (rf"(?:(?:could|can|should|may) )?{_THE} (?:(?:should|must|shall|could|can) )?(?:start|begin|come in|come|play) at (?:second )?{_N}(?:{_S})?", lambda m: Edit("move_to", m[1], amount=float(m[2]))),
    (rf"(?:move|shift|push|start|make|play|let|bring) {_REF} (?:(?:start|begin|come in|come|play) )?(?:by )?(?:{_N}{_S} )?(earlier|sooner|later)(?: by {_N}{_S})?", _shifted),
    (rf"(?:move|shift|push) {_REF} by {_N}{_S}", lambda m: Edit("move_by", m[1], amount=float(m[2]))),
    (rf"(?:repeat|duplicate|copy|double) {_REF}(?: (?:once more|again))?(?: at (?:second )?{_N}(?:{_S})?)?", lambda m: Edit("copy", m[1], amount=float(m[2]) if m[2] else None)),
    (rf"delay {_REF}(?: by {_N}{_S})?", lambda m: Edit("move_by", m[1], amount=float(m[2] or 1))),
    (rf"(?:move|shift|put|place|play|let|make|have|start) {_THE} (?:(?:start|begin|come in|come|play|sound) )?(?:right |directly |just )?(before|after) {_REF}", lambda m: Edit("move_beside", m[1], content=m[2].lower(), other=m[3])),
    (rf"(?:make|let|have) {_REF} (?:to )?(?:last (?:for )?|be )?{_N}{_S}(?: long)?", _lasting),
    # Which sounds there are.
    (rf"(?:replace|swap|exchange|substitute) (?:out )?{_REF} (?:with|by|for) (.+)", lambda m: Edit("replace", m[1], m[2])),
    (rf"(?:change|turn|convert|transform) {_REF} (?:in)?to (?:be )?(.+)", lambda m: Edit("replace", m[1], m[2])),
    (rf"(?:(?:use|play|put|have|make it|give me|i want) )?(?:to hear )?(.+?) (?:instead of|in place of|rather than) {_REF}", lambda m: Edit("replace", m[2], m[1])),
    (rf"make {_THE} (an? .+)", lambda m: Edit("replace", m[1], m[2])),
    (rf"take {_REF} (?:out|away)", lambda m: Edit("remove", m[1])),
    (rf"(?:remove|delete|drop|take out|take away|get rid of|lose|cut out|cut|erase|leave out|throw out|discard|no more) {_REF}(?: (?:from|in|of) (?:{_CLIP}))?", lambda m: Edit("remove", m[1])),
    (rf"without {_THE}", lambda m: Edit("remove", m[1])),
    (rf"(?:i|we) (?:do not|don't|no longer) (?:need|want)(?: to hear)? {_THE}(?: any ?more| any longer)?", lambda m: Edit("remove", m[1])),
    (r"(?:(?:with)? ?no|without(?: any)?|there should be no|avoid|keep out|i don't want(?: any)?) (.+?)(?: (?:in|on|from|for) (.+))?", lambda m: Edit("without", m[2] or "everything", m[1])),
    (rf"(?:make|keep|render) {_REF} (?:without(?: any)?|with no|free of) (.+)", lambda m: Edit("without", m[1], m[2])),
    (rf"{_THE} (?:should (?:have|hold|contain) no|without(?: any)?|with no) (.+)", lambda m: Edit("without", m[1], m[2])),
    (r"(?:combine|mix|layer|blend|overlay|accompany) (?:it|this|that|them|everything|the (?:current|present) \w+|what we have) with (.+)", lambda m: Edit("insert", content=m[1], other="over")),
    (rf"(?:put|place|play|move|shift|bring) {_THE} ((?:right |just |directly )?(?:between|while|during|under|behind|beneath|over|before|after|from|at) .+)", lambda m: Edit("insert", m[1], m[2], other="move")),
    (r"(?:add|insert|include|introduce|mix in|layer in|bring in|put in|overlay|put|place|play|layer|i want to hear|we should hear|there should be|let there be|have) (?:in )?(?!it$|that$)(.+)", lambda m: Edit("insert", content=m[1])),
)  # fmt: skip
