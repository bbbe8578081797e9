"""AVSync15, VGGSound, AudioCaps and Hugging Face data sets as they are published."""

import gc
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile

from audio_agent_zoo.data.sources.audiocaps import AudioCapsSource
from audio_agent_zoo.data.sources.avsync15 import AVSync15Source
from audio_agent_zoo.data.sources.hub_columns import Columns
from audio_agent_zoo.data.sources.hub_dataset import HubDatasetSource
from audio_agent_zoo.data.sources.splits import Split
from audio_agent_zoo.data.sources.vggsound import VGGSoundSource
from audio_agent_zoo.data.sources.video_files import NoPictureError, NoSoundError, VideoFiles
from audio_agent_zoo.errors import MediaError
from tests.data.clips import RATE, check_in_time, corrupt, knock, video

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def ids(source: VideoFiles) -> set[str]:
    return {row.id for row in source.rows}


def test_avsync15_in_its_published_layout(tmp_path: Path) -> None:
    train = [f"{name}/{i}.mp4" for name in ("dog_barking", "playing_cello") for i in range(10)]
    test = ["dog_barking/20.mp4", "playing_cello/21.mp4"]
    for name in (train[0], *test):
        video(tmp_path / "videos" / name)
    (tmp_path / "train.txt").write_text("\n".join(train) + "\n\n")
    (tmp_path / "test.txt").write_text("\r\n".join(test))
    sources = {split: AVSync15Source(tmp_path, split, 0.2) for split in SPLITS}
    assert ids(sources["train"]) | ids(sources["validation"]) == set(train)
    assert 1 <= len(sources["validation"]) < 10 and not ids(sources["train"]) & ids(sources["validation"])
    assert ids(sources["test"]) == set(test)
    example = sources["test"].example(0, 12)
    assert (example.class_name, example.captions) == ("dog_barking", ("dog barking",))
    check_in_time(example)
    said = " ".join(sources["train"].notes)
    assert "20 videos in train.txt and 2 videos in test.txt, of 2 classes with 11 to 11 each" in said
    assert "The published set has 1500 videos of 15 classes" in said and "19 of the listed videos are not in" in said
    gone = next(i for i, row in enumerate(sources["train"].rows) if row.id != train[0])
    with pytest.raises(MediaError, match="not a file"):
        sources["train"].example(gone, 12)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("../secret/a.mp4\n", "b/1.mp4\n", "below videos/"),
        ("/a/b.mp4\n", "b/1.mp4\n", "below videos/"),
        ("lonely.mp4\n", "b/1.mp4\n", "CLASS/NAME"),
        ("b/1.mp4\n", "b/1.mp4\n", "in both lists"),
        ("b/1.mp4\n", None, "test.txt can't be read"),
    ],
)
def test_avsync15_lists_that_can_not_be_right(tmp_path: Path, train: str, test: str | None, message: str) -> None:
    (tmp_path / "train.txt").write_text(train)
    if test is not None:
        (tmp_path / "test.txt").write_text(test)
    with pytest.raises(MediaError, match=message):
        AVSync15Source(tmp_path)


@pytest.mark.parametrize("header", ["", "YouTube ID,start seconds,label,split\n"])
def test_vggsound_rows_and_files_named_in_every_way(tmp_path: Path, header: str) -> None:
    names = ["---aaaaaaaa_000001", "-bbbbbbbbbb_20", "cccccccccc-_30000_40000", "dddddddddd__5_15", "eeeeeeeeeee"]
    for name in names:
        video(tmp_path / "clips" / "deep" / f"{name}.mp4")
    rows = [
        '---aaaaaaaa,1,"bell, large",train',
        "-bbbbbbbbbb,20,people marching,train",
        "cccccccccc-,30,people marching,train",
        "dddddddddd_,5,people marching,test",
        "eeeeeeeeeee,7,people marching,test",
        "fffffffffff,8,people marching,test",
    ]
    (tmp_path / "vggsound.csv").write_text(header + "\n".join(rows) + "\n")
    sources = {split: VGGSoundSource(tmp_path, split) for split in SPLITS}
    assert len(sources["train"]) == 2 and len(sources["validation"]) == 1, "a small set still holds one out"
    assert ids(sources["test"]) == {"dddddddddd__000005", "eeeeeeeeeee_000007"}
    assert "2 of 3 clips of the table have a file" in sources["test"].notes[0]
    everything = {row.id: row for source in sources.values() for row in source.rows}
    assert everything["---aaaaaaaa_000001"].captions == ("bell, large",)
    check_in_time(sources["test"].example(1, 12))


