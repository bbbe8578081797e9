"""Whether anything moves in a picture, and what there is to say where it does not."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_VISIBLE = 12.0
"""Grey levels of 255 by which a place has to change; encoders change a photograph by a few as they refresh it."""

_PART = 0.01
"""Part of the picture that has to change so."""


class PictureMotion:
    """Looks at a video piece by piece, and compares with its first frame, so that slow motion counts too."""

    def __init__(self) -> None:
        self._first: NDArray[np.float32] | None = None
        self._seen = False

    def look(self, piece: NDArray[np.uint8]) -> None:
        """Look at the next frames `(frames, height, width, 3)` uint8."""
        if self._seen:
            return
        grey = piece[:, ::2, ::2].mean(-1, dtype=np.float32)
        if self._first is None:
            self._first = grey[:1].copy()
        changed = np.abs(grey - self._first) > _VISIBLE
        self._seen = bool((changed.mean((1, 2)) > _PART).any())

    @property
    def seen(self) -> bool:
        """Whether anything has moved so far."""
        return self._seen


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
