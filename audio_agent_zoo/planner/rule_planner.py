"""The offline planner: rules that turn an English request into a plan, at once and always the same."""

import re
from typing import Any

from audio_agent_zoo.planner.clauses import Reading, Sound, read_request
from audio_agent_zoo.planner.errors import LanguageError
from audio_agent_zoo.planner.plan import MIN_STEP_S, Plan, PlannerInfo, clean_text
from audio_agent_zoo.planner.repair import repair_plan
from audio_agent_zoo.rates import MAX_DURATION_S, check_duration

MAX_REQUEST_CHARACTERS = 4000

_BED = re.compile(
    r"\b(?:rain\w*|drizzl\w*|downpour|wind\w*|breeze|ocean|sea|waves?|surf|stream\w*|river|brook|creek|water (?:flow|run|trickl)\w*|"
    r"crickets?|cicadas?|insects|fire(?:place)? (?:crackl|burn)\w*|campfire|traffic|crowd\w*|ambien\w*|background|hum\w*|"
    r"engine (?:idl|run)\w*|music|static|white noise|birds (?:chirp|sing|tweet)\w*|birdsong|helicopter\w*|restaurant|street|forest)\b",
    re.I,
)
_SHORT = re.compile(
    r"\b(?:clap of thunder|thunderclap|gunshot|shot|bang|knock\w*|click\w*|slam\w*|shatter\w*|smash\w*|break(?:s|ing)?|"
    r"honk\w*|beep\w*|pop\w*|crack|once|twice|sneez\w*|cough\w*|snap\w*|strike)\b",
    re.I,
)
_SPEECH = re.compile(
    r"\b(?:speak\w*|speech|talk\w*|says?|saying|narrat\w*|convers\w*|announc\w*|whisper\w*|shout\w*|yell\w*)\b",
    re.I,
)
_MUSIC = re.compile(
    r"\b(?:music|melody|song|guitar|piano|violin|cello|trumpet|trombone|drums?|orchestra|fiddle|flute|sing(?:s|ing))\b",
    re.I,
)


def _weight(group: tuple[Sound, ...]) -> float:
    """Share of the timeline a group gets: short impacts less than what goes on."""
    return 0.65 if all(_SHORT.search(sound.prompt) for sound in group) else 1.0


def is_bed(prompt: str) -> bool:
    """Whether a caption names surroundings that go on, such as rain or traffic."""
    return bool(_BED.search(prompt))


def is_short(prompt: str) -> bool:
    """Whether a caption names a single impact."""
    return bool(_SHORT.search(prompt))


def kind_of(prompt: str) -> str:
    """sfx, music or speech."""
    if re.search(r"\bbirds?\b", prompt, re.I):
        return "sfx"
    return "speech" if _SPEECH.search(prompt) else "music" if _MUSIC.search(prompt) else "sfx"


def check_request(text: str) -> str:
    """The request on one line.

    Raises:
        ValueError: If it is empty, too long or holds no words.
        LanguageError: If it is not English.
    """
    if not isinstance(text, str) or not clean_text(text):
        raise ValueError("the request is empty; say what you want to hear.")
    if len(text) > MAX_REQUEST_CHARACTERS:
        raise ValueError(
            f"the request has {len(text)} characters, at most {MAX_REQUEST_CHARACTERS} are accepted; shorten it or "
            "split it into several."
        )
    letters = [c for c in text if c.isalpha()]
    if not letters:
        raise ValueError(f"the request {text.strip()[:40]!r} holds no words; say what you want to hear.")
    if sum(not c.isascii() for c in letters) > 0.2 * len(letters):
        raise LanguageError(
            "the offline planner reads English only; write the request in English, or configure a chat API "
            "(OPENAI_API_KEY or AUDIO_AGENT_PLANNER_BASE_URL) and use planner='openai'."
        )
    return clean_text(text)


