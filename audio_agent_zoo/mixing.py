"""Place waveforms on a timeline: fades, loudness, pan, sum, ceiling; and the stems that add up to it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d, uniform_filter1d

from audio_agent_zoo.loudness import loudness_lufs, oversampled_peaks
from audio_agent_zoo.rates import SAMPLE_RATE, check_duration, n_samples

Audio = NDArray[np.float32]

MAX_GAIN_DB = 30.0
"""Most a step is raised: near-silent sound brought to level would be noise."""

_LOOK_AHEAD_S = 0.005
_PEAK_MARGIN_DB = 0.1  # the gain moves between samples, so the ceiling is aimed at from just below


@dataclass(frozen=True)
class Placement:
    """One sound on the timeline.

    Attributes:
        audio: `(samples,)` float; cut at `end_s` with a fade if it is longer.
        start_s: Where it starts, in seconds.
        end_s: Where it must be over, in seconds.
        level_lufs: Loudness it is brought to; None leaves its level alone.
        pan: -1 (left) to 1 (right).
        fade_in_s: Length of the fade-in.
        fade_out_s: Length of the fade-out at the cut.
        muted: Leave it out of the sum; its stem is silent.
        name: How messages call it.
    """

    audio: NDArray[np.floating]
    start_s: float
    end_s: float
    level_lufs: float | None = None
    pan: float = 0.0
    fade_in_s: float = 0.01
    fade_out_s: float = 0.05
    muted: bool = False
    name: str = "a sound"


@dataclass(frozen=True)
class Mix:
    """A mixed timeline.

    Attributes:
        audio: `(samples,)`, or `(samples, 2)` in stereo, float32, within the ceiling.
        stems: One per placement, shaped like `audio`; they add up to it to float precision.
        gains_db: Gain each placement got, in dB.
        limiter_gain_db: Strongest reduction of the ceiling limiter, in dB (0 where it never worked).
        notes: What a listener would want to know: cuts, silence, limiting.
    """

    audio: Audio
    stems: list[Audio]
    gains_db: list[float]
    limiter_gain_db: float
    notes: list[str]


def _fade(n: int) -> NDArray[np.float64]:
    """Equal-power rise over `n` samples."""
    return np.sin(0.5 * np.pi * (np.arange(n) + 0.5) / n)


def _checked(placement: Placement, duration_s: float) -> None:
    if np.ndim(placement.audio) != 1:
        raise ValueError(f"{placement.name} has the shape {np.shape(placement.audio)}; give mono sound (samples,).")
    if not np.isfinite(placement.audio).all():
        raise ValueError(f"{placement.name} holds values that are no numbers; make it again.")
    if not (0 <= placement.start_s < placement.end_s <= duration_s + 1e-6):
        raise ValueError(
            f"{placement.name} lies at {placement.start_s} to {placement.end_s} s; "
            f"it must lie within 0 to {duration_s} s and have a length."
        )
    if not -1 <= placement.pan <= 1:
        raise ValueError(f"{placement.name} has pan {placement.pan}; give -1 (left) to 1 (right).")


def _shaped(placement: Placement, sample_rate: int, notes: list[str]) -> tuple[NDArray[np.float64], float]:
    """The sound cut to its slot, faded and brought to level, and the gain in dB."""
    length = n_samples(placement.end_s, sample_rate) - n_samples(placement.start_s, sample_rate)
    audio = np.asarray(placement.audio[:length], dtype=np.float64)
    if len(audio) < len(placement.audio):
        notes.append(f"{placement.name} was cut to {length / sample_rate:.2f} s, its slot.")
    gain_db = 0.0
    loudness = loudness_lufs(audio, sample_rate)
    if not np.isfinite(loudness):
        notes.append(f"{placement.name} is silent.")
    elif placement.level_lufs is not None:
        gain_db = placement.level_lufs - loudness
        if gain_db > MAX_GAIN_DB:
            notes.append(f"{placement.name} is very quiet: raised by {MAX_GAIN_DB:g} dB, not {gain_db:.1f}.")
            gain_db = MAX_GAIN_DB
    audio = audio * 10 ** (gain_db / 20)
    rise, fall = (min(n_samples(s, sample_rate), len(audio) // 2) for s in (placement.fade_in_s, placement.fade_out_s))
    if rise:
        audio[:rise] *= _fade(rise)
    if fall:
        audio[-fall:] *= _fade(fall)[::-1]
    return audio, gain_db


def _limiter_gain(mixed: NDArray[np.float64], sample_rate: int, ceiling_dbtp: float) -> NDArray[np.float64]:
    """Gain curve that keeps true peaks under the ceiling: a look-ahead minimum, smoothed over its own length."""
    ceiling = 10 ** ((ceiling_dbtp - _PEAK_MARGIN_DB) / 20)
    needed = np.minimum(1.0, ceiling / np.maximum(oversampled_peaks(mixed), 1e-12))
    if needed.min(initial=1.0) >= 1.0:
        return np.ones(len(mixed))
    reach = 2 * n_samples(_LOOK_AHEAD_S, sample_rate) + 1
    # Smoothing the running minimum over the same reach never rises above what a peak inside it needs.
    return np.asarray(uniform_filter1d(minimum_filter1d(needed, reach, mode="nearest"), reach, mode="nearest"))


def mix(
    placements: Sequence[Placement],
    duration_s: float,
    *,
    sample_rate: int = SAMPLE_RATE,
    ceiling_dbtp: float = -1.0,
    channels: int = 1,
) -> Mix:
    """Mix sounds on a timeline of an exact length.

    Args:
        placements: The sounds.
        duration_s: Length in seconds; the result has `round(duration_s * sample_rate)` samples.
        sample_rate: Samples per second of every sound.
        ceiling_dbtp: True peak the mix stays under, in dBTP.
        channels: 1, or 2 for stereo with equal-power pan.

    Raises:
        ValueError: If a sound is not mono, not finite or off the timeline, or channels is neither 1 nor 2.
    """
    check_duration(duration_s)
    if channels not in (1, 2):
        raise ValueError(f"channels is {channels}; give 1 or 2.")
    shape = (n_samples(duration_s, sample_rate),) if channels == 1 else (n_samples(duration_s, sample_rate), 2)
    notes: list[str] = []
    layers: list[NDArray[np.float64]] = []
    gains_db: list[float] = []
    for placement in placements:
        _checked(placement, duration_s)
        layer = np.zeros(shape)
        gain_db = 0.0
        if not placement.muted:
            audio, gain_db = _shaped(placement, sample_rate, notes)
            start = n_samples(placement.start_s, sample_rate)
            audio = audio[: max(0, shape[0] - start)]
            angle = (placement.pan + 1) * np.pi / 4
            layer[start : start + len(audio)] = (
                audio if channels == 1 else audio[:, None] * np.array([np.cos(angle), np.sin(angle)])
            )
        layers.append(layer)
        gains_db.append(gain_db)
    mixed = np.sum(layers, axis=0) if layers else np.zeros(shape)
    gain = _limiter_gain(mixed, sample_rate, ceiling_dbtp)
    reduction_db = 20 * float(np.log10(gain.min(initial=1.0)))
    if reduction_db < -0.05:
        notes.append(f"the limiter lowered the loudest moment by {-reduction_db:.1f} dB to stay under {ceiling_dbtp:g} dBTP.")
    if channels == 2:
        gain = gain[:, None]
    return Mix(
        audio=(mixed * gain).astype(np.float32),
        stems=[(layer * gain).astype(np.float32) for layer in layers],
        gains_db=gains_db,
        limiter_gain_db=reduction_db,
        notes=notes,
    )
