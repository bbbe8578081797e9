"""Place waveforms on a timeline: fades, loudness, pan, sum, ceiling; and the stems that add up to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.loudness import limiter_gain, loudness_lufs
from audio_agent_zoo.rates import SAMPLE_RATE, check_duration, n_samples

Audio = NDArray[np.float32]

MAX_GAIN_DB = 24.0
"""Most a sound is raised to reach its level: beyond it, what rises is noise. Lowering has no bound."""

# The grid of 24-bit PCM. Numbers on it add up exactly, in any order, and survive a 24-bit file.
_GRID = 2.0**23

_GUARD_FADE_S = 0.02  # a fade-in up to here guards against a click; a longer one is wanted for itself
_SHORTEST_FADE_S = 0.0005
_ATTACK_SHARE = 0.25  # share of the peak by which an attack has begun


@dataclass(frozen=True)
class Placement:
    """One sound on the timeline.

    Attributes:
        audio: `(samples,)` float, full scale at 1. Longer than its slot, it is cut there; shorter, silence
            follows.
        start_s: Where it starts, in seconds.
        end_s: Where it must be over, in seconds.
        level_lufs: Loudness it is brought to; None leaves its level alone.
        pan: -1 (left) to 1 (right), equal-power; heard with two channels alone.
        fade_in_s: Length of the fade-in in seconds. Up to 0.02 it guards against a click and is shortened (to
            0.0005 at least) so as to be over when the attack begins; a longer one is kept.
        fade_out_s: Length of the fade-out before the sound's end in seconds.
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
        audio: `(samples,)`, or `(samples, 2)` in stereo, float32, within the ceiling: `unlimited` times
            `limiter_gain`.
        stems: One per placement, shaped like `audio`, before the limiter. All on the grid of 24-bit numbers:
            their sum is exact in any order, also when read back from 24-bit or float files.
        gains_db: Gain each placement got, in dB.
        limiter_gain: `(samples,)` float32 in (0, 1], what the ceiling took from every stem alike.
        limiter_gain_db: Its lowest value in dB (0 where nothing was above the ceiling).
        notes: What a listener would want to know: cuts, silence, limiting.
    """

    audio: Audio
    stems: list[Audio]
    gains_db: list[float]
    limiter_gain: Audio = field(repr=False)
    limiter_gain_db: float
    notes: list[str]

    @property
    def unlimited(self) -> NDArray[np.float64]:
        """The exact sum of the stems, before the limiter; shaped like `audio`."""
        total = np.zeros(self.audio.shape)
        for stem in self.stems:
            total += stem
        return total


def _checked(placement: Placement, duration_s: float) -> None:
    name = placement.name
    if np.ndim(placement.audio) != 1:
        raise ValueError(f"{name} has the shape {np.shape(placement.audio)}; give mono sound (samples,).")
    if not np.isfinite(placement.audio).all():
        raise ValueError(f"{name} holds values that are no numbers (NaN or infinity); make it again.")
    if not (0 <= placement.start_s < placement.end_s <= duration_s + 1e-6):
        raise ValueError(
            f"{name} lies at {placement.start_s} to {placement.end_s} s; "
            f"it must lie within 0 to {duration_s} s and have a length."
        )
    if not -1 <= placement.pan <= 1:
        raise ValueError(f"{name} has pan {placement.pan}; give -1 (left) to 1 (right).")
    if placement.level_lufs is not None and not np.isfinite(placement.level_lufs):
        raise ValueError(f"{name} has level_lufs {placement.level_lufs}; give LUFS, such as -18, or None.")
    for what in (placement.fade_in_s, placement.fade_out_s):
        if not (np.isfinite(what) and what >= 0):
            raise ValueError(f"{name} has a fade of {what} s; give 0 or more seconds.")


def _rise(n: int) -> NDArray[np.float64]:
    """Equal-power rise over `n` samples: a quarter sine, whose power is a raised cosine."""
    return np.asarray(np.sin(0.5 * np.pi * (np.arange(n) + 0.5) / n))


def _peak(audio: NDArray[np.float64]) -> float:
    """Largest magnitude, without a second array as long as the sound."""
    return float(max(np.max(audio, initial=0.0), -np.min(audio, initial=0.0)))


def _fade_in_length(audio: NDArray[np.float64], fade_in_s: float, sample_rate: int) -> int:
    """Samples of the fade-in; one that only guards against a click is over when the attack begins."""
    length = n_samples(fade_in_s, sample_rate)
    if fade_in_s > _GUARD_FADE_S:
        return length
    risen = np.abs(audio[:length]) >= _ATTACK_SHARE * _peak(audio)
    attack = int(np.argmax(risen)) if risen.any() else length
    return min(length, max(attack, n_samples(_SHORTEST_FADE_S, sample_rate)))


def _faded(audio: NDArray[np.float64], placement: Placement, sample_rate: int) -> NDArray[np.float64]:
    rise = min(_fade_in_length(audio, placement.fade_in_s, sample_rate), len(audio) // 2)
    fall = min(n_samples(placement.fade_out_s, sample_rate), len(audio) - rise)
    audio[:rise] *= _rise(rise) if rise else 1.0
    if fall:
        audio[-fall:] *= _rise(fall)[::-1]
    return audio


def _level_gain_db(audio: NDArray[np.float64], placement: Placement, sample_rate: int, notes: list[str]) -> float:
    """Gain in dB that brings a faded sound to its level, as far as that does it good."""
    loudness = loudness_lufs(audio, sample_rate)
    if not np.isfinite(loudness):
        notes.append(f"{placement.name} is silent.")
        return 0.0
    if placement.level_lufs is None:
        return 0.0
    wanted = placement.level_lufs - loudness
    # One sound alone never needs the limiter for more than its ceiling, and its stem fits into a file.
    headroom = -20 * float(np.log10(_peak(audio)))
    gain_db = min(wanted, MAX_GAIN_DB, headroom)
    if wanted - gain_db > 0.5:
        reason = "its peaks are at full scale" if headroom <= MAX_GAIN_DB else f"it was raised by {gain_db:.0f} dB"
        notes.append(
            f"{placement.name} stays at {loudness + gain_db:.1f} LUFS, {wanted - gain_db:.1f} dB under its "
            f"level: {reason}."
        )
    return gain_db


def _shaped(placement: Placement, length: int, sample_rate: int, notes: list[str]) -> tuple[Audio, float]:
    """The sound cut to its slot of `length` samples, faded and brought to level; and the gain in dB."""
    given = len(placement.audio)
    audio = _faded(np.array(placement.audio[:length], dtype=np.float64), placement, sample_rate)
    if given > length:
        notes.append(
            f"{placement.name} lasts {given / sample_rate:.2f} s and was cut to its slot of "
            f"{length / sample_rate:.2f} s."
        )
    elif length - given > 0.05 * sample_rate:
        notes.append(
            f"{placement.name} lasts {given / sample_rate:.2f} s; silence follows to the end of its slot of "
            f"{length / sample_rate:.2f} s."
        )
    gain_db = _level_gain_db(audio, placement, sample_rate, notes)
    audio *= 10 ** (gain_db / 20)
    return audio.astype(np.float32), gain_db


def _on_grid(audio: NDArray[np.floating]) -> Audio:
    # A power of two scales float32 without error, and its 24 bits hold every step up to full scale.
    steps = audio * np.asarray(_GRID, dtype=audio.dtype)
    np.round(steps, out=steps)
    steps /= _GRID
    return steps.astype(np.float32, copy=False)


def _panned(audio: Audio, pan: float, channels: int) -> Audio:
    if channels == 1:
        return _on_grid(audio)
    angle = (pan + 1) * np.pi / 4
    return _on_grid(audio[:, None] * np.array([np.cos(angle), np.sin(angle)]))


def mix(
    placements: Sequence[Placement],
    duration_s: float,
    *,
    sample_rate: int = SAMPLE_RATE,
    ceiling_dbtp: float = -1.0,
    channels: int = 1,
) -> Mix:
    """Mix sounds on a timeline of an exact length.

    Each sound is cut to its slot, faded, brought to its loudness (raised by 24 dB at most, and never beyond
    full scale), panned and added; a look-ahead limiter keeps the sum under the ceiling.

    Args:
        placements: The sounds.
        duration_s: Length in seconds; the result has `round(duration_s * sample_rate)` samples.
        sample_rate: Samples per second of every sound.
        ceiling_dbtp: True peak the mix stays at or under, in dBTP.
        channels: 1, or 2 for stereo with equal-power pan.

    Raises:
        ValueError: If a sound is not mono, not finite or off the timeline, or an argument is out of range.
    """
    check_duration(duration_s)
    if channels not in (1, 2):
        raise ValueError(f"channels is {channels}; give 1 or 2.")
    if not -60 <= ceiling_dbtp <= 0:
        raise ValueError(f"ceiling_dbtp is {ceiling_dbtp}; give -60 to 0.")
    total = n_samples(duration_s, sample_rate)
    shape = (total,) if channels == 1 else (total, 2)
    notes: list[str] = []
    stems: list[Audio] = []
    gains_db: list[float] = []
    mixed = np.zeros(shape)
    for placement in placements:
        _checked(placement, duration_s)
        stem, gain_db = np.zeros(shape, dtype=np.float32), 0.0
        if not placement.muted:
            start = n_samples(placement.start_s, sample_rate)
            end = min(total, n_samples(placement.end_s, sample_rate))
            shaped, gain_db = _shaped(placement, end - start, sample_rate, notes)
            place = slice(start, start + len(shaped))
            stem[place] = _panned(shaped, placement.pan, channels)
            del shaped  # ten minutes of it are not kept beside the stem
            mixed[place] += stem[place]
        stems.append(stem)
        gains_db.append(gain_db)
    gain = limiter_gain(mixed, sample_rate, ceiling_dbtp)
    lowest_db = 20 * float(np.log10(gain.min(initial=1.0)))
    if lowest_db < -0.1:
        notes.append(f"The limiter took {-lowest_db:.1f} dB from the loudest moment to keep {ceiling_dbtp:g} dBTP.")
    mixed *= gain if channels == 1 else gain[:, None]
    return Mix(mixed.astype(np.float32), stems, gains_db, gain, lowest_db, notes)
