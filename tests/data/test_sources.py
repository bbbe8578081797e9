"""Folders and data sets in the layouts people have them in, with the flaws people's files have."""

import argparse
import json
import pickle
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from audio_agent_zoo.cli.sources import add_source, open_splits
from audio_agent_zoo.data.sources.folder import FolderSource
from audio_agent_zoo.data.sources.splits import Split, held_out, place
from audio_agent_zoo.data.sources.synthesis import FoleyWorldVideos
from audio_agent_zoo.data.sources.video_files import NoPictureError, NoSoundError
from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.media import read_soundtrack, write_video
from tests.data.clips import FPS, RATE, check_in_time, corrupt, flash, knock, video


def table(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")


def everything(folder: Path, **settings: Any) -> dict[str, Any]:
    """Rows by name, of both splits."""
    splits: tuple[Split, ...] = ("train", "validation")
    return {row.id: row for split in splits for row in FolderSource(folder, split, **settings).rows}


def test_sound_that_begins_after_or_before_the_picture_is_put_in_its_place(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", flash(1.0), FPS, knock(1.0))
    for shift_s in (0.3, -0.3):
        with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(tmp_path / "b.mkv"), "w") as target:
            streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
            for packet in source.demux():
                if packet.dts is None:
                    continue
                late_s = 1.0 + (shift_s if packet.stream.type == "audio" else 0.0)
                late = round(late_s / float(packet.time_base))
                packet.pts, packet.dts, packet.stream = (
                    packet.pts + late,
                    packet.dts + late,
                    streams[packet.stream.index],
                )
                target.mux(packet)
        heard = int(np.argmax(np.abs(read_soundtrack(tmp_path / "b.mkv")) > 0.1))
        assert heard == pytest.approx((0.5 + shift_s) * RATE, abs=80)


def test_class_folders_give_captions(tmp_path: Path) -> None:
    video(tmp_path / "dog_barking" / "1.mp4")
    video(tmp_path / "glocke_läutet" / "deep" / "2.mov", at_s=0.3)
    video(tmp_path / "train" / "3.mkv")
    video(tmp_path / ".cache" / "4.mp4")
    (tmp_path / "dog_barking" / "._1.mp4").write_bytes(b"left by another system")
    rows = everything(tmp_path)
    assert sorted(rows) == ["dog_barking/1.mp4", "glocke_läutet/deep/2.mov", "train/3.mkv"]
    assert rows["dog_barking/1.mp4"].captions == ("dog barking",)
    assert rows["glocke_läutet/deep/2.mov"].class_name == "glocke_läutet"
    assert rows["train/3.mkv"].captions == ("train",), "a train is a class, not a split"
    source = FolderSource(tmp_path, validation_share=0)
    assert [row.id for row in source.rows] == sorted(rows)
    check_in_time(source.example(1, 12), 0.3)


def test_a_source_of_files_works_in_another_process(tmp_path: Path) -> None:
    video(tmp_path / "a" / "1.mp4")
    source = pickle.loads(pickle.dumps(FolderSource(tmp_path, validation_share=0)))
    check_in_time(source.example(0, 12))
    assert source.identity() == FolderSource(tmp_path, validation_share=0).identity()


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(("mark", "delimiter"), [("", ","), ("\ufeff", ","), ("\ufeff", ";"), ("", "\t")])
def test_a_csv_from_any_spreadsheet(tmp_path: Path, mark: str, delimiter: str, newline: str) -> None:
    video(tmp_path / "a.mp4")
    video(tmp_path / "b.mp4")
    lines = [
        delimiter.join(("file_name", "captions", "class_name", "onset_s", "split")),
        delimiter.join(("a.mp4", '"a dog, far; dim|it barks "', "dog", "0.5 0.75", "val")),
        delimiter.join(("b.mp4", '"[""one; two"", ""three""]"', "", "", "train")),
        "",
    ]
    (tmp_path / "metadata.csv").write_text(mark + newline.join(lines), encoding="utf-8", newline="")
    (held,) = FolderSource(tmp_path, "validation").rows
    assert held.captions == ("a dog, far; dim", "it barks") and held.class_name == "dog" and held.onset_s == (0.5, 0.75)
    (train,) = FolderSource(tmp_path, "train").rows
    assert train.captions == ("one; two", "three") and train.onset_s == ()


def test_json_lines_with_unicode_names_lists_and_several_rows_of_a_file(tmp_path: Path) -> None:
    name = "Tür schließt 扉.mp4"
    video(tmp_path / unicodedata.normalize("NFD", name))
    video(tmp_path / "two.mp4")
    table(
        tmp_path,
        [
            {"file_name": name, "captions": ["a door", "扉が閉まる"], "onset_s": [0.5, 0.2]},
            {"file_name": "two.mp4", "caption": " rain "},
            {"file_name": "two.mp4", "caption": "rain on\na roof"},
        ],
    )
    rows = everything(tmp_path)
    assert rows[name].captions == ("a door", "扉が閉まる") and rows[name].onset_s == (0.2, 0.5)
    assert rows["two.mp4"].captions == ("rain", "rain on a roof")
    source = FolderSource(tmp_path, validation_share=0)
    assert source.example([row.id for row in source.rows].index(name), 12).onset_s == (0.2, 0.5)


def test_files_with_flaws_say_what_is_wrong_and_stop_nothing(tmp_path: Path) -> None:
    video(tmp_path / "good.mp4")
    corrupt(tmp_path / "corrupt.mp4")
    video(tmp_path / "mute.mp4", sound=False)
    video(tmp_path / "forgotten.mp4")
    soundfile.write(tmp_path / "sound.wav", knock(1.0), RATE)
    rows: list[dict[str, Any]] = [{"file_name": name} for name in ("corrupt.mp4", "gone.mp4", "mute.mp4", "sound.wav")]
    table(tmp_path, [{"file_name": "good.mp4", "caption": ""}, *rows])
    source = FolderSource(tmp_path, validation_share=0)
    assert len(source) == 5
    found = {}
    for i, row in enumerate(source.rows):
        try:
            found[row.id] = source.example(i, 12)
        except MediaError as error:
            found[row.id] = error
    assert found["good.mp4"].captions == ()
    assert isinstance(found["mute.mp4"], NoSoundError) and "mute.mp4 has no sound" in str(found["mute.mp4"])
    assert isinstance(found["sound.wav"], NoPictureError)
    for name, words in (("corrupt.mp4", "can't be read"), ("gone.mp4", "not a file")):
        assert name in str(found[name]) and words in str(found[name])
    said = " ".join(source.notes)
    assert "1 videos are in no table" in said and "forgotten.mp4" in said and "5 clips have no caption" in said


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metadata.jsonl", '{"file_name": "a.mp4"}\n{"file_name": \n', "line 2"),
        ("metadata.jsonl", '["a.mp4"]\n', "one JSON object per line"),
        ("metadata.jsonl", '{"caption": "a dog"}\n', "file_name is None"),
        ("metadata.jsonl", '{"file_name": "a.mp4", "caption": 3}\n', "caption is 3"),
        ("metadata.jsonl", '{"file_name": "a.mp4", "split": "later"}\n', "'later'"),
        ("metadata.jsonl", '{"file_name": "a.mp4", "onset_s": [-1]}\n', "onset_s"),
        ("metadata.csv", "path,caption\na.mp4,a dog\n", "it needs file_name"),
        ("metadata.csv", "file_name,caption\na.mp4,a dog, far\n", "line 2: 3 cells under 2"),
        ("metadata.csv", "", "columns none"),
        ("metadata.csv", "file_name,caption\na.mp4,caf\xe9\n", "not UTF-8"),
    ],
)
def test_a_table_that_can_not_be_read_names_its_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    video(tmp_path / "a.mp4")
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(MediaError, match=message):
        FolderSource(tmp_path)


