"""Read any sound as mono at one rate; write WAV and FLAC exactly."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.media.files import atomic_path
from audio_agent_zoo.media.frames import opened
from audio_agent_zoo.rates import SAMPLE_RATE

Audio = NDArray[np.float32]

SUBTYPES = ("PCM_16", "PCM_24", "FLOAT")
FORMATS = {".wav": "WAV", ".flac": "FLAC"}

_WRITTEN = 1 << 20  # samples that are scaled and encoded together


def resample(audio: Audio, source_rate: int, sample_rate: int) -> Audio:
    """Resample `(samples,)` or `(samples, channels)` with soxr; the same array at equal rates."""
    import soxr

    if source_rate == sample_rate:
        return audio
    return np.asarray(soxr.resample(audio, source_rate, sample_rate), dtype=np.float32)


def read_audio(source: str | Path | bytes, sample_rate: int = SAMPLE_RATE) -> Audio:
    """Read any sound file, or the sound of a video, as mono (the mean of its channels).

    Args:
        source: Path, or the bytes of a file.
        sample_rate: Rate to resample to.

    Returns:
        `(samples,)` float32, full scale at 1.

    Raises:
        MediaError: If the file is missing, holds no sound, is damaged, empty, or not finite.
    """
    import soundfile

    name = "the given bytes" if isinstance(source, bytes) else str(source)
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise MediaError(f"{name} is not a file; check the path.")
    try:
        # From an open file, since libsndfile takes some paths for devices.
        with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
            audio, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        audio, rate, _ = _decode(source, name)
    except OSError as error:
        raise MediaError(f"{name} can't be read: {error.strerror or error}.") from error
    return resample(_mono(audio, name), rate, sample_rate)


def _mono(audio: Audio, name: str) -> Audio:
    if not len(audio):
        raise MediaError(f"{name} holds no samples; give a file with sound.")
    if not np.isfinite(audio).all():
        raise MediaError(f"{name} holds values that are no numbers (NaN or infinity); export it again.")
    return np.ascontiguousarray(audio[:, 0] if audio.shape[1] == 1 else audio.mean(axis=1))


def read_soundtrack(path: str | Path, sample_rate: int = SAMPLE_RATE) -> Audio:
    """Read the sound of a video as mono, from the instant of its first frame on.

    A track that begins later has silence before it, one that begins earlier loses what comes before the picture,
    so that sample and frame of one instant belong together.

    Args:
        path: Video file.
        sample_rate: Rate to resample to.

    Returns:
        `(samples,)` float32, full scale at 1.

    Raises:
        MediaError: If the file is missing, has no picture or no sound, is damaged, or not finite.
    """
    with opened(path) as (container, stream):
        first = next(container.decode(stream), None)
    if first is None:
        raise MediaError(f"{path} has no frames; give another video.")
    audio, rate, start_s = _decode(path, str(path))
    late = round((start_s - (first.time or 0.0)) * rate)
    audio = np.pad(audio, [(late, 0), (0, 0)]) if late > 0 else audio[-late:]
    return resample(_mono(audio, str(path)), rate, sample_rate)


def _decode(source: str | Path | bytes, name: str) -> tuple[Audio, int, float]:
    """Sound `(samples, channels)` of what libsndfile doesn't know, at its own rate; and when it begins, in seconds."""
    import av

    hint = "Give WAV, FLAC, OGG, MP3, or a video with sound."
    blocks: list[NDArray[Any]] = []
    start_s = 0.0
    try:
        with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source), mode="r") as container:
            if not container.streams.audio:
                raise MediaError(f"{name} has no sound. {hint}")
            resampler = None
            for frame in container.decode(audio=0):
                if resampler is None:
                    start_s = frame.time or 0.0
                resampler = resampler or av.AudioResampler(format="fltp", layout=frame.layout, rate=frame.sample_rate)
                blocks += [part.to_ndarray().T for part in resampler.resample(frame)]
            if resampler is None:
                return np.zeros((0, 1), np.float32), SAMPLE_RATE, 0.0
            blocks += [part.to_ndarray().T for part in resampler.resample(None)]
            stream = container.streams.audio[0]
            stated_s = stream.duration and stream.time_base and float(stream.duration * stream.time_base)
    except av.error.FFmpegError as error:
        raise MediaError(f"{name} can't be read as sound: {error.strerror or error}. {hint}") from error
    audio, rate = np.concatenate(blocks).astype(np.float32, copy=False), int(resampler.rate)
    # Codecs fill their last frame; the container knows where the sound ends.
    return (audio[: round(stated_s * rate)] if stated_s else audio), rate, start_s


