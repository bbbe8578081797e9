"""Hand out a rendered plan: master, stems, handles, projects for workstations, cue sheet, video and provenance."""

from collections.abc import Collection
from pathlib import Path

from audio_agent_zoo.studio.aaf import aaf_library
from audio_agent_zoo.studio.export_bundle import Bundle
from audio_agent_zoo.studio.export_folder import checksums, publish, staged, write_zip
from audio_agent_zoo.studio.export_project import ExportProject, check_project
from audio_agent_zoo.studio.master import Delivery
from audio_agent_zoo.studio.otio import otio_library

__all__ = ["DEFAULT_FORMATS", "FORMATS", "Delivery", "ExportProject", "export"]

FORMATS = ("master", "stems", "handles", "reaper", "otio", "aaf", "cue_sheet", "video", "zip")
"""What can be asked for; the plan, its provenance and a report of what was measured always come along."""

DEFAULT_FORMATS = ("master", "stems", "reaper", "cue_sheet")

_ZIP = "export.zip"


def export(
    project: ExportProject,
    folder: str | Path,
    *,
    formats: Collection[str] | None = None,
    delivery: Delivery | None = None,
) -> list[Path]:
    """Write a rendered plan to a folder: every file, or none if anything fails.

    - `master`: `mix.wav`, at the loudness and under the ceiling of the delivery; measured in `report.json`.
    - `stems`: `stems/NN_id_words.wav`, as long as the plan; their sum is the master before gain and limiter
      (to the bit in 24 bits and float; `report.json` has the gain).
    - `handles`: `handles/...`, what was rendered before it was cut, faded and levelled.
    - `reaper`, `otio`, `aaf` (experimental): the timeline with levels, fades and pan over the handles, or over
      the finished stem where a step has no render that its stem can be rebuilt from.
    - `cue_sheet`: `cues.csv`. `video`: `dub.mp4`, the picture untouched. `zip`: `export.zip` with all of it.

    Stems and handles that an earlier export left in the folder are removed where nobody changed them.

    Args:
        project: What to write.
        folder: Folder to write to; made if it is missing.
        formats: Some of `FORMATS`; None for master, stems, Reaper project, cue sheet, and a video if there is one.
        delivery: Sample format, rate, loudness and timecode; 24-bit WAV at 48 kHz as mixed when None.

    Returns:
        Path of each file written, sorted; the zip last.

    Raises:
        ValueError: For an unknown format, a sound that is not finite or of a wrong length, stems that don't add
            up to the mix, or a provenance key that is not known.
        ImportError: If a format needs the extra `daw`.
        MediaError: If a file can't be written or the video can't be read.
    """
    if formats is None:
        formats = (*DEFAULT_FORMATS, "video") if project.video else DEFAULT_FORMATS
    wanted = frozenset([formats] if isinstance(formats, str) else formats)
    if unknown := sorted(wanted - set(FORMATS)):
        raise ValueError(f"formats has {', '.join(unknown)}; choose among {', '.join(FORMATS)}.")
    if "video" in wanted and project.video is None:
        raise ValueError("the format video needs one; give ExportProject(video=...), or leave it out.")
    if "otio" in wanted:
        otio_library()
    if "aaf" in wanted:
        aaf_library()
    check_project(project)
    with staged(Path(folder)) as staging:
        Bundle(project, wanted, delivery or Delivery(), staging).write()
        names = list(checksums(staging))
        if "zip" in wanted:
            write_zip(staging, _ZIP, names)
            names.append(_ZIP)
        publish(staging, Path(folder), names)
    return [Path(folder) / name for name in names]
