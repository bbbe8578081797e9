"""When something happens in a clip of the procedural Foley world."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SoundEvent:
    """One sounding event: what the picture must show and the onset metrics must find.

    Attributes:
        start_s: Onset in seconds from the start of the clip.
        end_s: Instant after which the event is over, in seconds.
        strength: Loudness relative to the loudest event of the clip, in [0, 1].
    """

    start_s: float
    end_s: float
    strength: float = 1.0