class _Layout:
    """Places the sounds of a reading on a timeline."""

    def __init__(self, reading: Reading, duration_s: float) -> None:
        self.duration_s = duration_s
        self.negative_prompt = reading.negative_prompt
        self.events: list[dict[str, Any]] = []
        sounds = [sound for group in reading.groups for sound in group]
        self.beds = self._beds(reading) if len(sounds) > 1 else []
        # Beds run under everything; the groups that are left share the timeline.
        groups = [kept for g in reading.groups if (kept := tuple(s for s in g if not any(s is b for b in self.beds)))]
        for bed in self.beds:
            self._add(bed, 0.0, duration_s, background=True)
        self._place(groups)

    def _beds(self, reading: Reading) -> list[Sound]:
        """Sounds to run through: said to be in the background, or ambiences beside something else."""
        found = []
        for group in reading.groups:
            for sound in group:
                ambience = (
                    len(group) > 1 and _BED.search(sound.prompt) and sound.length_s is None and sound.start_s is None
                )
                if sound.background or ambience:
                    found.append(sound)
        total = sum(len(group) for group in reading.groups)
        if len(found) == total:  # somebody has to stand in front
            found = found[1:] if total > 1 else []
        return found[:1] if total > len(found) else found

    def _place(self, groups: list[tuple[Sound, ...]]) -> None:
        lanes = max(1, 2 - len(self.beds))
        weights = [_weight(group) * (1 if lanes > 1 else len(group)) for group in groups]
        at = 0.0
        for group, weight in zip(groups, weights, strict=True):
            length = self.duration_s * weight / sum(weights)
            fixed = [s for s in group if s.length_s is not None]
            if fixed and len(group) == 1:
                length = min(length, fixed[0].length_s or length) if len(groups) == 1 else length
            self._place_group(group, at, at + length, lanes)
            at += length

    def _place_group(self, group: tuple[Sound, ...], start: float, end: float, lanes: int) -> None:
        """Up to `lanes` sounds share the whole slot; more follow one another, each overlapping its neighbours."""
        if len(group) <= lanes:
            spans = [(start, end)] * len(group)
        elif lanes == 1:
            share = (end - start) / len(group)
            spans = [(start + i * share, start + (i + 1) * share) for i in range(len(group))]
        else:
            share = (end - start) / (len(group) + 1)
            spans = [(start + i * share, start + (i + 2) * share) for i in range(len(group))]
        for sound, (a, b) in zip(group, spans, strict=True):
            self._add(sound, a, b, background=False)

    def _add(self, sound: Sound, start: float, end: float, *, background: bool) -> None:
        if sound.from_end_s is not None:
            start, end = max(0.0, self.duration_s - sound.from_end_s), self.duration_s
        if sound.start_s is not None:
            start = min(sound.start_s, self.duration_s - MIN_STEP_S)
            end = sound.end_s if sound.end_s is not None else max(end, min(start + 1.0, self.duration_s))
        elif sound.end_s is not None:
            end = sound.end_s
        if sound.length_s is not None:
            end = min(self.duration_s, start + sound.length_s)
        self.events.append(
            {
                "prompt": sound.prompt,
                "start": start,
                "end": end,
                "layer": "background" if background else "foreground",
                "kind": kind_of(sound.prompt),
                "negative_prompt": self.negative_prompt,
            }
        )


class RulePlanner:
    """Plans English requests without a network: sequences, simultaneity, beds, explicit times and lengths.

    It invents nothing and understands no scenario: "a man hangs pictures" stays one caption.

    Args:
        max_polyphony: Most sounds at once.
    """

    def __init__(self, max_polyphony: int = 2) -> None:
        self.max_polyphony = max_polyphony

    def plan(self, text: str, duration_s: float = 10.0) -> Plan:
        """Plan a request.

        Args:
            text: English, at most 4,000 characters.
            duration_s: Length in seconds, unless the text names one.

        Raises:
            ValueError: If the text is empty or too long, or the duration unusable.
            LanguageError: If the text is not English.
        """
        check_duration(duration_s)
        request = check_request(text)
        reading = read_request(request)
        notes = []
        if reading.total_s is not None and reading.total_s != duration_s:
            if MIN_STEP_S <= reading.total_s <= MAX_DURATION_S:
                notes.append(f"the text asks for {reading.total_s:g} s; that is the length of the plan.")
                duration_s = reading.total_s
            else:
                notes.append(
                    f"the text asks for {reading.total_s:g} s, which is not possible; it has {duration_s:g} s."
                )
        layout = _Layout(reading if reading.groups else Reading(((Sound(request),),)), max(duration_s, MIN_STEP_S))
        events = sorted(layout.events, key=lambda event: (event["layer"] != "background", event["start"]))
        return repair_plan(
            {"events": sorted(events, key=lambda event: event["start"])},
            duration_s=max(duration_s, MIN_STEP_S),
            request=request,
            planner=PlannerInfo(name="rules"),
            max_polyphony=self.max_polyphony,
            notes=notes,
        )
