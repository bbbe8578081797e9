"""Captions of procedural clips, in the manner of AudioCaps, each string belonging to one split.

A caption only says what is true of the clip: its count, pace, size, kind and distance. Which split a
string belongs to is decided by its checksum, so that no test caption is ever seen in training.
"""

import zlib
from dataclasses import replace
from typing import Literal

from audio_agent_zoo.synthesis.catalogue import CATALOGUE
from audio_agent_zoo.synthesis.dsp import Rng
from audio_agent_zoo.synthesis.style import Style

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

_COUNTS = {
    1: ("once", "one time", "a single time"),
    2: ("twice", "two times"),
    3: ("three times",),
    4: ("four times",),
}
_MANY = ("repeatedly", "several times", "again and again", "many times", "continuously")
_FAST = ("quickly", "rapidly", "fast")
_SLOW = ("slowly", "at a slow pace")
_FAR = ("in the distance", "far away", "from afar", "far in the distance")
_PLAIN_TAIL = (
    "nearby",
    "outside",
    "close by",
    "outdoors",
    "inside",
    "in a room",
    "in the open",
    "right here",
)
_LEAD = ("the sound of ", "you hear ", "sound of ", "a recording of ", "noise of ")
_THEN = (" followed by ", ", followed by ", " and then ", ", then ", " then ")
_WHILE = (" while ", " as ", " and ", " with ")


def split_of(caption: str) -> Split:
    """The only split that may use this caption: 8 in 10 train, 1 validation, 1 test."""
    bucket = zlib.crc32(caption.lower().encode()) % 10
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def _article(text: str) -> str:
    words = text.split(" ")
    for i, word in enumerate(words[:-1]):
        if word == "a" and words[i + 1][:1] in "aeiou" and not words[i + 1].startswith("one"):
            words[i] = "an"
        elif word == "an" and words[i + 1][:1] not in "aeiouh":
            words[i] = "a"
    return " ".join(words)


def _one_caption(rng: Rng, class_name: str, style: Style, count: int | None, far: bool, plain: float) -> str:
    sound = CATALOGUE[class_name]
    phrases = sound.materials.get(style.material, ()) or sound.phrases
    adjectives = sound.small if style.pitch > 0.45 else sound.large if style.pitch < -0.45 else ()
    adjective = str(rng.choice(adjectives)) if adjectives and rng.random() < 0.75 else ""
    fitting = [p for p in phrases if "{a}" in p] if adjective else phrases
    text = str(rng.choice(fitting or phrases)).replace("{a}", adjective)
    tail = []
    if sound.countable and sound.strike is not None and count is not None:
        tail.append(str(rng.choice(_COUNTS.get(count, _MANY))))
    if sound.paced and abs(style.pace) > 0.5 and rng.random() < 0.6:
        tail.append(str(rng.choice(_FAST if style.pace > 0 else _SLOW)))
    if far:
        tail.append(str(rng.choice(_FAR)))
    elif rng.random() < plain:
        tail.append(str(rng.choice(_PLAIN_TAIL)))
    if rng.random() < plain and "ing" in text and " is " not in text:  # "the sound of a dog is barking" is no English
        text = str(rng.choice(_LEAD)) + text
    text = _article(" ".join([text, *tail]))
    return text[0].upper() + text[1:] if rng.random() < 0.7 else text


def captions(
    rng: Rng, class_name: str, style: Style, *, count: int | None, far: bool, split: Split, n: int = 4
) -> tuple[str, ...]:
    """Draw up to `n` distinct captions of one sound that belong to `split`.

    Args:
        rng: Source of randomness.
        class_name: A key of `CATALOGUE`.
        style: What the clip sounds like.
        count: Number of events to say, or None to leave it unsaid.
        far: Whether the sound is heard from far away.
        split: Split the strings must belong to.
        n: Most captions to return; at least one is always found.
    """
    found: dict[str, None] = {}
    for attempt in range(400):
        # The rarer splits need more variants than the plain wordings give for some styles.
        text = _one_caption(rng, class_name, style, count, far, plain=0.08 if attempt < 24 else 0.6)
        if attempt == 150:  # saying less is still true, and leaves more wordings to choose from
            style, count = replace(style, pitch=0.0), None
        if split_of(text) == split:
            found[text] = None
        if len(found) >= n or (found and attempt >= 24):
            break
    if not found:
        raise RuntimeError(f"no {split} caption of {class_name} exists for {style}; add phrases to the catalogue.")
    return tuple(found)


def joined_caption(rng: Rng, first: str, second: str, *, together: bool, split: Split) -> str:
    """One sentence for two sounds, in sequence or at the same time; belongs to `split` as a whole.

    Its parts may be of any split: a sentence is new even where its halves are not.
    """
    joints = list(_WHILE if together else _THEN)
    rng.shuffle(joints)
    variants = [first.rstrip(".") + joint + second[0].lower() + second[1:] for joint in joints]
    fitting = [text for text in variants if split_of(text) == split]
    return fitting[0] if fitting else ""
