"""The cue sheet: one line per sound with its timecodes, for spreadsheets and rights departments."""

import csv
import io
import unicodedata
from collections.abc import Mapping

from audio_agent_zoo.planner.plan import Plan, clean_text
from audio_agent_zoo.studio.timecode import timecode

COLUMNS = (
    "id", "layer", "kind", "source", "tc_in", "tc_out", "start_s", "end_s", "duration_s", "prompt", "negative_prompt",
    "level_lufs", "pan", "fade_in_s", "fade_out_s", "muted", "seed", "take", "file", "model", "license",
)  # fmt: skip

_FORMULA_MARKS = ("=", "+", "-", "@")


def safe_cell(text: str) -> str:
    """Text that a spreadsheet shows and does not run: on one line, an apostrophe before what begins a formula.

    Source: OWASP, CSV injection; wide forms of the signs count too, since some programs read them alike.
    """
    line = clean_text(text)
    begins = unicodedata.normalize("NFKC", line.lstrip("'\"` "))[:1]
    return f"'{line}" if begins in _FORMULA_MARKS and begins else line


def cue_sheet(
    plan: Plan,
    *,
    files: Mapping[str, str],
    seeds: Mapping[str, int],
    model: str = "",
    license: str = "",
    frame_rate: float = 25.0,
    start_hour: int = 0,
) -> str:
    """The plan as CSV (RFC 4180), a line per step in order of start.

    Args:
        plan: The plan.
        files: Step id -> name of its sound file.
        seeds: Step id -> seed it was made with.
        model: Weights that made the sounds.
        license: Their licence.
        frame_rate: Frames per second of the timecodes.
        start_hour: Hour of the first frame.
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for step in plan.steps:
        seed = seeds.get(step.id, step.seed)
        row: tuple[str | float, ...] = (
            step.id, step.layer, step.kind, step.source,
            timecode(step.start_s, frame_rate, start_hour), timecode(step.end_s, frame_rate, start_hour),
            step.start_s, step.end_s, round(step.duration_s, 6), step.prompt, step.negative_prompt,
            step.level_lufs, step.pan, step.fade_in_s, step.fade_out_s, "yes" if step.muted else "no",
            "" if seed is None else str(seed), step.take, files.get(step.id, ""), model, license,
        )  # fmt: skip
        # Numbers are our own and stay numbers, a minus before them or not.
        writer.writerow([safe_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return written.getvalue()
