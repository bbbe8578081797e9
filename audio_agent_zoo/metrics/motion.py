"""How much a picture moves, frame by frame: optical flow without OpenCV, small enough to keep beside the video."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.media import iter_frames, probe_video

Curve = NDArray[np.float64]

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_WINDOW = 9  # pixels; at 128 rows about what the public script's 15 are at its videos' 240
_REGULARISATION = 1e-4  # squared gradient of 1 % per pixel; below it, noise of the codec would pass for motion
_LEVELS, _STEPS = 3, 3
_LONGEST_STEP = 2.0  # pixels; a flash has no motion that explains it, and would throw the flow out of the picture
_SMALLEST_SIDE = 16
_PICTURES_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class MotionCurve:
    """Mean motion of each frame of a video.

    Attributes:
        magnitudes: `(frames,)` mean length of the flow that leads to each frame, as a share of the picture's height;
            the first frame, to which none leads, repeats the second.
        fps: Frames per second.

    Raises:
        ValueError: If the shape, a value or the rate makes no sense.
    """

    magnitudes: Curve
    fps: float

    def __post_init__(self) -> None:
        values = self.magnitudes
        if values.ndim != 1 or not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError(f"magnitudes have shape {values.shape}; give (frames,) finite values of at least 0.")
        if not 0 < self.fps < float("inf"):
            raise ValueError(f"fps is {self.fps}; give frames per second above 0.")

    def peaks_s(self, least: float) -> Curve:
        """Seconds at which the motion is strictly greater than one frame before and after, and at least `least`."""
        before, here, after = self.magnitudes[:-2], self.magnitudes[1:-1], self.magnitudes[2:]
        return np.asarray((np.flatnonzero((here > before) & (here > after) & (here >= least)) + 1) / self.fps)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a cache."""
        return {"fps": self.fps, "magnitudes": self.magnitudes.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "MotionCurve":
        """Read what `to_dict` gave."""
        return cls(np.asarray(values["magnitudes"], dtype=np.float64), float(values["fps"]))


def _halved(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pictures of half the size: the mean of each four pixels."""
    _, height, width = pictures.shape
    even = pictures[:, : height // 2 * 2, : width // 2 * 2]
    return np.asarray((even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 4)


def _moved(pictures: NDArray[np.float32], flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pictures fetched back along a flow `(2, pictures, height, width)` of rows and columns, bilinear."""
    from scipy.ndimage import map_coordinates

    count, height, width = pictures.shape
    grid = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in (count, height, width)), indexing="ij")
    at = [grid[0], grid[1] + flow[0], grid[2] + flow[1]]
    return np.asarray(map_coordinates(pictures, at, order=1, mode="nearest"), dtype=np.float32)


def optical_flow(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flow from each picture to the next, by least squares over a window, from coarse to fine.

    Where there is no texture the flow is drawn towards none; beyond 42 pixels it cannot reach.

    Args:
        first: `(pictures, height, width)` brightness in [0, 1].
        second: The same a moment later.

    Returns:
        `(2, pictures, height, width)` pixels down and to the right.

    Raises:
        ValueError: If the shapes differ or a side is shorter than 16 pixels.

    Source: Lucas and Kanade, "An iterative image registration technique" (1981), in every pixel, over three sizes of
        the picture as in Bouguet (2001), with a ridge of our own.
    """
    from scipy.ndimage import uniform_filter, zoom

    if first.ndim != 3 or first.shape != second.shape or min(first.shape[1:]) < _SMALLEST_SIDE:
        raise ValueError(
            f"pictures have shapes {first.shape} and {second.shape}; give two of (pictures, height, width), "
            f"at least {_SMALLEST_SIDE} pixels high and wide."
        )
    sizes = [(first.astype(np.float32), second.astype(np.float32))]
    while len(sizes) < _LEVELS and min(sizes[-1][0].shape[1:]) >= 2 * _SMALLEST_SIDE:
        sizes.append((_halved(sizes[-1][0]), _halved(sizes[-1][1])))
    flow = np.zeros((2, *sizes[-1][0].shape), dtype=np.float32)
    for now, later in reversed(sizes):
        if flow.shape[1:] != now.shape:
            factors = [1, 1, *(new / old for new, old in zip(now.shape[1:], flow.shape[2:], strict=True))]
            flow = 2 * zoom(flow, factors, order=1, mode="nearest", grid_mode=True)
        for _ in range(_STEPS):
            fetched = _moved(later, flow)
            down, right = np.gradient((now + fetched) / 2, axis=(1, 2))
            change = now - fetched
            products = (down * down, right * right, down * right, down * change, right * change)
            dd, rr, dr, dc, rc = (uniform_filter(one, size=(0, _WINDOW, _WINDOW), mode="nearest") for one in products)
            dd, rr = dd + _REGULARISATION, rr + _REGULARISATION
            determinant = dd * rr - dr * dr
            step = np.stack([rr * dc - dr * rc, dd * rc - dr * dc]) / determinant
            flow += step.clip(-_LONGEST_STEP, _LONGEST_STEP)
    return np.asarray(flow)


def motion_of_frames(frames: NDArray[np.uint8] | Iterable[NDArray[np.uint8]], fps: float) -> MotionCurve:
    """Motion of frames that are at hand.

    Args:
        frames: `(frames, height, width, 3)` uint8 RGB, or chunks of it in order.
        fps: Frames per second.

    Raises:
        ValueError: If there are no frames, or their shape differs.
    """
    magnitudes: list[Curve] = []
    last: NDArray[np.float32] | None = None
    for chunk in [frames] if isinstance(frames, np.ndarray) else frames:
        if chunk.ndim != 4 or chunk.shape[-1] != 3 or chunk.dtype != np.uint8:
            raise ValueError(f"frames are {chunk.shape} {chunk.dtype}; give (frames, height, width, 3) uint8.")
        for start in range(0, len(chunk), _PICTURES_AT_ONCE):
            grey = np.asarray(chunk[start : start + _PICTURES_AT_ONCE] @ _LUMA / 255, dtype=np.float32)
            course = grey if last is None else np.concatenate([last, grey])
            last = course[-1:]
            if len(course) > 1:
                flow = optical_flow(course[:-1], course[1:])
                magnitudes.append(np.hypot(flow[0], flow[1]).mean(axis=(1, 2), dtype=np.float64) / course.shape[1])
    if last is None:
        raise ValueError("there are no frames; give at least one.")
    led = np.concatenate(magnitudes) if magnitudes else np.zeros(1)
    return MotionCurve(np.concatenate([led[:1], led]) if magnitudes else led, fps)


def motion_of_video(path: str | Path, height: int = 128) -> MotionCurve:
    """Motion of a video at its own frame rate, seen at a small size.

    Args:
        path: Video file.
        height: Rows it is seen at; the width follows.

    Raises:
        ValueError: If the height is too small.
        MediaError: If the file can't be read.
    """
    if height < _SMALLEST_SIDE:
        raise ValueError(f"height is {height}; give at least {_SMALLEST_SIDE} pixels.")
    info = probe_video(path)
    width = max(_SMALLEST_SIDE, round(info.width * height / info.height))
    return motion_of_frames(iter_frames(path, info.fps, (height, width)), info.fps)
