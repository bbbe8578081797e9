"""What every source gives: clips with picture, sound and caption."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FoleyExample:
    """One clip as a source gives it.

    Attributes:
        id: Unique name within the source.
        audio: `(samples,)` float32 in [-1, 1] at 16 kHz.
        captions: What is heard, in one or several wordings; may be empty.
        frames: `(frames, height, width, 3)` uint8 pieces at 21.5 frames per second, in order; read once.
        class_name: Class of the sound, or "".
        onset_s: Onsets in seconds, where they are known.
    """

    id: str
    audio: NDArray[np.float32]
    captions: tuple[str, ...]
    frames: Iterator[NDArray[np.uint8]]
    class_name: str = ""
    onset_s: tuple[float, ...] = ()


class FoleySource(Protocol):
    """Clips by index, the same ones each time, so that an interrupted run can go on."""

    def __len__(self) -> int:
        """Number of clips."""

    def example(self, index: int, image_size: int) -> FoleyExample:
        """Read one clip.

        Args:
            index: From 0.
            image_size: Pixels that the shorter side of the frames needs at least.

        Raises:
            MediaError: If the clip can't be read; it is skipped and reported.
        """

    def identity(self) -> Mapping[str, Any]:
        """Plain values that tell this source from another; the same for the same clips."""
