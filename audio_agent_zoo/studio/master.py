"""The finished mix as it is handed out: its rate, its loudness, its ceiling, and what was measured."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.loudness import limiter_gain, loudness_lufs, true_peak_dbtp
from audio_agent_zoo.media import resample
from audio_agent_zoo.mixing import MAX_GAIN_DB

Audio = NDArray[np.float32]

LOUDNESS_PROFILES: dict[str, float | None] = {"none": None, "-14": -14.0, "-16": -16.0, "-23": -23.0}
"""Names of the usual targets: as mixed, streaming, podcasts and mobile, broadcast (EBU R128)."""

SAMPLE_RATES = (16_000, 48_000)
"""Samples per second a delivery may have."""

MAX_LIMITING_DB = 12.0
"""Most the limiter takes from a peak to make the rest louder: beyond it, what is loud no longer sounds so."""

_LOUDNESS_TOLERANCE_LU, _ATTEMPTS = 0.05, 8
_WORTH_A_NOTE_LU = 0.5
_GRID = 2.0**23


@dataclass(frozen=True)
class Delivery:
    """How sound is handed out.

    Attributes:
        file_format: Kind of file.
        bits: Bits per sample; "32f" is float, in WAV alone.
        sample_rate: Samples per second of every file.
        loudness_lufs: Loudness the master is brought to; None leaves it as mixed.
        ceiling_dbtp: True peak the master stays at or under, in dBTP.
        frame_rate: Frames per second of timecodes; None for those of the video, or 25 without one.
        start_hour: Hour the first frame has in timecodes; post-production often wants 1.

    Raises:
        ValueError: If a value is not among those accepted.
    """

    file_format: Literal["wav", "flac"] = "wav"
    bits: Literal["16", "24", "32f"] = "24"
    sample_rate: int = 48_000
    loudness_lufs: float | None = None
    ceiling_dbtp: float = -1.0
    frame_rate: float | None = None
    start_hour: int = 0

    def __post_init__(self) -> None:
        if self.file_format not in ("wav", "flac"):
            raise ValueError(f"file_format is {self.file_format!r}; choose wav or flac.")
        if self.bits not in ("16", "24", "32f"):
            raise ValueError(f"bits is {self.bits!r}; choose 16, 24 or 32f.")
        if self.file_format == "flac" and self.bits == "32f":
            raise ValueError("FLAC holds no float; choose 24 bits, or wav.")
        if self.sample_rate not in SAMPLE_RATES:
            raise ValueError(f"sample_rate is {self.sample_rate}; choose {' or '.join(map(str, SAMPLE_RATES))}.")
        if self.loudness_lufs is not None and not -40 <= self.loudness_lufs <= -8:
            raise ValueError(f"loudness_lufs is {self.loudness_lufs}; give -40 to -8, such as -23, or None.")
        if not -20 <= self.ceiling_dbtp <= 0:
            raise ValueError(f"ceiling_dbtp is {self.ceiling_dbtp}; give -20 to 0, such as -1.")
        if self.frame_rate is not None and not 1 <= self.frame_rate <= 240:
            raise ValueError(f"frame_rate is {self.frame_rate}; give 1 to 240 frames per second, or None.")
        if not 0 <= self.start_hour <= 23:
            raise ValueError(f"start_hour is {self.start_hour}; give 0 to 23.")

    @property
    def suffix(self) -> str:
        """End of a sound file's name."""
        return f".{self.file_format}"

    @property
    def subtype(self) -> str:
        """Name of the sample format for `media.write_audio`."""
        return {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"}[self.bits]


@dataclass(frozen=True)
class Master:
    """A master and what was measured of it.

    Attributes:
        audio: `(samples,)` or `(samples, 2)` float32 within the ceiling.
        sample_rate: Samples per second.
        target_lufs: Loudness asked for, or None.
        loudness_lufs: Its loudness (minus infinity for silence).
        true_peak_dbtp: Its true peak.
        gain_db: Gain between the sum of the stems and the limiter.
        limiter_gain_db: The most the limiter took, as a negative number of dB or 0.
        notes: What a listener would want to know.
    """

    audio: Audio = field(repr=False)
    sample_rate: int
    target_lufs: float | None
    loudness_lufs: float
    true_peak_dbtp: float
    gain_db: float
    limiter_gain_db: float
    notes: tuple[str, ...] = ()


def on_24_bit_grid(audio: NDArray[np.floating]) -> Audio:
    """Sound rounded to what a 24-bit file holds, so that sums of it are exact."""
    return (np.round(np.asarray(audio, dtype=np.float64) * _GRID) / _GRID).astype(np.float32)


def at_rate(audio: NDArray[np.floating], source_rate: int, sample_rate: int, length: int) -> Audio:
    """Sound at another rate with exactly `length` samples; resampling itself may end one sample off."""
    made = np.asarray(resample(np.asarray(audio, dtype=np.float32), source_rate, sample_rate))
    missing = length - len(made)
    if missing > 0:
        made = np.pad(made, [(0, missing)] + [(0, 0)] * (made.ndim - 1))
    return np.ascontiguousarray(made[:length], dtype=np.float32)


def make_master(finished: Audio, summed: NDArray[np.floating], delivery: Delivery) -> Master:
    """The master of a mix.

    Without a loudness to reach, it is the finished mix, limited once more where its new rate or a lower
    ceiling asks for that. With one, it is made from the sum of the stems, so that nothing is limited twice.

    Args:
        finished: The mix as it was heard, `(samples,)` or `(samples, 2)`, at the rate of the delivery.
        summed: The sum of its stems before the limiter, shaped like it.
        delivery: Loudness and ceiling.
    """
    notes: list[str] = []
    target, rate = delivery.loudness_lufs, delivery.sample_rate
    if target is None or not np.isfinite(loudness_lufs(summed, rate)):
        if target is not None:
            notes.append(f"The master is silent, so it was not brought to {target:g} LUFS.")
        audio, limiter_db = _limited(finished, rate, delivery.ceiling_dbtp)
        gain_db = 0.0
    else:
        audio, gain_db, limiter_db = _at_loudness(summed, rate, target, delivery.ceiling_dbtp, notes)
    if limiter_db < -0.1:
        notes.append(f"The limiter took {-limiter_db:.1f} dB from the loudest moment.")
    return Master(
        audio, rate, target, loudness_lufs(audio, rate), true_peak_dbtp(audio, rate), gain_db, limiter_db, tuple(notes)
    )


def _limited(audio: NDArray[np.floating], sample_rate: int, ceiling_dbtp: float) -> tuple[Audio, float]:
    """Sound under the ceiling, and the most that took in dB."""
    gain = limiter_gain(audio, sample_rate, ceiling_dbtp)
    lowest_db = 20 * float(np.log10(gain.min(initial=1.0)))
    return (audio * (gain if audio.ndim == 1 else gain[:, None])).astype(np.float32), lowest_db


def _at_loudness(
    audio: NDArray[np.floating], sample_rate: int, target_lufs: float, ceiling_dbtp: float, notes: list[str]
) -> tuple[Audio, float, float]:
    """Sound at a loudness and under a ceiling, with the gain before the limiter and the most it took, in dB."""
    headroom_db = ceiling_dbtp - true_peak_dbtp(audio, sample_rate)
    most_db = min(MAX_GAIN_DB, headroom_db + MAX_LIMITING_DB)
    gain_db = min(target_lufs - loudness_lufs(audio, sample_rate), most_db)
    for attempt in range(_ATTEMPTS):
        made, limiter_db = _limited(audio * 10 ** (gain_db / 20), sample_rate, ceiling_dbtp)
        # What the limiter takes is lost to the loudness too, and is only known afterwards.
        missing = target_lufs - loudness_lufs(made, sample_rate)
        is_at_most = missing > 0 and gain_db >= most_db
        if abs(missing) <= _LOUDNESS_TOLERANCE_LU or is_at_most or attempt == _ATTEMPTS - 1:
            break
        gain_db = min(gain_db + missing, most_db)
    if missing > _WORTH_A_NOTE_LU:
        reason = (
            f"it was raised by {gain_db:.0f} dB already"
            if most_db == MAX_GAIN_DB
            else f"its peaks would be limited by more than {MAX_LIMITING_DB:g} dB"
        )
        notes.append(f"The master stays {missing:.1f} LU under {target_lufs:g} LUFS: {reason}.")
    return made, gain_db, limiter_db
