"""Pieces of sound files on a timeline, as an editor shows them: place, source offset, level, pan and fades."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.mixing import Placement, mix
from audio_agent_zoo.planner.plan import Step
from audio_agent_zoo.rates import n_samples

Audio = NDArray[np.float32]

EXACT = 1e-6
"""Largest difference between a stem and its rebuilt self that still counts as the same sound (-120 dB)."""

_GUARD_FADE_S = 0.02  # the mixer shortens fade-ins up to here, and by how much only the stem tells


@dataclass(frozen=True)
class Item:
    """A piece of a sound file on the timeline; all positions in samples of `sample_rate`.

    With `level` as its gain, a quarter-sine fade at both ends and equal-power pan, it sounds as the stem does.

    Attributes:
        step: Step it sounds for.
        sample_rate: Samples per second.
        start: Where it begins on the timeline.
        length: How long it sounds.
        source_offset: Where it begins in its file; what lies before and after it are its handles.
        level: Its gain as a factor.
        pan: -1 (left) to 1 (right); None for sound that is not panned (a mono timeline, or a finished stem).
        fade_in: Length of the fade-in.
        fade_out: Length of the fade-out.
        is_stem: Its file is the finished stem, level and fades in it, since no render was there to rebuild it from.
        file: Name of its file, relative to the project.
        file_length: Samples its file holds.
    """

    step: Step
    sample_rate: int
    start: int
    length: int
    source_offset: int = 0
    level: float = 1.0
    pan: float | None = None
    fade_in: int = 0
    fade_out: int = 0
    is_stem: bool = False
    file: str = ""
    file_length: int = 0

    def at_rate(self, sample_rate: int) -> "Item":
        """The same item counted in samples of another rate, within its file."""
        counts = (self.start, self.length, self.source_offset, self.fade_in, self.fade_out, self.file_length)
        start, length, offset, fade_in, fade_out, file_length = (
            round(count * sample_rate / self.sample_rate) for count in counts
        )
        return replace(
            self,
            sample_rate=sample_rate,
            start=start,
            length=min(length, file_length - offset),
            source_offset=offset,
            fade_in=fade_in,
            fade_out=fade_out,
            file_length=file_length,
        )

    @property
    def level_db(self) -> float:
        """Its gain in dB."""
        return 20 * float(np.log10(max(self.level, 1e-10)))

    @property
    def name(self) -> str:
        """What an editor calls it."""
        return f"{self.step.id} {self.step.prompt}"


def item_of_render(
    step: Step, stem: NDArray[np.floating] | None, render: NDArray[np.floating], source_offset: int, sample_rate: int
) -> Item | None:
    """The item that plays a step's untrimmed render as its stem sounds; None if that can't be done.

    Level and fade-in are measured on the stem instead of taken from the plan, because the mixer adapts both
    to the sound (no attack is faded, no noise is raised without bound). The result is checked against the stem.

    Args:
        step: The step.
        stem: Its stem, `(samples,)` or `(samples, 2)`.
        render: Its sound before anything was done to it, `(samples,)`, with what lies beyond the step.
        source_offset: Sample of the render at which the step begins.
        sample_rate: Samples per second of both.
    """
    if stem is None:
        return None
    start = n_samples(step.start_s, sample_rate)
    end = min(len(stem), n_samples(step.end_s, sample_rate))
    source = np.asarray(render[source_offset : source_offset + end - start], dtype=np.float64)
    stem = np.asarray(stem, dtype=np.float64)
    if not len(source) or not 0 <= source_offset < len(render):
        return None
    pan = None if stem.ndim == 1 else step.pan
    sides = np.ones(1) if pan is None else np.array([np.cos((pan + 1) * np.pi / 4), np.sin((pan + 1) * np.pi / 4)])
    heard = stem.reshape(len(stem), -1)[start : start + len(source)]
    # Equal-power sides have a length of one, so this is the sound before it was panned.
    level, fade_in, fade_out = _measured(heard @ sides, source, step, sample_rate)
    rebuilt = level * fades(len(source), fade_in, fade_out) * source
    outside = max(np.max(np.abs(stem[:start]), initial=0.0), np.max(np.abs(stem[start + len(source) :]), initial=0.0))
    if max(outside, np.max(np.abs(rebuilt[:, None] * sides - heard))) > EXACT:
        return None
    return Item(
        step=step,
        sample_rate=sample_rate,
        start=start,
        length=len(source),
        source_offset=source_offset,
        level=level,
        pan=pan,
        fade_in=fade_in,
        fade_out=fade_out,
        file_length=len(render),
    )


def item_of_stem(step: Step, stem: NDArray[np.floating], sample_rate: int) -> Item:
    """The item that plays the step's slot of its finished stem."""
    start = n_samples(step.start_s, sample_rate)
    return Item(
        step=step,
        sample_rate=sample_rate,
        start=start,
        length=min(len(stem), n_samples(step.end_s, sample_rate)) - start,
        source_offset=start,
        is_stem=True,
        file_length=len(stem),
    )


