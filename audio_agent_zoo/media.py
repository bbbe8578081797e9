"""Read and write sound and video files; never leave a half-written file under its final name."""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.rates import SAMPLE_RATE

if TYPE_CHECKING:
    import av.container

Audio = NDArray[np.float32]
Frames = NDArray[np.uint8]

SUBTYPES = ("PCM_16", "PCM_24", "FLOAT")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the final name, on any failure it vanishes.

    Raises:
        MediaError: If the folder can't be written or the disk is full.
    """
    final = Path(path)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=final.parent, prefix=f".{final.stem}.", suffix=final.suffix, delete=False) as file:
            partial = Path(file.name)
    except OSError as error:
        raise MediaError(f"{final} can't be written: {error.strerror or error}. Choose another folder.") from error
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.chmod(0o644)
        partial.replace(final)
    except OSError as error:
        raise MediaError(
            f"{final} could not be written: {error.strerror or error}. Free some space or choose another disk; "
            "nothing was changed."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def resample(audio: Audio, source_rate: int, sample_rate: int) -> Audio:
    """Resample `(samples,)` or `(samples, channels)` with soxr; a no-op at equal rates."""
    import soxr

    if source_rate == sample_rate:
        return audio
    return np.asarray(soxr.resample(audio, source_rate, sample_rate), dtype=np.float32)


def read_audio(source: str | Path | bytes, sample_rate: int = SAMPLE_RATE) -> Audio:
    """Read any sound file, or the sound of a video, as mono.

    Args:
        source: Path, or the bytes of a file.
        sample_rate: Rate to resample to.

    Returns:
        `(samples,)` float32.

    Raises:
        MediaError: If the file is missing, holds no sound, is damaged, empty, or not finite.
    """
    import soundfile

    name = "the given bytes" if isinstance(source, bytes) else str(source)
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise MediaError(f"there is no file {name}.")
    try:
        opened = io.BytesIO(source) if isinstance(source, bytes) else str(source)
        audio, rate = soundfile.read(opened, dtype="float32", always_2d=True)
        mono = audio.mean(axis=1)
    except soundfile.LibsndfileError:
        mono, rate = _decode_with_av(source, name, sample_rate)
    if not len(mono):
        raise MediaError(f"{name} holds no samples.")
    if not np.isfinite(mono).all():
        raise MediaError(f"{name} holds values that are no numbers; export it again.")
    return resample(np.asarray(mono, dtype=np.float32), rate, sample_rate)


def _decode_with_av(source: str | Path | bytes, name: str, sample_rate: int) -> tuple[Audio, int]:
    import av

    try:
        with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as container:
            if not container.streams.audio:
                raise MediaError(f"{name} has no audio track.")
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=sample_rate)
            blocks = [
                out.to_ndarray()[0]
                for frame in container.decode(container.streams.audio[0])
                for out in resampler.resample(frame)
            ]
            blocks += [out.to_ndarray()[0] for out in resampler.resample(None)]
    except av.error.FFmpegError as error:
        raise MediaError(f"{name} can't be read as sound: {error}. Give WAV, FLAC, OGG, MP3 or a video.") from error
    return (np.concatenate(blocks) if blocks else np.zeros(0, np.float32)), sample_rate


def write_audio(path: str | Path, audio: Audio, sample_rate: int = SAMPLE_RATE, *, subtype: str = "PCM_24") -> None:
    """Write a WAV or FLAC file, whole or not at all.

    Args:
        path: File whose suffix names the format.
        audio: `(samples,)` or `(samples, channels)`, in [-1, 1] for PCM.
        sample_rate: Samples per second.
        subtype: PCM_16, PCM_24 or FLOAT (WAV alone).

    Raises:
        ValueError: If the sound is not finite, or out of range for PCM, or the subtype is unknown.
        MediaError: If the file can't be written.
    """
    import soundfile

    if subtype not in SUBTYPES:
        raise ValueError(f"subtype is {subtype!r}; choose one of {', '.join(SUBTYPES)}.")
    if not np.isfinite(audio).all():
        raise ValueError(f"the sound for {path} holds values that are no numbers; it was not written.")
    peak = float(np.max(np.abs(audio), initial=0.0))
    if subtype != "FLOAT" and peak > 1.0:
        raise ValueError(f"the sound for {path} peaks at {peak:.3f}; {subtype} holds at most 1. Mix it, or use FLOAT.")
    with atomic_path(path) as partial:
        try:
            soundfile.write(partial, audio, sample_rate, subtype=subtype, format=Path(path).suffix[1:].upper() or "WAV")
        except soundfile.LibsndfileError as error:
            raise MediaError(f"{path} could not be written: {error}. Free some space, or check the suffix.") from error


def write_video(
    path: str | Path,
    frames: Frames | Sequence[Frames],
    fps: float | Fraction,
    audio: Audio | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> None:
    """Write an mp4 (H.264, AAC) from frames and, if given, mono sound.

    Args:
        path: File to write.
        frames: `(frames, height, width, 3)` uint8, sides even.
        fps: Frames per second.
        audio: `(samples,)` in [-1, 1].
        sample_rate: Samples per second of the sound.

    Raises:
        ValueError: If there are no frames, or of a wrong shape.
        MediaError: If the file can't be written.
    """
    import av

    pictures = np.asarray(frames)
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or not len(pictures) or pictures.dtype != np.uint8:
        raise ValueError(f"frames are {pictures.shape} {pictures.dtype}; give (frames, height, width, 3) uint8.")
    if pictures.shape[1] % 2 or pictures.shape[2] % 2:
        raise ValueError(f"frames are {pictures.shape[2]}x{pictures.shape[1]}; H.264 needs even sides.")
    with atomic_path(path) as partial:
        try:
            with av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as container:
                stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
                stream.height, stream.width, stream.pix_fmt = pictures.shape[1], pictures.shape[2], "yuv420p"
                sound = container.add_stream("aac", rate=sample_rate, layout="mono") if audio is not None else None
                for picture in pictures:
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
                container.mux(stream.encode(None))
                if audio is not None:
                    _encode_sound(container, sound, audio, sample_rate)
        except av.error.FFmpegError as error:
            raise MediaError(f"{path} could not be written: {error}.") from error


def _encode_sound(container: "av.container.OutputContainer", stream: Any, audio: Audio, sample_rate: int) -> None:
    import av

    frame = av.AudioFrame.from_ndarray(np.asarray(audio, np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = sample_rate, 0, Fraction(1, sample_rate)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
