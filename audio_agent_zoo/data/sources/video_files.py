"""Clips that are video files: how one is read, and the rows that every source of files is made of."""

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.data.sources.examples import FoleyExample
from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.media import VideoInfo, iter_frames, probe_video, read_audio, read_soundtrack
from audio_agent_zoo.rates import FRAME_RATE, n_samples, n_video_frames

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp")
)
SOUND_SUFFIXES = frozenset((".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aiff"))

_SPARE_S = 2.0  # a file this much longer than its clip is the whole video, not the clip


class NoSoundError(MediaError):
    """A clip has a picture but no sound to learn from."""


class NoPictureError(MediaError):
    """A clip has sound but no picture."""


@dataclass(frozen=True)
class VideoRow:
    """One clip of a source of files.

    Attributes:
        id: Unique name within the source.
        path: The file.
        captions: What is heard, in one or several wordings; may be empty.
        class_name: Class of the sound, or "".
        onset_s: Onsets in seconds from the start of the file, where they are known.
        start_s: Where the clip starts, if the file turns out to be the whole video it was cut from.
        length_s: Length of the clip; None where a file is a clip.
    """

    id: str
    path: str
    captions: tuple[str, ...] = ()
    class_name: str = ""
    onset_s: tuple[float, ...] = ()
    start_s: float = 0.0
    length_s: float | None = None


def words(name: str) -> str:
    """A class name as a caption: `dog_barking` is "dog barking"."""
    return " ".join(name.replace("_", " ").split())


def find_files(folder: Path, suffixes: frozenset[str] = VIDEO_SUFFIXES) -> list[Path]:
    """Files below a folder, in the order of their names; links are followed, hidden names left out.

    Raises:
        MediaError: If there is no such folder.
    """
    if not folder.is_dir():
        raise MediaError(f"{folder} is not a folder; check the path.")
    found, seen = list[Path](), set[str]()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [name for name in folders if name[0] != "."]
        if real in seen:
            continue
        seen.add(real)
        found += [Path(place, name) for name in files if name[0] != "." and Path(name).suffix.lower() in suffixes]
    return sorted(found, key=lambda path: unicodedata.normalize("NFC", path.as_posix()))


def named_file(folder: Path, name: str) -> Path:
    """A file by the name a table gives it, also where the disk spells its accents in the other way.

    The path is given back whether or not there is a file.
    """
    spellings = [name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")), name.replace("\\", "/")]
    return next((folder / one for one in spellings if (folder / one).is_file()), folder / name)


def read_clip(row: VideoRow, image_size: int, audio: NDArray[np.float32] | None = None) -> FoleyExample:
    """Read the sound of a clip, and its frames as they are asked for.

    Args:
        row: The clip.
        image_size: Pixels of the shorter side of the frames.
        audio: Its sound `(samples,)` at 16 kHz, where that is not in the file.

    Raises:
        NoSoundError: If the file has a picture alone.
        NoPictureError: If it has sound alone.
        MediaError: If it is missing, damaged or cut off; so also while frames are read.
    """
    if Path(row.path).is_file() and Path(row.path).suffix.lower() in SOUND_SUFFIXES:
        raise NoPictureError(
            f"{row.path} is sound without a picture; training on video needs a video. `sound(index)` reads its sound."
        )
    info = probe_video(row.path)
    if audio is None:
        if not info.has_audio:
            raise NoSoundError(f"{row.path} has no sound; give videos with their own sound.")
        audio = read_soundtrack(row.path)
    start_s, length_s = _stretch(row, info.duration_s)
    frames = iter_frames(row.path, size=_scaled(info, image_size))
    onset_s = tuple(t - start_s for t in row.onset_s if t >= start_s)
    if length_s is not None:
        audio = audio[n_samples(start_s) : n_samples(start_s + length_s)]
        frames = _cut(frames, round(start_s * FRAME_RATE), n_video_frames(length_s))
        onset_s = tuple(t for t in onset_s if t < length_s)
    return FoleyExample(row.id, audio, row.captions, frames, row.class_name, onset_s)


def _scaled(info: VideoInfo, image_size: int) -> tuple[int, int]:
    """`(height, width)` with the shorter side at `image_size`."""
    scale = image_size / min(info.height, info.width)
    return max(image_size, round(info.height * scale)), max(image_size, round(info.width * scale))


def _stretch(row: VideoRow, duration_s: float) -> tuple[float, float | None]:
    """Where in the file the clip lies: start and length, or the whole file."""
    if row.length_s is None or duration_s <= row.length_s + _SPARE_S:
        return 0.0, None
    return row.start_s, row.length_s


def _cut(chunks: Iterable[NDArray[np.uint8]], first: int, count: int) -> Iterator[NDArray[np.uint8]]:
    """Frames `first` to `first + count` of the chunks; nothing beyond them is decoded."""
    passed = 0
    for chunk in chunks:
        part = chunk[max(0, first - passed) : max(0, first + count - passed)]
        passed += len(chunk)
        if len(part):
            yield part
        if passed >= first + count:
            return


class VideoFiles:
    """Clips of video files, as a source for `prepare`; what folders and published data sets have in common.

    Attributes:
        settings: Name and plain settings of the source, a part of its identity.
        rows: The clips, in order.
        notes: What was found out while the tables were read, in sentences.
    """

    def __init__(self, settings: Mapping[str, Any], rows: Iterable[VideoRow], notes: Iterable[str] = ()) -> None:
        self.settings = dict(settings)
        self.rows, self.notes = tuple(rows), tuple(notes)

    def __len__(self) -> int:
        return len(self.rows)

    def example(self, index: int, image_size: int) -> FoleyExample:
        """Read one clip; its frames are decoded as they are asked for, at 21.5 per second.

        Args:
            index: From 0.
            image_size: Pixels of the shorter side of the frames.

        Raises:
            NoSoundError: If the file has a picture alone.
            NoPictureError: If it has sound alone.
            MediaError: If it is missing, damaged or cut off; so also while frames are read.
        """
        return read_clip(self.rows[index], image_size)

    def sound(self, index: int) -> NDArray[np.float32]:
        """The sound of one clip `(samples,)` at 16 kHz, whether or not it has a picture; its text is in `rows`.

        Raises:
            MediaError: If the file is missing, damaged, or holds no sound.
        """
        row = self.rows[index]
        if Path(row.path).suffix.lower() not in SOUND_SUFFIXES:
            return read_clip(row, 1).audio
        audio = read_audio(row.path)
        start_s, length_s = _stretch(row, len(audio) / n_samples(1))
        return audio if length_s is None else audio[n_samples(start_s) : n_samples(start_s + length_s)]

    def identity(self) -> dict[str, Any]:
        """Settings, number of clips, and a hash over names, sizes and texts; where the files lie does not matter."""
        digest = sha256()
        for row in self.rows:
            size = os.path.getsize(row.path) if os.path.exists(row.path) else -1
            text = [row.id, size, row.captions, row.class_name, row.onset_s, row.start_s, row.length_s]
            digest.update(repr(text).encode())
        return {**self.settings, "n_clips": len(self.rows), "sha256": digest.hexdigest()}
