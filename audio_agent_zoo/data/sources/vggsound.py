"""VGGSound: a CSV of clips on a video site, and a folder with those that were loaded."""

from pathlib import Path

from audio_agent_zoo.data.sources.splits import Split, held_out, read_split
from audio_agent_zoo.data.sources.tables import csv_lines
from audio_agent_zoo.data.sources.video_files import VideoFiles
from audio_agent_zoo.data.sources.video_sites import SiteClip, files_by_name, seconds, site_notes, site_rows
from audio_agent_zoo.errors import MediaError

CSV_NAME = "vggsound.csv"


class VGGSoundSource(VideoFiles):
    """Rows `video id, start in seconds, label, split`, without a header or with one, and their videos.

    The videos lie anywhere below the folder of the CSV, cut (`ID_000030.mp4`, `ID_30.mp4`, `ID_30000_40000.mp4`,
    `ID.mp4`) or whole (`ID.mp4`, longer than 12 s). Clips without a file are left out and counted in `notes`. Part
    of the training split is held out for validation, where the table has none; the hash is of the video, so
    that two clips of one video stay together.

    Args:
        path: The CSV, or the folder that holds `vggsound.csv`.
        split: train, validation or test.
        validation_share: Share of the training videos for validation.
        seed: Another seed holds others out.

    Raises:
        MediaError: If the table or the folder is missing or can't be read, or no clip has a file.
        ValueError: If the share is not in [0, 1).

    Source: VGGSound's `vggsound.csv`; the label is the class and the caption.
    """

    def __init__(self, path: str | Path, split: Split = "train", validation_share: float = 0.05, seed: int = 0) -> None:
        table = Path(path) / CSV_NAME if Path(path).is_dir() else Path(path)
        clips = _clips(table)
        train = [clip.video_id for clip, said in clips if said == "train"]
        told = {said for _, said in clips}
        kept_out = held_out(train, validation_share, seed) if "validation" not in told else frozenset()
        chosen = [
            clip
            for clip, said in clips
            if ("validation" if said == "train" and clip.video_id in kept_out else said) == split
        ]
        rows, missing = site_rows(chosen, files_by_name(table.parent))
        if chosen and not rows:
            raise MediaError(
                f"no clip of {table.name} has a file in {table.parent}; name them like {chosen[0].id}.mp4."
            )
        settings = {"source": "vggsound", "split": split, "validation_share": validation_share, "seed": seed}
        super().__init__(settings, rows, site_notes(len(chosen), missing, rows))


def _clips(table: Path) -> list[tuple[SiteClip, Split]]:
    clips: dict[str, tuple[SiteClip, Split]] = {}
    for number, cells in csv_lines(table):
        if len(cells) != 4:
            raise MediaError(f"{table}, line {number}: {len(cells)} cells; a row is id, start in s, label, split.")
        video_id, start, label, split = cells
        try:
            clip = SiteClip(video_id, seconds(start), (label,) if label else (), label)
            clips[clip.id] = clip, read_split(split)
        except ValueError as error:
            if number == 1:
                continue  # the header, which the published file lacks
            raise MediaError(f"{table}, line {number}: {error}") from error
    if not clips:
        raise MediaError(f"{table} has no rows; a row is id, start in s, label, split.")
    return [clips[name] for name in sorted(clips)]
