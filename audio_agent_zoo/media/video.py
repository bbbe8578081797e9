"""Write videos: frames with sound, and new sound under a picture that is not encoded again."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.media.files import atomic_path
from audio_agent_zoo.media.frames import checked_end_s, opened
from audio_agent_zoo.media.sound import Audio, checked_sound
from audio_agent_zoo.rates import SAMPLE_RATE

if TYPE_CHECKING:
    from av.container import OutputContainer

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}

_PICTURE_CODECS = ("libx264", "libopenh264", "mpeg4")
_SOUND_CHUNK = 4096
_SOUND_BIT_RATE = 96_000  # per channel


class _SoundTrack:
    """AAC of a whole sound, encoded bit by bit so that picture and sound lie side by side in the file."""

    def __init__(self, container: "OutputContainer", audio: Audio, sample_rate: int) -> None:
        self._planes = np.ascontiguousarray(np.asarray(audio, dtype=np.float32).reshape(len(audio), -1).T)
        channels = len(self._planes)
        self._layout = "mono" if channels == 1 else "stereo"
        self._container, self._rate, self._done = container, sample_rate, 0
        self._stream = container.add_stream("aac", rate=sample_rate, layout=self._layout)
        self._stream.bit_rate = _SOUND_BIT_RATE * channels

    def encode_until(self, time_s: float) -> None:
        """Encode up to a time, in seconds."""
        import av

        while self._done < min(self._planes.shape[1], time_s * self._rate):
            part = np.ascontiguousarray(self._planes[:, self._done : self._done + _SOUND_CHUNK])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=self._layout)
            frame.sample_rate, frame.pts, frame.time_base = self._rate, self._done, Fraction(1, self._rate)
            self._container.mux(self._stream.encode(frame))
            self._done += part.shape[1]

    def finish(self) -> None:
        """Encode the rest."""
        self.encode_until(float("inf"))
        self._container.mux(self._stream.encode(None))


def _check_sound(audio: Audio, path: str | Path) -> None:
    peak = checked_sound(np.asarray(audio), str(path))
    if audio.ndim == 2 and audio.shape[1] not in (1, 2):
        raise ValueError(f"the sound for {path} has {audio.shape[1]} channels; give 1 or 2.")
    if peak > 1.0:
        raise ValueError(f"the sound for {path} peaks at {peak:.3f}; lower it to 1 at most.")


@contextmanager
def _created(path: str | Path) -> "Iterator[OutputContainer]":
    """An open output that takes its final name when all went well."""
    import av

    suffix = Path(path).suffix.lower()
    if suffix not in CONTAINERS:
        raise ValueError(f"{path} ends in {suffix!r}; choose {', '.join(CONTAINERS)}.")
    options = {} if CONTAINERS[suffix] == "matroska" else {"movflags": "faststart"}
    with atomic_path(path) as partial:
        try:
            with av.open(str(partial), "w", format=CONTAINERS[suffix], options=options) as container:
                yield container
        except av.error.FFmpegError as error:
            raise MediaError(
                f"{path} was not written: {error.strerror or error}. Free some space, or check that "
                "its format holds this picture."
            ) from error


def _picture_codec() -> str:
    import av

    for name in _PICTURE_CODECS:
        try:
            av.codec.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        return name
    raise MediaError(f"this FFmpeg can't encode video; install av from its wheel ({', '.join(_PICTURE_CODECS)}).")


def write_video(
    path: str | Path,
    frames: Iterable[NDArray[np.uint8]],
    fps: float | Fraction,
    audio: Audio | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> None:
    """Write a video (H.264, or MPEG-4 part 2 where that is missing) and, if given, its sound (AAC).

    Args:
        path: File that ends in .mp4, .mov or .mkv.
        frames: Pictures `(height, width, 3)` uint8 RGB with even sides, or an array of them.
        fps: Frames per second, such as 21.5.
        audio: `(samples,)` or `(samples, 2)` in [-1, 1].
        sample_rate: Samples per second of the sound.

    Raises:
        ValueError: If there are no frames, one is of a wrong shape, or the sound is out of range.
        MediaError: If the file can't be written.
    """
    import av

    rate = Fraction(fps).limit_denominator(1001)
    if rate <= 0:
        raise ValueError(f"fps is {fps}; give frames per second above 0.")
    if audio is not None:
        _check_sound(audio, path)
    with _created(path) as container:
        stream: Any = None
        sound: _SoundTrack | None = None
        for i, picture in enumerate(frames):
            if stream is None:
                _check_picture(picture, picture.shape)
                stream = container.add_stream(_picture_codec(), rate=rate)
                stream.height, stream.width, stream.pix_fmt = picture.shape[0], picture.shape[1], "yuv420p"
                sound = _SoundTrack(container, audio, sample_rate) if audio is not None else None
            _check_picture(picture, (stream.height, stream.width, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
            if sound is not None:
                sound.encode_until((i + 1) / float(rate))
        if stream is None:
            raise ValueError(f"there are no frames for {path}; give at least one.")
        container.mux(stream.encode(None))
        if sound is not None:
            sound.finish()


def _check_picture(picture: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8 or picture.shape != shape:
        raise ValueError(f"a frame is {picture.shape} {picture.dtype}; give (height, width, 3) uint8, all of one size.")
    if picture.shape[0] % 2 or picture.shape[1] % 2 or not picture.size:
        raise ValueError(f"frames are {picture.shape[1]}x{picture.shape[0]}; give even sides.")


def mux(video_path: str | Path, audio: Audio, sample_rate: int, out_path: str | Path) -> None:
    """Put new sound under a video; its picture is copied, not encoded again, and its old sound dropped.

    The sound begins with the first frame.

    Args:
        video_path: Video whose picture is taken.
        audio: `(samples,)` or `(samples, 2)` in [-1, 1].
        sample_rate: Samples per second of the sound.
        out_path: File that ends in .mp4, .mov or .mkv; may be `video_path` itself.

    Raises:
        ValueError: If the sound is out of range.
        MediaError: If the video can't be read or the file can't be written.
    """
    _check_sound(audio, out_path)
    with opened(video_path) as (source, picture), _created(out_path) as container:
        target = container.add_stream_from_template(picture)
        sound = _SoundTrack(container, audio, sample_rate)
        first, last_s = picture.start_time or 0, -1.0
        for packet in source.demux(picture):
            if packet.dts is None or packet.pts is None:
                continue
            packet.pts, packet.dts = packet.pts - first, packet.dts - first
            reached_s = float(packet.dts * packet.time_base)
            last_s = max(last_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            packet.stream = target
            container.mux(packet)
            sound.encode_until(reached_s)
        if last_s < 0:
            raise MediaError(f"{video_path} has no frames; give another video.")
        checked_end_s(video_path, source, picture, last_s)
        sound.finish()
