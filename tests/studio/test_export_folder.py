"""What an export refuses, and that a failed one leaves nothing behind."""

import json
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.studio.exports import DEFAULT_FORMATS, ExportProject, export
from tests.studio.projects import project, steps


def files_in(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def broken(kind: str) -> ExportProject:
    made = project()
    bad = made.stems["e1"].copy()
    bad[5] = np.nan
    match kind:
        case "NaN stem":
            return replace(made, stems={**made.stems, "e1": bad})
        case "infinite mix":
            return replace(made, audio=np.where(np.isnan(bad), np.inf, made.audio).astype(np.float32))
        case "NaN render":
            return replace(made, renders={"e2": np.full(99, np.nan, np.float32)})
        case "short mix":
            return replace(made, audio=made.audio[:-1])
        case "missing stem":
            return replace(made, stems={"e1": made.stems["e1"]})
        case "strange stem":
            return replace(made, stems={**made.stems, "e9": made.stems["e1"]})
        case "stereo stem":
            return replace(made, stems={**made.stems, "e1": np.stack([made.stems["e1"]] * 2, axis=1)})
        case "other stems":
            return replace(made, stems={**made.stems, "e1": np.zeros_like(made.audio)})
        case _:
            return replace(made, renders={"e2": np.zeros((99, 2), np.float32)})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("NaN stem", "e1 holds values that are no numbers"),
        ("infinite mix", "the mix holds values that are no numbers"),
        ("NaN render", "the render of e2 holds"),
        ("short mix", r"this plan has \(64000,\)"),
        ("missing stem", "stems are missing for e2, e3"),
        ("strange stem", "stems are given for e9"),
        ("stereo stem", "make them alike"),
        ("other stems", "don't add up"),
        ("stereo render", "give mono sound"),
    ],
)
def test_what_does_not_hold_together_is_refused(tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        export(broken(kind), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_formats_and_a_missing_video_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="formats has mp3, ogg; choose among master"):
        export(project(), tmp_path / "out", formats=["ogg", "mp3", "stems"])
    with pytest.raises(ValueError, match="the format video needs one"):
        export(project(), tmp_path / "out", formats=["video"])


def test_a_failure_at_the_end_leaves_an_earlier_export_as_it_was(tmp_path: Path) -> None:
    export(project(), tmp_path / "out", formats=DEFAULT_FORMATS)
    before = files_in(tmp_path / "out")
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    changed = replace(project(request="Another kitchen"), video=tmp_path / "bad.mp4")
    with pytest.raises(MediaError):
        export(changed, tmp_path / "out")
    (tmp_path / "out" / "mix.wav").unlink()
    (tmp_path / "out" / "mix.wav").mkdir()
    with pytest.raises(MediaError, match="is a folder"):
        export(project(request="Another kitchen"), tmp_path / "out")
    (tmp_path / "out" / "mix.wav").rmdir()
    before.pop("mix.wav")
    assert files_in(tmp_path / "out") == before
    assert not list((tmp_path / "out").glob(".unfinished-*"))


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(MediaError, match="can't be written"):
        export(project(), tmp_path / "file" / "out")


def test_sounds_of_an_earlier_export_go_unless_someone_changed_them(tmp_path: Path) -> None:
    made = project()
    export(made, tmp_path, formats=["stems"])
    first, second = sorted(path for path in (tmp_path / "stems").iterdir())[:2]
    second.write_bytes(b"edited by hand")
    (tmp_path / "stems" / "mine.wav").write_bytes(b"mine")
    (tmp_path / "notes.txt").write_text("mine")
    renamed = tuple(step.model_copy(update={"prompt": f"Other {step.prompt}"}) for step in steps())
    plan = made.plan.model_copy(update={"steps": renamed})
    export(replace(made, plan=plan), tmp_path, formats=["stems"])
    assert not first.exists()
    assert second.read_bytes() == b"edited by hand"
    assert (tmp_path / "stems" / "mine.wav").exists()
    assert (tmp_path / "notes.txt").exists()
    assert len(list((tmp_path / "stems").glob("*other*"))) == 3


def test_a_report_from_elsewhere_removes_nothing_outside(tmp_path: Path) -> None:
    precious = tmp_path / "precious.wav"
    precious.write_bytes(b"precious")
    out = tmp_path / "out"
    out.mkdir()
    digest = sha256(b"precious").hexdigest()
    listed = {"../precious.wav": digest, "stems/../../precious.wav": digest, str(precious): digest}
    (out / "report.json").write_text(json.dumps({"files": listed}))
    export(project(), out, formats=["stems"])
    assert precious.exists()


def test_what_a_killed_export_left_is_swept_up_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / ".unfinished-old", tmp_path / ".unfinished-new"
    for folder in (old, new):
        (folder / "stems").mkdir(parents=True)
    os.utime(old, (0, 0))
    written = export(project(), tmp_path, formats=["cue_sheet"])
    assert not old.exists()
    assert new.exists()
    assert {path.name for path in written} == {"cues.csv", "plan.json", "provenance.json", "report.json"}