def test_a_folder_without_videos_or_with_two_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="not a folder"):
        FolderSource(tmp_path / "none")
    with pytest.raises(MediaError, match="holds no videos"):
        FolderSource(tmp_path)
    (tmp_path / "metadata.csv").write_text("file_name\na.mp4\n")
    table(tmp_path, [{"file_name": "a.mp4"}])
    with pytest.raises(MediaError, match="keep one"):
        FolderSource(tmp_path)
    with pytest.raises(ValueError, match="validation_share is 1"):
        held_out(["a"], 1.0)


def test_folders_named_after_splits_are_splits(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        table(tmp_path / part, [{"file_name": "a.mp4", "caption": f"in {part}"}])
        video(tmp_path / part / "a.mp4")
    splits: tuple[Split, ...] = ("train", "validation", "test")
    sources = {split: FolderSource(tmp_path, split) for split in splits}
    captions = {split: [row.captions for row in source.rows] for split, source in sources.items()}
    assert captions == {"train": [("in train",)], "validation": [("in val",)], "test": [("in test",)]}
    assert [row.id for row in sources["validation"].rows] == ["val/a.mp4"]


def test_the_split_is_stable() -> None:
    names = [f"clip {i}.mp4" for i in range(2000)]
    held = held_out(names, 0.05)
    assert 70 <= len(held) <= 130
    assert held_out(names[::-1], 0.05) == held
    assert held_out(names + [f"new {i}.mp4" for i in range(500)], 0.05) & set(names) == held
    assert held_out(names[::2], 0.05) == held & set(names[::2])
    assert held < held_out(names, 0.1), "a larger share keeps what was held out"
    assert held_out(names, 0.05, seed=1) != held
    assert place("clip 0.mp4") == pytest.approx(0.01418253, abs=1e-8), "as in every version before"
    assert place("Tür") == place(unicodedata.normalize("NFD", "Tür"))


def test_few_clips_still_leave_one_for_validation() -> None:
    assert len(held_out(["a", "b", "c"], 0.001)) == 1
    assert not held_out(["a"], 0.001) and not held_out(["a", "b"], 0.0)


def test_new_files_move_none_of_the_old_and_change_the_identity(tmp_path: Path) -> None:
    folder, splits = tmp_path / "clips" / "dog", ("train", "validation")
    folder.mkdir(parents=True)

    def grow(first: int, last: int) -> dict[str, FolderSource]:
        for i in range(first, last):
            (folder / f"{i}.mp4").write_bytes(b"never opened")
        return {split: FolderSource(tmp_path / "clips", split, 0.2) for split in splits}  # type: ignore[arg-type]

    before, after = grow(0, 40), grow(40, 60)
    assert len(before["validation"]) >= 2
    for split in splits:
        assert {row.id for row in before[split].rows} <= {row.id for row in after[split].rows}
        assert before[split].identity() != after[split].identity()
    identity = after["train"].identity()
    moved = (tmp_path / "clips").rename(tmp_path / "elsewhere")
    assert FolderSource(moved, "train", 0.2).identity() == identity == json.loads(json.dumps(identity))
    (Path(FolderSource(moved, "train", 0.2).rows[0].path)).write_bytes(b"another recording")
    assert FolderSource(moved, "train", 0.2).identity() != identity


def test_the_command_line_opens_the_procedural_world_as_before() -> None:
    parser = argparse.ArgumentParser()
    add_source(parser)
    splits = open_splits(parser.parse_args([]), 2.56)
    assert splits["train"].identity() == FoleyWorldVideos("train", 2800, 2.56).identity()
    assert splits["validation"].identity() == FoleyWorldVideos("validation", 140, 2.56).identity()
    assert len(open_splits(parser.parse_args(["--clips", "30"]))["validation"]) == 28
