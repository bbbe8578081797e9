"""What a video adds to the picture of a result: a strip of its frames, and marks where something starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.media import iter_frames, probe_video

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRIP_PIXELS = 120
_MARK = "#D55E00"


def read_strip(path: str | Path, n_frames: int = 12) -> NDArray[np.uint8]:
    """A few frames of a video at even distances `(n_frames, height, width, 3)`, read without keeping the rest.

    Raises:
        MediaError: If the video can't be read.
    """
    info = probe_video(path)
    width = max(16, round(STRIP_PIXELS * info.width / info.height))
    rate = n_frames / info.duration_s
    pieces = list(iter_frames(path, fps=rate, size=(STRIP_PIXELS, width)))
    return np.concatenate(pieces)[:n_frames]


def draw_strip(axes: "Axes", frames: NDArray[np.uint8], duration_s: float) -> None:
    """Lay frames side by side over the time they stand for; each shows the start of its stretch."""
    axes.set(xlim=(0, duration_s), ylim=(0, 1))
    step = duration_s / len(frames)
    room = axes.get_window_extent()
    aspect = room.width / len(frames) / room.height
    for i, frame in enumerate(frames):
        axes.imshow(_cropped(frame, aspect), extent=(i * step, (i + 1) * step, 0, 1), aspect="auto", zorder=1)
    axes.set(xlim=(0, duration_s), yticks=[])


def _cropped(frame: NDArray[np.uint8], aspect: float) -> NDArray[np.uint8]:
    """The middle of a frame, as wide for its height as there is room for."""
    height, width = frame.shape[:2]
    wanted_width, wanted_height = min(width, round(height * aspect)), min(height, round(width / aspect))
    left, top = (width - wanted_width) // 2, (height - wanted_height) // 2
    return frame[top : top + max(1, wanted_height), left : left + max(1, wanted_width)]


def draw_onsets(axes: "Axes", onsets_s: Sequence[float]) -> None:
    """Mark instants where a sound starts."""
    for onset_s in onsets_s:
        axes.axvline(onset_s, color=_MARK, linewidth=0.9, alpha=0.85, zorder=4)
