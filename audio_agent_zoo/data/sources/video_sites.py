"""Clips cut from videos of a site, under the names that common download scripts give them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_agent_zoo.data.sources.video_files import SOUND_SUFFIXES, VIDEO_SUFFIXES, VideoRow, find_files

CLIP_S = 10.0
"""Length of the clips of AudioSet, from which AudioCaps and VGGSound take theirs."""


@dataclass(frozen=True)
class SiteClip:
    """One clip of a table.

    Attributes:
        video_id: Eleven characters that name the video on the site.
        start_s: Where the clip starts in it.
        captions: What is heard.
        class_name: Class of the sound, or "".
        other_names: Names besides those made of id and start that its file may have.
    """

    video_id: str
    start_s: float
    captions: tuple[str, ...]
    class_name: str = ""
    other_names: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Video and start, in whole seconds."""
        return f"{self.video_id}_{round(self.start_s):06d}"

    def names(self) -> Iterator[str]:
        """Names that its file may have, without the suffix, the surest first."""
        start, end = round(self.start_s), round(self.start_s + CLIP_S)
        yield self.id
        yield f"{self.video_id}_{start}"
        yield f"{self.video_id}_{start}_{end}"
        yield f"{self.video_id}_{start * 1000}_{end * 1000}"
        yield from self.other_names
        yield self.video_id
        yield f"Y{self.video_id}"  # AudioSet's own names, since no file name should begin with a hyphen


def files_by_name(folder: Path) -> dict[str, Path]:
    """Videos and sounds below a folder by name without suffix; of one name the video.

    Raises:
        MediaError: If there is no such folder.
    """
    found = {path.stem: path for path in find_files(folder, SOUND_SUFFIXES)}
    return found | {path.stem: path for path in find_files(folder, VIDEO_SUFFIXES)}


def site_rows(clips: Iterable[SiteClip], files: dict[str, Path]) -> tuple[list[VideoRow], list[str]]:
    """The clips that have a file, and the names of those that have none."""
    rows, missing = list[VideoRow](), list[str]()
    for clip in clips:
        path = next((files[name] for name in clip.names() if name in files), None)
        if path is None:
            missing.append(clip.id)
            continue
        whole = path.stem in (clip.video_id, f"Y{clip.video_id}")
        length_s = CLIP_S if whole else None
        rows.append(VideoRow(clip.id, str(path), clip.captions, clip.class_name, (), clip.start_s, length_s))
    return rows, missing


def site_notes(n_clips: int, missing: Sequence[str], rows: Sequence[VideoRow]) -> Iterator[str]:
    """What of a table there is."""
    if missing:
        yield (
            f"{len(rows)} of {n_clips} clips of the table have a file; the rest is left out, such as {missing[0]}. "
            "Videos vanish from their site; say with your figures how many you had."
        )
    sounds = sum(Path(row.path).suffix.lower() in SOUND_SUFFIXES for row in rows)
    if sounds:
        yield f"{sounds} clips are sound without a picture; they do for text-to-audio alone."


def seconds(text: str) -> float:
    """A start in a table.

    Raises:
        ValueError: If it is no number of seconds.
    """
    value = float(text)
    if not 0 <= value < 1e6:
        raise ValueError(f"the start is {text!r}; write seconds.")
    return value
