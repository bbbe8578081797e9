"""Cue sheets: timecodes against counting frame by frame, and cells that no spreadsheet runs."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_agent_zoo.planner.plan import Plan, Step
from audio_agent_zoo.studio.cue_sheet import COLUMNS, cue_sheet, safe_cell
from audio_agent_zoo.studio.timecode import first_frame, timecode

NTSC_30, NTSC_60, NTSC_24 = 30_000 / 1001, 60_000 / 1001, 24_000 / 1001


def counted_labels(n_frames: int, nominal: int, dropped: int) -> list[str]:
    """Drop-frame labels, one after the other: the first few of each minute are left out, but not every tenth."""
    labels, hours, minutes, seconds, frame = [], 0, 0, 0, 0
    while len(labels) < n_frames:
        if not (seconds == 0 and frame < dropped and minutes % 10):
            labels.append(f"{hours:02d}:{minutes:02d}:{seconds:02d};{frame:02d}")
        frame += 1
        if frame == nominal:
            frame, seconds = 0, seconds + 1
        if seconds == 60:
            seconds, minutes = 0, minutes + 1
        if minutes == 60:
            minutes, hours = 0, hours + 1
    return labels


@pytest.mark.parametrize(("rate", "nominal", "dropped"), [(NTSC_30, 30, 2), (NTSC_60, 60, 4)])
def test_drop_frame_labels_equal_those_counted_one_by_one(rate: float, nominal: int, dropped: int) -> None:
    labels = counted_labels(round(22 * 60 * rate), nominal, dropped)
    for number in [*range(0, len(labels), 7), *range(60 * nominal - 5, 60 * nominal + 9)]:
        assert timecode(number / rate, rate) == labels[number]
    assert len(counted_labels(first_frame(rate, 1) + 1, nominal, dropped)[-1]) == 11
    assert counted_labels(first_frame(rate, 1) + 1, nominal, dropped)[-1] == "01:00:00;00"


@pytest.mark.parametrize(
    ("seconds", "rate", "hour", "label"),
    [
        (0.0, 25, 0, "00:00:00:00"),
        (2.48, 25, 1, "01:00:02:12"),
        (3599.96, 25, 23, "23:59:59:24"),
        (599.99, 24, 0, "00:10:00:00"),
        (1001.0, NTSC_24, 0, "00:16:40:00"),
        (0.999, 120, 0, "00:00:01:000"),
    ],
)
def test_timecodes_at_other_rates(seconds: float, rate: float, hour: int, label: str) -> None:
    assert timecode(seconds, rate, hour) == label


FORMULAS = [
    "=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=cmd|' /C calc'!A0", '"=1"', "'=1",
    " =1", "＝1+1", "＠x", "−1",
]  # fmt: skip


def begins_a_formula(cell: str) -> bool:
    return cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_a_formula(text: str) -> None:
    assert not begins_a_formula(safe_cell(text))


@given(st.text(max_size=40))
def test_no_text_whatever_begins_a_formula(text: str) -> None:
    cell = safe_cell(text)
    assert not begins_a_formula(cell.lstrip(" \"'") if not cell.startswith("'") else cell)
    assert not set(cell) & set("\r\n\t\0")


@pytest.mark.parametrize("text", ["Rain", "a - b", "", "3 dogs", "e1"])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert safe_cell(text) == text


def test_the_sheet_has_a_line_per_step_and_numbers_stay_numbers() -> None:
    steps = (
        Step(id="e1", prompt='=HYPERLINK("http://x", "y"), rain', start_s=0, end_s=2.5, level_lufs=-26),
        Step(id="e2", prompt="A dog; barks\nloudly", start_s=1, end_s=4, pan=-0.5, muted=True, take=2, seed=2**62),
    )
    plan = Plan(duration_s=4, steps=steps)
    text = cue_sheet(
        plan, files={"e1": "stems/01.wav"}, seeds={"e1": 5}, model="@evil/weights", license="apache-2.0", start_hour=1
    )
    assert text.count("\r\n") == text.count("\n") == 3
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == COLUMNS
    first, second = rows
    assert first["prompt"] == '\'=HYPERLINK("http://x", "y"), rain'
    assert (first["tc_in"], first["tc_out"]) == ("01:00:00:00", "01:00:02:12")
    assert (float(first["level_lufs"]), first["seed"], first["file"]) == (-26.0, "5", "stems/01.wav")
    assert first["model"] == "'@evil/weights"
    assert (second["prompt"], second["muted"], second["take"]) == ("A dog; barks loudly", "yes", "2")
    assert (float(second["pan"]), second["seed"], second["file"]) == (-0.5, str(2**62), "")
