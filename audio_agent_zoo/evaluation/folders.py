"""Two folders of sounds, matched by file name, and everything about them that a figure would hide."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.media import read_audio, read_soundtrack
from audio_agent_zoo.rates import SAMPLE_RATE

Audio = NDArray[np.float32]

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a")
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
LENGTH_TOLERANCE_S = 0.02
"""Lengths that differ by less are those of a codec's last frame."""

_MOST_LISTED = 20
_SILENCE = 1e-4


@dataclass(frozen=True)
class Clip:
    """A clip of one folder.

    Attributes:
        sound: File with its sound: a sound file, or the video where there is no other.
        video: File with its picture, or None.
        duration_s: Length of its sound in seconds.
        peak: Highest absolute sample.
    """

    sound: Path
    video: Path | None
    duration_s: float
    peak: float

    def read(self, sample_rate: int) -> Audio:
        """Its sound `(samples,)` at a rate."""
        return _read(self.sound, sample_rate)

    @property
    def silent(self) -> bool:
        """Whether nothing is heard: a peak below -80 dB of full scale."""
        return self.peak < _SILENCE


@dataclass(frozen=True)
class ClipPairs:
    """What two folders hold in common, and what they do not.

    Attributes:
        names: Name of each pair: the path within the folder without its suffix, sorted.
        generated: One clip per name.
        reference: One clip per name.
        problems: Kind ("missing", "extra", "unreadable", "ambiguous") -> what was left out, each with its reason.
    """

    names: tuple[str, ...]
    generated: tuple[Clip, ...]
    reference: tuple[Clip, ...]
    problems: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return len(self.names)

    def length_differences(self) -> dict[str, dict[str, float]]:
        """Name -> both lengths in seconds, of the pairs whose lengths differ."""
        return {
            name: {"generated_s": round(made.duration_s, 3), "reference_s": round(true.duration_s, 3)}
            for name, made, true in zip(self.names, self.generated, self.reference, strict=True)
            if abs(made.duration_s - true.duration_s) > LENGTH_TOLERANCE_S
        }


def _read(path: Path, sample_rate: int) -> Audio:
    return (read_soundtrack if path.suffix.lower() in VIDEO_SUFFIXES else read_audio)(path, sample_rate)


def _files(folder: Path) -> tuple[dict[str, Path], dict[str, Path], list[str]]:
    """Sounds and videos of a folder by name, and names that more than one file of a kind has."""
    if not folder.is_dir():
        raise MediaError(f"{folder} is no folder; give a folder of sounds.")
    sounds, videos, ambiguous = dict[str, Path](), dict[str, Path](), list[str]()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        suffix = path.suffix.lower()
        if any(part.startswith(".") for part in inside.parts) or not path.is_file():
            continue
        found = sounds if suffix in SOUND_SUFFIXES else videos if suffix in VIDEO_SUFFIXES else None
        if found is None:
            continue
        name = inside.with_suffix("").as_posix()
        if name in found:
            ambiguous.append(f"{name} (as {found[name].suffix} and {path.suffix} in {folder.name})")
        found[name] = path
    if not sounds and not videos:
        accepted = ", ".join((*SOUND_SUFFIXES, *VIDEO_SUFFIXES))
        raise MediaError(f"{folder} holds no sounds; give a folder with files that end in {accepted}.")
    return sounds, videos, ambiguous


def _clip(name: str, sounds: Mapping[str, Path], videos: Mapping[str, Path]) -> Clip:
    sound = sounds[name] if name in sounds else videos[name]
    audio = _read(sound, SAMPLE_RATE)
    return Clip(sound, videos.get(name), len(audio) / SAMPLE_RATE, float(np.abs(audio).max(initial=0.0)))


def pair_folders(
    generated: Path,
    reference: Path,
    *,
    partial: bool = False,
    callback: Callable[[int, int], None] | None = None,
) -> ClipPairs:
    """Match the sounds of two folders by file name, and read every one of them once to know that it can be.

    Folders are looked through with their subfolders; other files are passed over. A sound file and a video may share
    a name: the sound is then the file's and the picture the video's.

    Args:
        generated: Folder of generated sounds.
        reference: Folder of true sounds, or of videos with them.
        partial: Go on with the pairs that are whole, instead of refusing what is not.
        callback: Names looked at, and in all.

    Raises:
        MediaError: If a folder is missing or holds no sounds, or, unless `partial`, a file has no partner, can't be
            read, is empty, or shares its name; the message lists them. Also if no pair is left.
    """
    made_sounds, made_videos, ambiguous = _files(generated)
    true_sounds, true_videos, more = _files(reference)
    made, true = {*made_sounds, *made_videos}, {*true_sounds, *true_videos}
    problems = {"missing": sorted(true - made), "extra": sorted(made - true)}
    problems |= {"ambiguous": [*ambiguous, *more], "unreadable": list[str]()}
    names, ours, theirs = list[str](), list[Clip](), list[Clip]()
    common = sorted(made & true)
    doubled = {entry.split(" (as ")[0] for entry in problems["ambiguous"]}
    for i, name in enumerate(common):
        if callback is not None:
            callback(i + 1, len(common))
        if name in doubled:
            continue
        try:
            pair = _clip(name, made_sounds, made_videos), _clip(name, true_sounds, true_videos)
        except MediaError as error:
            problems["unreadable"].append(str(error))
            continue
        names.append(name)
        ours.append(pair[0])
        theirs.append(pair[1])
    found = {kind: tuple(entries) for kind, entries in problems.items() if entries}
    if found and not partial:
        raise MediaError(_complaint(generated, reference, found))
    if not names:
        raise MediaError(f"{generated} and {reference} have no readable clip in common." + _listed(found))
    return ClipPairs(tuple(names), tuple(ours), tuple(theirs), found)


_SAID = {
    "missing": "have no generated sound",
    "extra": "have no reference",
    "ambiguous": "are there twice",
    "unreadable": "can't be read",
}


def _listed(problems: Mapping[str, Sequence[str]]) -> str:
    lines = list[str]()
    for kind, entries in problems.items():
        lines.append(f"\n{len(entries)} {_SAID[kind]}:")
        lines += [f"\n  {entry}" for entry in entries[:_MOST_LISTED]]
        lines += [f"\n  and {len(entries) - _MOST_LISTED} more"] if len(entries) > _MOST_LISTED else []
    return "".join(lines)


def _complaint(generated: Path, reference: Path, problems: Mapping[str, Sequence[str]]) -> str:
    return (
        f"{generated} and {reference} do not match by file name.{_listed(problems)}\n"
        "Put this right, or score what is whole with --partial; the rest is then listed in the results."
    )
