"""AudioCaps: sentences about clips on a video site, and a folder with those that were loaded."""

from pathlib import Path

from audio_agent_zoo.data.sources.splits import Split, held_out
from audio_agent_zoo.data.sources.tables import csv_rows
from audio_agent_zoo.data.sources.video_files import VideoFiles
from audio_agent_zoo.data.sources.video_sites import SiteClip, files_by_name, seconds, site_notes, site_rows
from audio_agent_zoo.errors import MediaError

COLUMNS = ("audiocap_id", "youtube_id", "start_time", "caption")
_TABLES: dict[Split, str] = {"train": "train.csv", "validation": "val.csv", "test": "test.csv"}


class AudioCapsSource(VideoFiles):
    """`train.csv`, `val.csv` and `test.csv` with `audiocap_id,youtube_id,start_time,caption`, and their files.

    Rows of one clip become one clip with several captions, as in the validation and test tables. The files lie
    anywhere below the folder, named after the video and its start as in `VGGSoundSource`, or after `audiocap_id`.
    Most copies of AudioCaps are sound alone (`.wav`, `.flac`): such a clip has its `sound(index)` for
    text-to-audio, while `example(index, ...)` raises `NoPictureError`.

    Args:
        path: Folder of the tables, or one table, all of which is `split`.
        split: train, validation or test.
        validation_share: Share of the training videos for validation, in a folder that has no `val.csv`.
        seed: Another seed holds others out.

    Raises:
        MediaError: If the table or the folder is missing or can't be read, or no clip has a file.
        ValueError: If the share is not in [0, 1).

    Source: AudioCaps' published tables.
    """

    def __init__(self, path: str | Path, split: Split = "train", validation_share: float = 0.05, seed: int = 0) -> None:
        folder = Path(path) if Path(path).is_dir() else Path(path).parent
        table = folder / _TABLES[split] if Path(path).is_dir() else Path(path)
        divided = Path(path).is_dir() and not (folder / _TABLES["validation"]).is_file()
        clips = _clips(folder / _TABLES["train"] if divided and split == "validation" else table)
        if divided and split != "test":
            kept_out = held_out([clip.video_id for clip in clips], validation_share, seed)
            clips = [clip for clip in clips if (clip.video_id in kept_out) == (split == "validation")]
        rows, missing = site_rows(clips, files_by_name(folder))
        if clips and not rows:
            raise MediaError(f"no clip of {table.name} has a file in {folder}; name them like {clips[0].id}.mp4.")
        settings = {"source": "audiocaps", "split": split, "validation_share": validation_share, "seed": seed}
        super().__init__(settings, rows, site_notes(len(clips), missing, rows))


def _clips(table: Path) -> list[SiteClip]:
    clips: dict[str, SiteClip] = {}
    for number, cells in csv_rows(table, COLUMNS):
        try:
            clip = SiteClip(cells["youtube_id"], seconds(cells.get("start_time", "")), ())
        except ValueError as error:
            raise MediaError(f"{table}, line {number}: {error}") from error
        caption, known = " ".join(cells.get("caption", "").split()), clips.get(clip.id)
        captions = (*(known.captions if known else ()), *((caption,) if caption else ()))
        names = (*(known.other_names if known else ()), cells["audiocap_id"])
        clips[clip.id] = SiteClip(clip.video_id, clip.start_s, tuple(dict.fromkeys(captions)), "", names)
    if not clips:
        raise MediaError(f"{table} has no rows below its header.")
    return [clips[name] for name in sorted(clips)]
