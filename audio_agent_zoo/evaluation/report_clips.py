"""What a report shows of a clip: spectrograms, onsets and sound, each small enough to lie in the page itself."""

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.app.spectrogram import FLOOR_DB, mel_decibels
from audio_agent_zoo.metrics.onsets import Onsets
from audio_agent_zoo.rates import SAMPLE_RATE

Audio = NDArray[np.float32]

_MOST_COLUMNS = 560
_STOPS = ((8, 8, 22), (43, 22, 84), (105, 30, 110), (176, 50, 90), (230, 96, 48), (250, 170, 50), (252, 240, 170))
"""From silence to the loudest, even in brightness, so that a print in grey says the same."""


@dataclass(frozen=True, eq=False)
class ReportSound:
    """One sound of a clip.

    Attributes:
        label: Who made it, such as "truth".
        path: File with it, which the page links to where it does not hold the sound itself; None for none.
        audio: `(samples,)` at 16 kHz.
        onsets: Where it starts; None where onsets were not looked for.
    """

    label: str
    path: Path | None
    audio: Audio
    onsets: Onsets | None = None

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return len(self.audio) / SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class ReportClip:
    """One clip: its sounds side by side, the true one first.

    Attributes:
        name: Clip.
        sounds: The truth, and what systems made.
        values: Figure -> value of this clip.
        tolerance_s: How near an onset must lie to a true one, in seconds.
        caption: What it was made from.
    """

    name: str
    sounds: tuple[ReportSound, ...]
    values: Mapping[str, float] = field(default_factory=dict)
    tolerance_s: float = 0.0
    caption: str = ""

    def near(self, sound: ReportSound) -> list[bool]:
        """For each onset of a sound, whether one of the other side lies within the tolerance.

        The other side of the truth is the first system; of a system, the truth.
        """
        truth = self.sounds[0]
        other = truth if sound is not truth else self.sounds[min(1, len(self.sounds) - 1)]
        if sound.onsets is None or other.onsets is None:
            return []
        times = other.onsets.times_s
        return [bool(len(times) and np.abs(times - at).min() < self.tolerance_s) for at in sound.onsets.times_s]


def spread_over(items: Sequence[int], most: int) -> list[int]:
    """At most so many items, evenly from the first to the last."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, max(1, most)).round().astype(int)]


def _palette() -> NDArray[np.uint8]:
    """Colours `(256, 3)`."""
    stops, at = np.array(_STOPS, dtype=np.float64), np.linspace(0, 1, len(_STOPS))
    levels = np.linspace(0, 1, 256)
    return np.stack([np.interp(levels, at, stops[:, channel]) for channel in range(3)], axis=1).round().astype(np.uint8)


def spectrogram_png(audio: Audio, sample_rate: int = SAMPLE_RATE) -> bytes:
    """Log-mel picture as an indexed PNG, low frequencies below.

    Args:
        audio: `(samples,)`.
        sample_rate: Samples per second.
    """
    from PIL import Image

    decibels = mel_decibels(audio, sample_rate)
    pooled = -(-decibels.shape[1] // _MOST_COLUMNS)
    if pooled > 1:
        # The loudest of several columns stands for them, so that no click goes missing.
        decibels = np.maximum.reduceat(decibels, np.arange(0, decibels.shape[1], pooled), axis=1)
    # No eye tells 64 steps from 256, and PNG packs them in half the space.
    levels = (np.round((decibels[::-1] / FLOOR_DB + 1.0) * 63) * (255 / 63)).round().astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(levels), mode="P")
    image.putpalette(_palette().tobytes())
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()


def embedded_sound(audio: Audio, sample_rate: int = SAMPLE_RATE) -> bytes:
    """A sound as 16-bit FLAC, which browsers play and which is half a WAV.

    Args:
        audio: `(samples,)`; what lies beyond full scale is clipped.
        sample_rate: Samples per second.
    """
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.clip(audio, -1.0, 1.0), sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def data_address(kind: str, content: bytes) -> str:
    """Bytes as an address that a page holds in itself."""
    return f"data:{kind};base64,{b64encode(content).decode('ascii')}"
