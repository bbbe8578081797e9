"""One clip of the procedural Foley world from a seed: sound, captions, exact events."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.rates import SAMPLE_RATE, check_duration, n_samples
from audio_agent_zoo.synthesis.captions import SPLITS, Split, captions, joined_caption
from audio_agent_zoo.synthesis.catalogue import CATALOGUE, CLASS_NAMES, SoundClass
from audio_agent_zoo.synthesis.dsp import Rng, Signal, add, distant, room, unit_peak
from audio_agent_zoo.synthesis.events import SoundEvent
from audio_agent_zoo.synthesis.style import Strike, Style

PEAK = 0.95
"""Peak of every clip, as the public mel front end normalises its input."""


@dataclass(frozen=True)
class FoleyClip:
    """A procedural clip with everything that is known about it.

    Attributes:
        audio: `(samples,)` float32 at 16 kHz, peak 0.95.
        class_name: Class of its (first) sound.
        captions: Distinct captions that are true of it, all of its split.
        events: Every sounding event in order of onset.
        duration_s: Length in seconds.
        seed: With `split`, reproduces it.
        split: train, validation or test.
        style: Pitch, pace and material it was made with.
        second_class: Class of a second sound, or "".
    """

    audio: NDArray[np.float32]
    class_name: str
    captions: tuple[str, ...]
    events: tuple[SoundEvent, ...]
    duration_s: float
    seed: int
    split: Split
    style: Style
    second_class: str = ""

    @property
    def caption(self) -> str:
        """The first of its captions."""
        return self.captions[0]


def draw_style(rng: Rng, sound: SoundClass) -> Style:
    """Draw pitch, pace and material for one clip of a class."""
    material = str(rng.choice(list(sound.materials))) if sound.materials else ""
    return Style(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1)), material)


def _gap(rng: Rng, sound: SoundClass, style: Style) -> float:
    slow, quick = sound.gap_s[1], sound.gap_s[0]
    if sound.regular:
        return quick + (slow - quick) * (1 - style.pace) / 2
    middle = quick + (slow - quick) * rng.random()
    return float(middle)


def _strikes(rng: Rng, sound: SoundClass, style: Style, n: int, count: int | None) -> tuple[Signal, list[SoundEvent]]:
    """Lay strikes out over `n` samples: `count` of them, or as many as fit."""
    assert sound.strike is not None
    out, events = np.zeros(n), list[SoundEvent]()
    duration_s = n / SAMPLE_RATE
    at = float(rng.uniform(0.01, 0.1)) if rng.random() < 0.75 else float(rng.uniform(0.0, 0.25) * duration_s)
    beat: float | None = None
    left_in_burst = int(rng.integers(sound.burst[0], sound.burst[1] + 1))
    while count is None or len(events) < count:
        strike: Strike = sound.strike(rng, style)
        onset = at + strike.lead_s
        if events and onset + min(strike.body_s, 0.35) > duration_s:
            break
        strength = float(rng.uniform(0.7, 1.0)) if len(events) else 1.0
        add(out, strength * unit_peak(strike.wave), round(at * SAMPLE_RATE))
        if onset < duration_s:
            events.append(SoundEvent(onset, min(onset + strike.body_s, duration_s), strength))
        left_in_burst -= 1
        step = strike.lead_s + strike.body_s + _gap(rng, sound, style)
        if sound.regular:
            beat = beat or step
            step = beat * float(rng.normal(1, 0.02))
        if sound.burst[1] > 1 and left_in_burst <= 0:
            step += float(rng.uniform(0.35, 0.9))
            left_in_burst = int(rng.integers(sound.burst[0], sound.burst[1] + 1))
        at += max(step, 0.03)
        if at >= duration_s:
            break
    return out, events


def _pick_count(rng: Rng, sound: SoundClass) -> int | None:
    if sound.strike is None or not sound.countable:
        return None
    choice = rng.random()
    return 1 if choice < 0.2 else 2 if choice < 0.32 else 3 if choice < 0.44 else None


def _sound(
    rng: Rng, class_name: str, n: int, split: Split, n_captions: int
) -> tuple[Signal, list[SoundEvent], tuple[str, ...], Style]:
    sound = CATALOGUE[class_name]
    style = draw_style(rng, sound)
    asked = _pick_count(rng, sound)
    if sound.texture is not None:
        wave, events = sound.texture(rng, n, style), [SoundEvent(0.0, n / SAMPLE_RATE, 1.0)]
    else:
        wave, events = _strikes(rng, sound, style, n, asked)
    far = bool(rng.random() < 0.1)
    if far:
        wave = distant(rng, wave)
    elif rng.random() < 0.3:
        wave = room(rng, wave, rng.uniform(0.15, 0.5), rng.uniform(0.05, 0.2))
    said = len(events) if (asked and rng.random() < 0.9) or (not asked and rng.random() < 0.25) else None
    if said is not None and asked is None and said <= 4:
        said = said if rng.random() < 0.8 else None
    return (
        wave,
        events,
        captions(rng, class_name, style, count=said, far=far, split=split, n=n_captions),
        style,
    )


def make_clip(
    seed: int,
    split: Split = "train",
    duration_s: float = 2.56,
    *,
    class_name: str | None = None,
    n_captions: int = 4,
) -> FoleyClip:
    """Make one clip with one kind of sound.

    Args:
        seed: Any non-negative integer; the same arguments always give the same clip.
        split: Clips and captions of different splits never coincide.
        duration_s: Length in seconds, in (0, 600].
        class_name: A key of `CATALOGUE`; drawn uniformly when None.
        n_captions: Most caption variants to give.

    Raises:
        ValueError: For an unknown class or split, or an unusable duration.
    """
    check_duration(duration_s)
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; choose one of {', '.join(SPLITS)}.")
    if class_name is not None and class_name not in CATALOGUE:
        raise ValueError(f"class_name is {class_name!r}; choose one of {', '.join(CLASS_NAMES)}.")
    rng = np.random.default_rng([seed, SPLITS.index(split), 1])
    name = class_name or str(rng.choice(CLASS_NAMES))
    wave, events, texts, style = _sound(rng, name, n_samples(duration_s), split, n_captions)
    audio = (PEAK * unit_peak(wave)).astype(np.float32)
    return FoleyClip(audio, name, texts, tuple(events), duration_s, seed, split, style)


def make_pair(seed: int, split: Split = "train", duration_s: float = 10.24, *, together: bool = False) -> FoleyClip:
    """Make one clip of two different sounds, one after the other or at once, under one sentence.

    Raises:
        ValueError: For an unknown split or an unusable duration.
    """
    check_duration(duration_s)
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; choose one of {', '.join(SPLITS)}.")
    rng = np.random.default_rng([seed, SPLITS.index(split), 2])
    n = n_samples(duration_s)
    caption = ""
    while not caption:
        names = [str(name) for name in rng.choice(CLASS_NAMES, 2, replace=False)]
        border = n if together else int(n * rng.uniform(0.35, 0.65))
        first = _sound(rng, names[0], border, split, 1)
        second = _sound(rng, names[1], n if together else n - border, split, 1)
        caption = joined_caption(rng, first[2][0], second[2][0], together=together, split=split)
    at = 0 if together else border
    wave = np.zeros(n)
    add(wave, unit_peak(first[0]), 0)
    add(wave, float(rng.uniform(0.5, 1.0)) * unit_peak(second[0]), at)
    shift = at / SAMPLE_RATE
    moved = [replace(e, start_s=e.start_s + shift, end_s=e.end_s + shift) for e in second[1]]
    events = tuple(sorted([*first[1], *moved], key=lambda e: e.start_s))
    audio = (PEAK * unit_peak(wave)).astype(np.float32)
    return FoleyClip(audio, names[0], (caption,), events, duration_s, seed, split, first[3], second_class=names[1])