def test_a_clip_is_cut_out_of_the_whole_video(tmp_path: Path) -> None:
    video(tmp_path / "abcdefghijk.mp4", 16.0, at_s=4.5)
    (tmp_path / "vggsound.csv").write_text("abcdefghijk,4,bell,test\n")
    source = VGGSoundSource(tmp_path, "test")
    example = source.example(0, 12)
    assert len(example.audio) == 10 * RATE
    check_in_time(example, 0.5)
    assert len(source.sound(0)) == 10 * RATE


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,1,label", "3 cells"),
        ("a,soon,label,train", "line 2"),
        ("a,1,label,later", "'later'"),
        ("a,-1,b,train", "-1"),
    ],
)
def test_vggsound_rows_that_can_not_be_read(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "vggsound.csv").write_text(f"x,1,label,train\n{row}\n")
    with pytest.raises(MediaError, match=message):
        VGGSoundSource(tmp_path)


def test_a_table_without_any_file_says_how_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "vggsound.csv").write_text("abcdefghijk,4,bell,test\n")
    with pytest.raises(MediaError, match=r"abcdefghijk_000004\.mp4"):
        VGGSoundSource(tmp_path, "test")


HEADER = "audiocap_id,youtube_id,start_time,caption\n"


def test_audiocaps_with_videos_and_with_sound_alone(tmp_path: Path) -> None:
    train = [f"{i},video{i:06d},{i},a dog barks {i}" for i in range(20)]
    (tmp_path / "train.csv").write_text("\ufeff" + HEADER + "\n".join(train) + "\n", encoding="utf-8")
    (tmp_path / "val.csv").write_text(HEADER + '90,-seen,30,"rain, hard"\n91,-seen,30,it pours\n92,-heard,40,wind\n')
    video(tmp_path / "videos" / "-seen_30.mp4")
    soundfile.write(tmp_path / "92.wav", knock(1.0), RATE)
    video(tmp_path / "Yvideo000003.mp4")
    assert ids(AudioCapsSource(tmp_path, "train")) == {"video000003_000003"}
    source = AudioCapsSource(tmp_path, "validation")
    heard, seen = source.rows
    assert seen.captions == ("rain, hard", "it pours") and heard.captions == ("wind",)
    check_in_time(source.example(1, 12))
    with pytest.raises(NoPictureError, match="sound without a picture"):
        source.example(0, 12)
    for i in range(2):
        assert np.argmax(np.abs(source.sound(i)) > 0.1) == pytest.approx(RATE // 2, abs=80)
    assert "1 clips are sound without a picture" in " ".join(source.notes)

    (tmp_path / "val.csv").unlink()
    with pytest.raises(MediaError, match=r"no clip of .*csv has a file"):
        AudioCapsSource(tmp_path, "validation")
    for i in range(20):
        (tmp_path / f"Yvideo{i:06d}.mp4").touch()
    divided = [ids(AudioCapsSource(tmp_path, split, 0.2)) for split in SPLITS[:2]]
    assert len(divided[0] | divided[1]) == 20 and not divided[0] & divided[1] and divided[1]


def in_bytes(path: Path) -> Any:
    return {"bytes": path.read_bytes(), "path": path.name}


def by_path(path: Path) -> Any:
    return {"bytes": None, "path": str(path)}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("cell", [in_bytes, by_path])
def test_a_hub_dataset_with_a_column_of_videos(
    tmp_path: Path, cell: Callable[[Path], Any], streaming: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    paths = [video(tmp_path / f"{i}.mp4", at_s=0.3 + 0.1 * i) for i in range(3)]
    paths += [video(tmp_path / "mute.mp4", sound=False), corrupt(tmp_path / "corrupt.mp4")]
    features = datasets.Features(
        {
            "video": datasets.Video(decode=False),
            "caption": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["cat", "dog_barking"]),
        }
    )
    cells = [*(cell(path) for path in paths), None]
    columns = {"video": cells, "caption": ["a", "b", "", "d", "e", "f"], "label": [1, 0, 1, 0, 0, 0]}
    (tmp_path / "data").mkdir()
    datasets.Dataset.from_dict(columns, features=features).to_parquet(
        tmp_path / "data" / "train-00000-of-00001.parquet"
    )
    source = HubDatasetSource.load(tmp_path / "data", "train", 0.0, streaming=streaming, n_clips=6)
    assert len(source) == 6 and source.columns == Columns("video", "", "caption", "label", "")
    source = pickle.loads(pickle.dumps(source))
    for i in (2, 0, 1, 1):  # a stream goes back, too
        example = source.example(i, 12)
        assert example.captions == (("a",), ("b",), ("dog barking",))[i]
        assert example.class_name == ("dog_barking", "cat", "dog_barking")[i]
        check_in_time(example, 0.3 + 0.1 * i)
    with pytest.raises(NoSoundError, match="mute.mp4" if cell is by_path else "train-000003 has no sound"):
        source.example(3, 12)
    with pytest.raises(MediaError, match="can't be read as a video") as error:
        source.example(4, 12)
    assert "audio_agent_zoo_" not in str(error.value), "nobody knows the file it was read by way of"
    with pytest.raises(NoPictureError, match="train-000005 has no video in column video"):
        source.example(5, 12)
    _ = source.example(0, 12)  # frames that nobody reads
    del _
    gc.collect()
    assert not list((tmp_path / "temporary").glob("audio_agent_zoo_*"))
    assert source.identity()["n_clips"] == 6 and source.identity()["data"]


def test_hub_splits_do_not_overlap_and_keep_a_validation_split_that_is_there(tmp_path: Path) -> None:
    for name, count in (("train", 40), ("test", 3)):
        rows = datasets.Dataset.from_dict({"video": [f"{name}{i}.mp4" for i in range(count)]})
        rows.to_parquet(tmp_path / f"{name}.parquet")
    sources = {split: HubDatasetSource.load(tmp_path, split, 0.2) for split in SPLITS}
    places = {split: set(source.positions) for split, source in sources.items()}
    assert places["train"] | places["validation"] == set(range(40)) and not places["train"] & places["validation"]
    assert places["validation"] and places["test"] == {0, 1, 2}
    assert len({str(source.identity()) for source in sources.values()}) == 3
    datasets.Dataset.from_dict({"video": ["v.mp4"]}).to_parquet(tmp_path / "validation.parquet")
    assert len(HubDatasetSource.load(tmp_path, "train", 0.2)) == 40
    assert len(HubDatasetSource.load(tmp_path, "validation", 0.2)) == 1


def test_a_saved_dataset_with_plain_paths_and_sounds_of_their_own(tmp_path: Path) -> None:
    video(tmp_path / "saved" / "clips" / "a.mp4", sound=False)
    soundfile.write(tmp_path / "a.flac", knock(1.0), RATE)
    rows = datasets.Dataset.from_dict(
        {
            "film": ["clips/a.mp4"],
            "audio": [(tmp_path / "a.flac").read_bytes()],
            "captions": [["one", "two"]],
            "onset_s": [[0.5]],
        }
    )
    rows.save_to_disk(tmp_path / "saved")
    with pytest.raises(ValueError, match="no column holds videos; there are film, audio"):
        HubDatasetSource.load(tmp_path / "saved")
    with pytest.raises(ValueError, match="no column movie"):
        HubDatasetSource.load(tmp_path / "saved", columns=Columns(video="movie"))
    source = HubDatasetSource.load(tmp_path / "saved", columns=Columns(video="film"))
    example = source.example(0, 12)
    assert example.captions == ("one", "two") and example.onset_s == (0.5,)
    check_in_time(example)


def test_streams_and_places_that_can_not_be_opened(tmp_path: Path) -> None:
    stream = datasets.IterableDataset.from_generator(lambda: iter([{"video": "a.mp4"}]))
    with pytest.raises(ValueError, match="give n_clips"):
        HubDatasetSource(stream)
    with pytest.raises(MediaError, match="no row 5; it ended before"):
        HubDatasetSource(stream, n_clips=9).example(5, 12)
    with pytest.raises(MediaError, match="can't be opened as a data set"):
        HubDatasetSource.load(tmp_path / "none")
    datasets.Dataset.from_dict({"video": ["a.mp4"]}).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="none of them is for test"):
        HubDatasetSource.load(tmp_path, "test")
