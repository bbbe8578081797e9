"""Frames of a video by the clock: a constant rate out of any rate, the right way up, a chunk at a time."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.rates import FRAME_RATE

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

Frames = NDArray[np.uint8]

_CHUNK_BYTES = 16 * 2**20
_SAME_S = 1e-3  # Matroska rounds times to milliseconds
_MAX_MISSING_S = 0.5  # a picture track that ends this much before its stated end was cut off


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says of itself.

    Attributes:
        duration_s: Length of the picture in seconds.
        width: Pixels across, as shown (after rotation).
        height: Pixels down, as shown.
        fps: Mean frames per second.
        rotation: Degrees that players turn the stored frames counter-clockwise: 0, 90, 180 or 270.
        has_audio: Whether it has sound.
    """

    duration_s: float
    width: int
    height: int
    fps: float
    rotation: int
    has_audio: bool


@contextmanager
def opened(path: str | Path) -> "Iterator[tuple[InputContainer, VideoStream]]":
    """An open video and its picture track.

    Raises:
        MediaError: If the file is missing, damaged or has no picture; so also while it is read.
    """
    import av
    from av.stream import Disposition

    if not Path(path).is_file():
        raise MediaError(f"{path} is not a file; check the path.")
    try:
        with av.open(str(path)) as container:
            # The cover of a music file is a picture, not a video.
            pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
            if not pictures:
                raise MediaError(f"{path} has no video track; give a video file.")
            yield container, pictures[0]
    except av.error.FFmpegError as error:
        raise MediaError(
            f"{path} can't be read as a video: {error.strerror or error}. It may be damaged or cut off; "
            "export it again, for example as MP4 with H.264."
        ) from error


def _stated_duration_s(container: "InputContainer", stream: "VideoStream") -> float | None:
    """Length of the picture by the file's own word; None if it says nothing of the picture itself.

    Only MP4 and its kin keep a length per track; for others FFmpeg reports that of the whole file.
    """
    if "mp4" in container.format.name and stream.duration and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None


def checked_end_s(path: str | Path, container: "InputContainer", stream: "VideoStream", last_s: float) -> float:
    """Length of the picture in seconds: as stated, else up to the end `last_s` of its last frame.

    Raises:
        MediaError: If the stated length goes far beyond the last frame.
    """
    stated_s = _stated_duration_s(container, stream) or last_s
    if stated_s - last_s > _MAX_MISSING_S:
        raise MediaError(f"{path} is cut off: its picture ends at {last_s:.2f} s of {stated_s:.2f} s. Copy it again.")
    return stated_s


def _frame_rate(stream: "VideoStream") -> float:
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return float(rate) if rate else 25.0


def _timed_frames(container: "InputContainer", stream: "VideoStream") -> "Iterator[tuple[float, VideoFrame]]":
    """Decoded frames with their seconds after the first; those without a time follow one frame later."""
    stream.thread_type = "AUTO"
    origin, latest = None, 0.0
    for frame in container.decode(stream):
        if origin is None:
            origin = frame.time or 0.0
        elif frame.time is None:
            latest += 1 / _frame_rate(stream)
        else:
            latest = max(latest, frame.time - origin)
        yield latest, frame


def probe_video(path: str | Path) -> VideoInfo:
    """Read what a video is like: from its head and first frame, or from all where the head lacks the length.

    Raises:
        MediaError: If it is missing, damaged, or has no frames.
    """
    with opened(path) as (container, stream):
        first = next(container.decode(stream), None)
        if first is None:
            raise MediaError(f"{path} has no frames; give another video.")
        duration_s, fps, rotation = (
            _stated_duration_s(container, stream),
            _frame_rate(stream),
            _rotation(first),
        )
        has_audio = bool(container.streams.audio)
    if duration_s is None:
        with opened(path) as (container, stream):
            duration_s = max(time + _length_s(frame, stream) for time, frame in _timed_frames(container, stream))
    width, height = (first.height, first.width) if rotation % 180 else (first.width, first.height)
    return VideoInfo(duration_s, width, height, fps, rotation, has_audio)


def _rotation(frame: "VideoFrame") -> int:
    return round(frame.rotation / 90) * 90 % 360


def _converted(frame: "VideoFrame", size: tuple[int, int] | None, scaler: "VideoReformatter") -> Frames:
    """RGB picture `(height, width, 3)` the right way up; one scaler for all of a video, as setting it up takes long."""
    turns = _rotation(frame) // 90
    height, width = size or (None, None)
    if turns % 2:
        height, width = width, height
    return np.rot90(scaler.reformat(frame, width, height, "rgb24").to_ndarray(), turns)


def iter_frames(path: str | Path, fps: float = FRAME_RATE, size: tuple[int, int] | None = None) -> Iterator[Frames]:
    """Read a video at a constant frame rate, a chunk at a time.

    Frame k is what a player shows k / fps seconds after the first frame; there is one for every k / fps
    before the end of the picture, so 10 s at 21.5 per second are 215.

    Args:
        path: Video file.
        fps: Frames per second to read at.
        size: `(height, width)` to scale to; its own size when None.

    Yields:
        `(frames, height, width, 3)` uint8 RGB, as many frames as fit into 16 MiB (at least 1).

    Raises:
        ValueError: If fps or size is not positive.
        MediaError: If the file is missing, damaged, cut off, or has no frames.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps is {fps}; give frames per second above 0, such as {FRAME_RATE:g}.")
    if size is not None and min(size) < 1:
        raise ValueError(f"size is {size}; give (height, width) in pixels.")
    return _chunked(_frames_at(path, fps, size))


def _frames_at(path: str | Path, fps: float, size: tuple[int, int] | None) -> Iterator[Frames]:
    from av.video.reformatter import VideoReformatter

    count = 0
    scaler = VideoReformatter()
    shown: VideoFrame | None = None
    picture: Frames | None = None
    shown_s = 0.0

    def pictures_before(time_s: float) -> Iterator[Frames]:
        nonlocal count, picture, size
        while shown is not None and count / fps < time_s - _SAME_S:
            if picture is None:
                picture = _converted(shown, size, scaler)
                size = size or (picture.shape[0], picture.shape[1])
            count += 1
            yield picture

    with opened(path) as (container, stream):
        for time_s, frame in _timed_frames(container, stream):
            yield from pictures_before(time_s)
            shown, shown_s, picture = frame, time_s, None
        if shown is None:
            raise MediaError(f"{path} has no frames; give another video.")
        last_s = shown_s + _length_s(shown, stream)
        end_s = checked_end_s(path, container, stream, last_s)
        yield from pictures_before(max(end_s, shown_s + 2 * _SAME_S))


def _length_s(frame: "VideoFrame", stream: "VideoStream") -> float:
    """How long the last frame stays."""
    if frame.duration and frame.time_base:
        return float(frame.duration * frame.time_base)
    return 1 / _frame_rate(stream)


def _chunked(pictures: Iterator[Frames]) -> Iterator[Frames]:
    chunk: list[Frames] = []
    for picture in pictures:
        chunk.append(picture)
        if (len(chunk) + 1) * picture.nbytes > _CHUNK_BYTES:
            yield np.stack(chunk)
            chunk = []
    if chunk:
        yield np.stack(chunk)
