"""Tones and grey frames that the tests of media read and write."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
Audio = NDArray[np.float32]
Frames = NDArray[np.uint8]


def tone(seconds: float, hertz: float = 440.0, rate: int = RATE) -> Audio:
    return (0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def grey_frames(values: Sequence[int], height: int = 48, width: int = 64) -> Frames:
    frames = np.zeros((len(values), height, width, 3), np.uint8)
    frames[:] = np.asarray(values, np.uint8)[:, None, None, None]
    return frames