def checked_sound(audio: NDArray[np.floating], name: str) -> float:
    """Peak of a sound that is about to be written.

    Raises:
        ValueError: If it is not `(samples,)` or `(samples, channels)`, or not finite.
    """
    if audio.ndim not in (1, 2) or not len(audio):
        raise ValueError(f"the sound for {name} has the shape {audio.shape}; give (samples,) or (samples, channels).")
    if not np.isfinite(audio).all():
        raise ValueError(f"the sound for {name} holds values that are no numbers; nothing was written.")
    return float(max(audio.max(), -audio.min()))


def write_audio(path: str | Path, audio: Audio, sample_rate: int = SAMPLE_RATE, *, subtype: str = "PCM_24") -> None:
    """Write a WAV or FLAC file, whole or not at all.

    PCM is rounded to the nearest step and read back as step / 2**(bits - 1): numbers that lie on the 24-bit
    grid, as the stems of a mix do, come back unchanged.

    Args:
        path: File that ends in .wav or .flac.
        audio: `(samples,)` or `(samples, channels)`, in [-1, 1] for PCM.
        sample_rate: Samples per second.
        subtype: PCM_16, PCM_24 or FLOAT (WAV alone).

    Raises:
        ValueError: If the sound is empty, not finite, or beyond [-1, 1] in PCM, or the format is unknown.
        MediaError: If the file can't be written.
    """
    import soundfile

    file_format = FORMATS.get(Path(path).suffix.lower())
    if file_format is None:
        raise ValueError(f"{path} ends in {Path(path).suffix!r}; choose .wav or .flac.")
    if subtype not in SUBTYPES or not soundfile.check_format(file_format, subtype):
        accepted = [one for one in SUBTYPES if soundfile.check_format(file_format, one)]
        raise ValueError(f"subtype is {subtype!r}; {file_format} holds {', '.join(accepted)}.")
    peak = checked_sound(np.asarray(audio), str(path))
    if subtype != "FLOAT" and peak > 1.0:
        raise ValueError(f"the sound for {path} peaks at {peak:.3f} and {subtype} holds 1; lower it, or write FLOAT.")
    # Encoded in memory, since libsndfile does not report every failed write to a disk.
    encoded, audio = io.BytesIO(), np.asarray(audio)
    channels = 1 if audio.ndim == 1 else audio.shape[1]
    with soundfile.SoundFile(encoded, "w", sample_rate, channels, subtype=subtype, format=file_format) as file:
        for start in range(0, len(audio), _WRITTEN):
            file.write(_as_steps(audio[start : start + _WRITTEN], subtype))
    with atomic_path(path) as partial:
        partial.write_bytes(encoded.getbuffer())


def _as_steps(audio: NDArray[np.floating], subtype: str) -> NDArray[Any]:
    """Integers whose upper bits are the steps of PCM; soundfile itself scales by 2**23 - 1, not 2**23."""
    if subtype == "FLOAT":
        return audio.astype(np.float32)
    bits = int(subtype.removeprefix("PCM_"))
    steps = np.round(audio.astype(np.float64) * 2 ** (bits - 1)).clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return np.asarray(steps.astype(np.int32) << (32 - bits))
