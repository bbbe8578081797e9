"""Reaper projects: the timeline as text, one track and one item per step."""

from collections.abc import Sequence
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from audio_agent_zoo.planner.plan import clean_text
from audio_agent_zoo.studio.timeline_items import Item

_NO_PAN_LAW, _EQUAL_POWER_LAW = "-1", "0.7071067811865476"
_FADE_SHAPE = "1"  # Reaper's own default, the nearest it has to a quarter sine; 0 is a straight line


def quoted(text: str) -> str:
    """Text as one Reaper token: on one line, in the first kind of quotes that it does not hold itself."""
    line = clean_text(text)
    for mark in ('"', "'", "`"):
        if mark not in line:
            return f"{mark}{line}{mark}"
    return "`" + line.replace("`", "'") + "`"


def _number(value: float) -> str:
    """Shortest text that reads back as exactly this number; Reaper's files hold no exponents."""
    return np.format_float_positional(value, trim="-")


def _seconds(samples: int, item: Item) -> str:
    return _number(samples / item.sample_rate)


def _guid(*names: str) -> str:
    """An identifier that is the same in every export of the same thing."""
    return "{" + str(uuid5(NAMESPACE_URL, "/".join(names))).upper() + "}"


def _block(head: str, *lines: str | list[str]) -> list[str]:
    inside = [f"  {line}" for part in lines for line in ([part] if isinstance(part, str) else part)]
    return [f"<{head}", *inside, ">"]


def _item_lines(item: Item, project_id: str, number: int) -> list[str]:
    law = _NO_PAN_LAW if item.pan is None else _EQUAL_POWER_LAW
    return _block(
        "ITEM",
        f"POSITION {_seconds(item.start, item)}",
        "SNAPOFFS 0",
        f"LENGTH {_seconds(item.length, item)}",
        "LOOP 0",
        "ALLTAKES 0",
        f"FADEIN {_FADE_SHAPE} {_seconds(item.fade_in, item)} 0 {_FADE_SHAPE} 0 0 0",
        f"FADEOUT {_FADE_SHAPE} {_seconds(item.fade_out, item)} 0 {_FADE_SHAPE} 0 0 0",
        f"MUTE {int(item.step.muted)} 0",
        "SEL 0",
        f"IGUID {_guid(project_id, item.step.id, 'item')}",
        f"IID {number}",
        f"NAME {quoted(item.name)}",
        # Level of the item, pan, level and pan law of its only take.
        f"VOLPAN {_number(item.level)} {_number(item.pan or 0.0)} 1 {law}",
        f"SOFFS {_seconds(item.source_offset, item)}",
        "PLAYRATE 1 1 0 -1 0 0.0025",
        "CHANMODE 0",
        f"GUID {_guid(project_id, item.step.id, 'take')}",
        _block("SOURCE WAVE" if Path(item.file).suffix == ".wav" else "SOURCE FLAC", f"FILE {quoted(item.file)}"),
    )


def _track(name: str, project_id: str, key: str, item_lines: list[str]) -> list[str]:
    track_id = _guid(project_id, key, "track")
    return _block(
        f"TRACK {track_id}",
        f"NAME {quoted(name)}",
        "VOLPAN 1 0 -1 -1 1",
        "MUTESOLO 0 0 0",
        "NCHAN 2",
        f"TRACKID {track_id}",
        "MAINSEND 1 0",
        item_lines,
    )


def _picture_lines(video_file: str, duration_s: float) -> list[str]:
    """The video, its own sound turned down: it is the mix that the tracks below it make."""
    return _block(
        "ITEM",
        "POSITION 0",
        f"LENGTH {_number(duration_s)}",
        "LOOP 0",
        "FADEIN 0 0 0 0 0 0 0",
        "FADEOUT 0 0 0 0 0 0 0",
        "MUTE 0 0",
        'NAME "picture"',
        "VOLPAN 0 0 1 -1",
        "SOFFS 0",
        _block("SOURCE VIDEO", f"FILE {quoted(video_file)}"),
    )


def reaper_project(
    items: Sequence[Item],
    *,
    project_id: str,
    sample_rate: int,
    start_hour: int = 0,
    video_file: str | None = None,
    video_duration_s: float = 0.0,
) -> str:
    """The text of a Reaper project (.rpp) that lies beside the files of its items.

    Times are written so that they read back to the very sample. Two things are Reaper's own: the curve of a
    fade (its nearest to our quarter sine) and of pan between centre and side (its -3 dB law).

    Args:
        items: Items in the order of their tracks.
        project_id: Whatever tells this timeline from others; the same text gives the same project.
        sample_rate: Samples per second of the project.
        start_hour: Hour that its ruler begins with.
        video_file: A video to show, by its name relative to the project; its sound is turned down.
        video_duration_s: Length of that video in seconds.
    """
    tracks = (
        [_track("picture", project_id, "video", _picture_lines(video_file, video_duration_s))] if video_file else []
    )
    tracks += [
        _track(item.name, project_id, item.step.id, _item_lines(item, project_id, number))
        for number, item in enumerate(items, 1)
    ]
    lines = _block(
        'REAPER_PROJECT 0.1 "6.0" 0',
        "RIPPLE 0",
        "AUTOXFADE 0",
        "PANLAW 1",
        f"PROJOFFS {start_hour * 3600} 0 0",
        "SAMPLERATE " + f"{sample_rate} 1 0",
        "MASTER_NCH 2 2",
        "MASTER_VOLUME 1 0 -1 -1 1",
        *tracks,
    )
    return "\n".join(lines) + "\n"
