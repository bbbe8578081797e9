"""Small videos with sound, as people keep them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audio_agent_zoo.data.sources.examples import FoleyExample
from audio_agent_zoo.media import write_video

RATE, FPS = 16_000, 20


def knock(duration_s: float, at_s: float = 0.5, hertz: float = 700.0, level: float = 0.5) -> NDArray[np.float32]:
    """A short tone at one instant."""
    seconds = np.arange(round(duration_s * RATE)) / RATE
    heard = (seconds >= at_s) & (seconds < at_s + 0.1)
    return (level * heard * np.sin(2 * np.pi * hertz * seconds)).astype(np.float32)


def flash(duration_s: float, at_s: float = 0.5, height: int = 24, width: int = 40) -> NDArray[np.uint8]:
    """Dark frames, white from one instant on."""
    frames = np.zeros((round(duration_s * FPS), height, width, 3), np.uint8)
    frames[round(at_s * FPS) :] = 255
    return frames


def video(path: Path, duration_s: float = 1.0, *, sound: bool = True, hertz: float = 700.0, at_s: float = 0.5) -> Path:
    """A video that flashes and knocks at one instant."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, flash(duration_s, at_s), FPS, knock(duration_s, at_s, hertz) if sound else None)
    return path


def corrupt(path: Path) -> Path:
    """A video that ends in its middle."""
    video(path)
    path.write_bytes(path.read_bytes()[:700])
    return path


def check_in_time(example: FoleyExample, at_s: float = 0.5, image_size: int = 12) -> None:
    """Picture and sound are those that were written, and the flash is when the knock is."""
    frames = np.concatenate(list(example.frames))
    assert frames.dtype == np.uint8 and frames.shape[1:] == (image_size, 20, 3)
    assert example.audio.dtype == np.float32
    assert len(frames) == pytest.approx(len(example.audio) / RATE * 21.5, abs=1.5)
    assert np.argmax(np.abs(example.audio) > 0.1) == pytest.approx(at_s * RATE, abs=80)
    assert np.argmax(frames.mean(axis=(1, 2, 3)) > 128) == pytest.approx(at_s * 21.5, abs=1.01)
