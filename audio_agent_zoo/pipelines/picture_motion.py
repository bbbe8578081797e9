"""Whether anything moves in a picture, and what there is to say where it does not."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_STILL = 0.3
"""Mean change from frame to frame, in grey levels of 255, below which nothing is said to move."""


class PictureMotion:
    """Looks at a video piece by piece."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self._change = 0.0

    def look(self, piece: NDArray[np.uint8]) -> None:
        """Look at the next frames `(frames, height, width, 3)` uint8."""
        grey = piece[:, ::2, ::2].mean(-1, dtype=np.float32)
        if self._last is not None:
            grey = np.concatenate([self._last, grey])
        self._change = max(self._change, float(np.abs(np.diff(grey, axis=0)).mean((1, 2)).max(initial=0.0)))
        self._last = grey[-1:]

    @property
    def seen(self) -> bool:
        """Whether two neighbours differed so far."""
        return self._change > _STILL


def notes_on(moves: Sequence[bool], captions: Sequence[str]) -> tuple[str, ...]:
    """What the user should know of videos that leave the sound open.

    Args:
        moves: Whether each video's picture changes.
        captions: One each; "" for none.
    """
    notes = []
    for i, (moving, caption) in enumerate(zip(moves, captions, strict=True)):
        which = f"video {i + 1}: " if len(captions) > 1 else ""
        if not moving and caption:
            notes.append(f"{which}nothing moves in the picture; the sound follows the caption, its times are a guess.")
        elif not moving:
            notes.append(f"{which}nothing moves in the picture and there is no caption; the sound is a guess.")
        elif not caption:
            notes.append(f"{which}there is no caption; what sounds is guessed from the picture.")
    return tuple(notes)
