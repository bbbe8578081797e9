"""The choices that make two clips of one class differ, and that a caption can name."""

from collections.abc import Callable
from dataclasses import dataclass

from audio_agent_zoo.synthesis.dsp import Rng, Signal


@dataclass(frozen=True)
class Style:
    """How a class sounds in one clip.

    Attributes:
        pitch: -1 (large, low) to 1 (small, high).
        pace: -1 (slow) to 1 (quick).
        material: One of the class's materials or kinds, "" where it has none.
    """

    pitch: float = 0.0
    pace: float = 0.0
    material: str = ""

    def hertz(self, low: float, middle: float, high: float) -> float:
        """Frequency at this pitch on the curve through three anchors (geometric in between)."""
        other = high if self.pitch > 0 else low
        return float(middle * (other / middle) ** abs(self.pitch))


@dataclass(frozen=True)
class Strike:
    """Waveform of one event.

    Attributes:
        wave: `(samples,)` at 16 kHz, any scale.
        lead_s: Seconds of sound before the instant that counts as the onset (a rolling ball before the pins).
        body_s: Seconds from the onset after which the event is over although it may still ring.
    """

    wave: Signal
    lead_s: float = 0.0
    body_s: float = 0.1


StrikeMaker = Callable[[Rng, Style], Strike]
TextureMaker = Callable[[Rng, int, Style], Signal]
