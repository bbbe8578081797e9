"""What a look through the clips found, as a table, as JSON and as a picture."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from audio_agent_zoo.data.check import LEFT_OUT, REMARKS, ClipCheck, DataReport
from audio_agent_zoo.data.check_picture import draw_report
from audio_agent_zoo.media import atomic_path

_MOST_CLASSES, _MOST_CLIPS = 30, 5
_NO_CLASS = "(no class)"


def write_report(report: DataReport, folder: str | Path, title: str = "") -> list[Path]:
    """Write `data_check.txt`, `data_check.json` and `data_check.png`.

    Args:
        report: What was found.
        folder: Where they go; made if need be.
        title: Name of the data, for the picture.

    Returns:
        The files.

    Raises:
        MediaError: If a file can't be written.
    """
    paths = [Path(folder) / f"data_check.{suffix}" for suffix in ("txt", "json", "png")]
    for path, text in zip(paths, (report_table(report), report.to_json()), strict=False):
        with atomic_path(path) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    draw_report(paths[-1], report, title)
    return paths


def report_table(report: DataReport) -> str:
    """The figures, the classes and what is wrong with which clips, in lines."""
    blocks = [_figures(report), _classes(report)]
    blocks += [_clips(report, "left out by prepare", LEFT_OUT), _clips(report, "worth a look", REMARKS)]
    return "\n\n".join("\n".join(lines) for block in blocks if (lines := list(block)))


def _figures(report: DataReport) -> Iterator[str]:
    found = report.summary()
    checked = "" if len(report.clips) == sum(report.n_clips.values()) else f", {len(report.clips)} looked at"
    there = " and ".join(f"{count} of {split}" for split, count in report.n_clips.items())
    yield f"clips      {there}{checked}; {found['n_usable']} can be used"
    if not report.usable:
        return
    lengths, levels, captions = found["duration_s"], found["loudness_lufs"], found["captions"]
    yield f"length     {_range(lengths, 's')}; {clock(lengths['sum'])} in all"
    yield f"loudness   {_range(levels, 'LUFS')}; {found['silence']:.0%} of the sound is silence"
    per_clip = ", ".join(f"{n} with {count or 'none'}" for count, n in captions["per_clip"].items())
    told = f"; {captions['different']} different, {_range(captions['words'], 'words')}" if captions["words"] else ""
    yield f"captions   {per_clip}{told}"


def _range(spread: dict[str, float], unit: str) -> str:
    return f"{spread['min']:.3g} to {spread['max']:.3g} {unit}, median {spread['median']:.3g}"


def clock(seconds: float) -> str:
    """A length in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _classes(report: DataReport) -> Iterator[str]:
    classes = report.by_class()
    if list(classes) == [""]:
        return
    splits = list(report.n_clips)
    wide = min(36, max(len(name or _NO_CLASS) for name in classes)) + 2
    yield f"{'class':<{wide}}" + "".join(f"{word:>12}" for word in (*splits, "left out", "length", "LUFS"))
    for name, clips in list(classes.items())[:_MOST_CLASSES]:
        cells: list[Any] = [_split_count(clips, split) for split in splits]
        cells += [sum(bool(clip.left_out) for clip in clips) or ""]
        cells += [clock(sum(clip.duration_s or 0 for clip in clips if not clip.left_out)), _middle_level(clips)]
        label = name or _NO_CLASS
        yield f"{label if len(label) <= wide - 2 else label[: wide - 3] + '…':<{wide}}" + "".join(
            f"{c:>12}" for c in cells
        )
    if len(classes) > _MOST_CLASSES:
        rest = list(classes.values())[_MOST_CLASSES:]
        yield f"and {len(rest)} more classes with {sum(map(len, rest))} clips"


def _split_count(clips: list[ClipCheck], split: str) -> int:
    return Counter(clip.split for clip in clips if not clip.left_out)[split]


def _middle_level(clips: list[ClipCheck]) -> str:
    levels = [clip.loudness_lufs for clip in clips if clip.loudness_lufs is not None and not clip.left_out]
    return f"{np.median(levels):.1f}" if levels else ""


def _clips(report: DataReport, heading: str, kinds: tuple[str, ...]) -> Iterator[str]:
    found = report.counts(kinds)
    if not found:
        return
    yield heading
    for kind, clips in found.items():
        yield f"  {kind:<16}{len(clips):>6}"
        for clip in clips[:_MOST_CLIPS]:
            yield f"    {clip.reason or clip.id}"
        if len(clips) > _MOST_CLIPS:
            yield f"    and {len(clips) - _MOST_CLIPS} more, listed in the JSON"
