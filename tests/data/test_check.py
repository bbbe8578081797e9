"""The look through a folder finds every planted flaw, and agrees with what `prepare` leaves out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from audio_agent_zoo import cli
from audio_agent_zoo.columns import FEATURES_CONFIG
from audio_agent_zoo.data import prepare
from audio_agent_zoo.data.check import LEFT_OUT, REMARKS, SHORTEST_S, ClipCheck, DataReport, check_clips
from audio_agent_zoo.data.check_report import report_table, write_report
from audio_agent_zoo.data.clip_encoders import GRID_S, PrepareSettings
from audio_agent_zoo.data.sources.folder import FolderSource
from audio_agent_zoo.loudness import loudness_lufs
from audio_agent_zoo.media import write_video
from tests import tiny_video
from tests.data.clips import FPS, RATE, corrupt, flash, knock, video

FLAWS = {
    "corrupt.mp4": "unreadable",
    "gone.mp4": "unreadable",
    "mute.mp4": "no sound",
    "sound.wav": "no picture",
    "silent.mp4": "silent",
    "short.mp4": "too short",
    "wordless.mp4": "no caption",
    "sparse.mp4": "mostly silent",
    "loud.mp4": "clipped",
    "stops.mp4": "lengths differ",
    "good0.mp4": "in both splits",
    "copy.mp4": "in both splits",
    "twin1.mp4": "heard twice",
    "twin2.mp4": "heard twice",
}


def flawed(folder: Path) -> Path:
    """Twenty files, most of which have something."""
    for i in range(6):
        video(folder / f"good{i}.mp4", hertz=500 + 100 * i)
    video(folder / "copy.mp4", hertz=500)
    for name in ("twin1.mp4", "twin2.mp4"):
        video(folder / name, hertz=300)
    corrupt(folder / "corrupt.mp4")
    video(folder / "mute.mp4", sound=False)
    soundfile.write(folder / "sound.wav", knock(1.0), RATE)
    write_video(folder / "silent.mp4", flash(1.0), FPS, np.zeros(RATE, np.float32))
    video(folder / "short.mp4", 0.2, at_s=0.0)
    video(folder / "wordless.mp4", hertz=350)
    write_video(folder / "sparse.mp4", flash(4.0), FPS, knock(4.0, hertz=360))
    write_video(folder / "loud.mp4", flash(1.0), FPS, np.clip(9 * knock(1.0, hertz=370), -1, 1) * np.float32(0.9999))
    write_video(folder / "stops.mp4", flash(1.0), FPS, np.tile(knock(0.2, 0.1), 2))
    rows = [
        {
            "file_name": name,
            "caption": "" if name == "wordless.mp4" else f"a {'low' if i % 2 else 'high'} knock",
            "class_name": "" if name == "wordless.mp4" else "door_knock" if i % 3 else "glocke_läutet",
            "split": "validation" if name in ("copy.mp4", "good5.mp4") else "train",
        }
        for i, name in enumerate(sorted([*(path.name for path in folder.iterdir()), "gone.mp4"]))
    ]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flawed(tmp_path_factory.mktemp("clips") / "flawed")


@pytest.fixture(scope="module")
def report(folder: Path) -> DataReport:
    return check_clips({"train": FolderSource(folder), "validation": FolderSource(folder, "validation")})


def test_every_planted_flaw_is_found_and_no_other(report: DataReport) -> None:
    found = {clip.id: clip.left_out or " and ".join(clip.remarks) for clip in report.clips}
    assert {name: flaw for name, flaw in found.items() if flaw} == FLAWS
    assert set(FLAWS.values()) == {*LEFT_OUT, *REMARKS}, "the folder has one of each"
    by_name = {clip.id: clip for clip in report.clips}
    for name in ("corrupt.mp4", "gone.mp4", "mute.mp4", "sound.wav", "silent.mp4", "short.mp4"):
        assert name in by_name[name].reason
    good = by_name["good1.mp4"]
    assert good.duration_s == 1.0 and good.picture_s == pytest.approx(1.0, abs=0.06)
    assert good.loudness_lufs == pytest.approx(loudness_lufs(knock(1.0, hertz=600), RATE), abs=0.3)
    assert good.silence == pytest.approx(0.85, abs=0.1)


def test_prepare_leaves_out_the_same_clips(folder: Path, report: DataReport, tmp_path: Path) -> None:
    weights = tiny_video.write_video_published(tmp_path / "hub")
    tiny_video.hubert(layers=10).save_pretrained(weights / "hubert")
    settings = PrepareSettings(str(weights), window_s=1.28)
    for split in ("train", "validation"):
        made = prepare.prepare(FolderSource(folder, split), tmp_path / split, settings)  # type: ignore[arg-type]
        clips = [clip for clip in report.clips if clip.split == split]
        left_out = [f"clip {i}" for i, clip in enumerate(clips) if clip.left_out]
        assert sorted(made.skipped) == sorted(left_out)
        assert made.n_rows == sum(3 if clip.id == "sparse.mp4" else 1 for clip in clips if not clip.left_out)
        assert json.loads((tmp_path / split / FEATURES_CONFIG).read_text())["source"]["n_clips"] == len(clips)
    assert GRID_S == SHORTEST_S


def test_the_summary_counts_what_is_there(report: DataReport) -> None:
    found = report.summary()
    assert found["n_clips"] == {"train": 17, "validation": 2} and found["n_usable"] == 13
    lengths = [clip.duration_s or 0.0 for clip in report.usable]
    assert found["duration_s"]["sum"] == pytest.approx(sum(lengths), abs=1e-3)
    assert found["duration_s"]["max"] == 4.0 and found["duration_s"]["min"] == 0.4
    assert found["captions"]["per_clip"] == {0: 1, 1: 12} and found["captions"]["different"] == 2
    assert sum(sum(counts.values()) for counts in found["classes"].values()) == 13
    assert found["left_out"] == {"unreadable": 2, "no sound": 1, "no picture": 1, "silent": 1, "too short": 1}


def test_the_report_is_written_three_ways(report: DataReport, tmp_path: Path) -> None:
    paths = write_report(report, tmp_path / "new" / "report", "my clips")
    assert [path.name for path in paths] == ["data_check.txt", "data_check.json", "data_check.png"]
    text = paths[0].read_text(encoding="utf-8")
    for words in ("17 of train and 2 of validation; 13 can be used", "glocke_läutet", "corrupt.mp4", "worth a look"):
        assert words in text
    assert max(len(line) for line in text.splitlines() if ".mp4" not in line and ".wav" not in line) <= 120
    read: dict[str, Any] = json.loads(paths[1].read_text())
    assert len(read["clips"]) == 19 and read["summary"]["n_usable"] == 13
    with Image.open(paths[2]) as picture:
        assert picture.width == 1650 and picture.height > 900
        assert len(np.unique(np.asarray(picture.convert("L")))) > 50, "something is drawn"


@pytest.mark.parametrize(("n_classes", "left_out"), [(0, ""), (1, "silent"), (70, "")])
def test_pictures_of_any_data(tmp_path: Path, n_classes: int, left_out: str) -> None:
    clips = [
        ClipCheck(
            "train",
            f"{i}",
            class_name=f"$class_{i % n_classes}$ 犬 " * 3 if n_classes else "",
            captions=("the dog & the $x$",) if n_classes else (),
            duration_s=None if left_out else 2.0,
            loudness_lufs=None if left_out else -20.0,
            left_out=left_out,
        )
        for i in range(90)
    ]
    for path in write_report(DataReport(tuple(clips), {"train": 90}), tmp_path, "$title$ " * 20):
        assert path.stat().st_size > 100


def test_a_sample_is_the_same_each_time_and_in_order(folder: Path) -> None:
    splits = {"train": FolderSource(folder)}
    seen: list[tuple[int, int]] = []
    drawn = check_clips(splits, n_most=5, callback=lambda done, total: seen.append((done, total)))
    assert len(drawn.clips) == 5 and seen[-1] == (5, 5)
    assert [clip.id for clip in drawn.clips] == sorted(clip.id for clip in drawn.clips)
    assert check_clips(splits, n_most=5).clips == drawn.clips
    assert "17 of train, 5 looked at" in report_table(drawn)
    with pytest.raises(ValueError, match="n_most 0"):
        check_clips(splits, n_most=0)
    with pytest.raises(ValueError, match="no clips"):
        check_clips({})


def test_two_processes_find_the_same(folder: Path, report: DataReport) -> None:
    threads = torch.get_num_threads()
    splits = {"train": FolderSource(folder), "validation": FolderSource(folder, "validation")}
    assert check_clips(splits, num_proc=2) == report
    assert torch.get_num_threads() == threads


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report"
    assert cli.main(["data", "check", "--source", "folder", "--path", str(folder), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "13 can be used" in printed.out and str(out / "data_check.png") in printed.out
    assert "19/19" in printed.err and "have no caption, such as wordless.mp4" in printed.err
    assert len(list(out.iterdir())) == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--source", "folder"], cli.USAGE, "needs --path"),
        (["--source", "folder", "--path", ".", "--streaming"], cli.USAGE, "does not take --streaming"),
        (["--path", "my_foley"], cli.USAGE, "--source synthesis does not take --path"),
        (["--clips", "0"], cli.USAGE, "--clips is 0"),
        (["--source", "folder", "--path", "none"], cli.FILES, "none is not a folder"),
        (["--source", "avsync15", "--path", "none"], cli.FILES, "train.txt can't be read"),
        (["--source", "vggsound", "--path", "none"], cli.FILES, "none can't be read"),
        (["--source", "audiocaps", "--path", "none.csv"], cli.FILES, "none.csv can't be read"),
        (["--source", "hub", "--path", "."], cli.FILES, "can't be opened as a data set"),
        (["--source", "folder", "--path", ".", "--validation-share", "1.5"], cli.USAGE, "--validation-share is 1.5"),
    ],
)
@pytest.mark.parametrize("command", ["data check", "prepare"])
def test_sources_that_are_not_there(
    command: str,
    words: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    output = ["--output", "features"] if command == "prepare" else []
    assert cli.main([*command.split(), *words, *output]) == code
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