def unmuted_stem(
    step: Step, render: NDArray[np.floating], source_offset: int, duration_s: float, sample_rate: int, channels: int
) -> Audio:
    """The stem a muted step would have, so that unmuting it in an editor sounds right."""
    placement = Placement(
        audio=np.asarray(render)[source_offset:],
        start_s=step.start_s,
        end_s=step.end_s,
        level_lufs=step.level_lufs,
        pan=step.pan,
        fade_in_s=step.fade_in_s,
        fade_out_s=step.fade_out_s,
        name=step.id,
    )
    return mix([placement], duration_s, sample_rate=sample_rate, channels=channels).stems[0]


def fades(length: int, fade_in: int, fade_out: int) -> NDArray[np.float64]:
    """Gain over `length` samples with a quarter-sine rise and fall (equal power), as the mixer has them."""
    curve = np.ones(length)
    if fade_in:
        curve[:fade_in] *= np.sin(0.5 * np.pi * (np.arange(fade_in) + 0.5) / fade_in)
    if fade_out:
        curve[-fade_out:] *= np.sin(0.5 * np.pi * (np.arange(fade_out) + 0.5) / fade_out)[::-1]
    return curve


def _measured(
    heard: NDArray[np.float64], source: NDArray[np.float64], step: Step, sample_rate: int
) -> tuple[float, int, int]:
    """Level, fade-in and fade-out that turn the source into what is heard, by least squares."""
    length, half = len(source), len(source) // 2
    longest = min(n_samples(step.fade_in_s, sample_rate), half)
    # A long fade is as long as the plan says; a short one may be any shorter.
    shortest = 0 if step.fade_in_s <= _GUARD_FADE_S else longest
    fade_out = n_samples(step.fade_out_s, sample_rate)
    tail = (source * fades(length, 0, min(fade_out, length)))[longest:]
    energy = float(tail @ tail)
    # Beyond the longest fade-in all candidates are alike, unless fades meet; what sounds there tells the level.
    is_clear = length - fade_out >= longest and energy > 1e-3 * float(source @ source)
    head = longest if is_clear else length
    level = float(tail @ heard[longest:]) / energy if is_clear else None
    best, lowest = (longest, min(fade_out, length - longest)), np.inf
    for fade_in in range(longest, shortest - 1, -1):
        fall = min(fade_out, length - fade_in)
        shape = source[:head] * fades(length, fade_in, fall)[:head]
        wrong = float(np.sum(((_fitted(shape, heard[:head]) if level is None else level) * shape - heard[:head]) ** 2))
        if wrong < lowest:
            best, lowest = (fade_in, fall), wrong
    return _fitted(source * fades(length, *best), heard), *best


def _fitted(shape: NDArray[np.float64], heard: NDArray[np.float64]) -> float:
    """Factor that brings one sound nearest to another; 1 for silence."""
    energy = float(shape @ shape)
    return float(shape @ heard) / energy if energy > 0 else 1.0
