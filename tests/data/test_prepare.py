"""Prepared rows are what the models say, however the work is cut up, broken off or shared."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionModelWithProjection, HubertModel

from audio_agent_zoo import cli
from audio_agent_zoo.columns import FEATURES_CONFIG
from audio_agent_zoo.data.clip_encoders import Encoders, PrepareSettings, stretches
from audio_agent_zoo.data.feature_shards import rows_per_shard
from audio_agent_zoo.data.prepare import Place, default_num_proc, prepare
from audio_agent_zoo.data.sources.examples import FoleyExample
from audio_agent_zoo.data.sources.folder import FolderSource
from audio_agent_zoo.data.sources.synthesis import FoleyWorldVideos
from audio_agent_zoo.errors import AudioAgentError, MediaError, WeightsError
from audio_agent_zoo.models.mel import MelConfig, log_mel, to_image
from tests import tiny, tiny_video
from tests.data.clips import corrupt, flash, video
from tests.data.clips import knock as knock_sound

N_CLIPS, WINDOW_S = 10, 0.64
SOURCE = FoleyWorldVideos("train", N_CLIPS, WINDOW_S)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published folder with tiny frozen parts."""
    folder = tiny_video.write_video_published(tmp_path_factory.mktemp("hub"))
    tiny_video.hubert().save_pretrained(folder / "hubert")
    return folder


@pytest.fixture(scope="module")
def settings(hub: Path) -> PrepareSettings:
    return PrepareSettings(str(hub), window_s=WINDOW_S, rows_per_shard=2)


@pytest.fixture(scope="module")
def unbroken(settings: PrepareSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process writes in one go."""
    folder = tmp_path_factory.mktemp("unbroken")
    report = prepare(SOURCE, folder, settings)
    assert (report.n_rows, report.n_new, report.n_open, report.skipped) == (N_CLIPS, N_CLIPS, 0, {})
    return folder


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("shard-*"))}


def marks(folder: Path) -> dict[str, tuple[int, int]]:
    """What tells a file that was written again from one that was left alone."""
    found = [(path.name, path.stat()) for path in folder.glob("shard-*.parquet")]
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found}


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in parquet.read_table(path).to_pylist()]


def test_rows_are_what_the_models_say_when_called_directly(hub: Path, unbroken: Path) -> None:
    clip = CLIPVisionModelWithProjection.from_pretrained(hub / "frame_encoder").eval()
    hubert = HubertModel.from_pretrained(hub / "hubert").eval()
    vae = AutoencoderKL.from_pretrained(hub, subfolder="vae").eval()
    centroids = tiny_video.quantizer().centroids
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    for index, row in enumerate(rows(unbroken)):
        example = SOURCE.example(index, 16)
        assert row["id"] == f"{example.id}@0" and row["captions"] == list(example.captions)
        assert row["class_name"] == example.class_name and row["onset_s"] == list(example.onset_s)
        sound = torch.from_numpy(example.audio * np.float32(0.95 / np.abs(example.audio).max()))
        with torch.no_grad():
            pictures = torch.from_numpy(np.concatenate(list(example.frames)).copy()) / 255
            vectors = clip.vision_model(((pictures - mean) / std).permute(0, 3, 1, 2)).pooler_output
            states = hubert(torch.nn.functional.pad(sound, (0, 80))[None], output_hidden_states=True).hidden_states[3]
            mel = MelConfig(n_mels=tiny.N_MELS)
            latents = vae.encode(to_image(log_mel(sound[None], mel), mel)).latent_dist.mode()[0] * 0.5
        frames = np.frombuffer(row["frames"], np.float16).reshape(row["n_frames"], -1)
        assert frames.shape == (14, tiny_video.FRAME_DIM), "0.64 s show 14 frames at 21.5 per second"
        np.testing.assert_allclose(frames, vectors.numpy(), atol=2e-3)
        assert row["tokens"] == torch.cdist(states[0], centroids).argmin(-1).tolist() and len(row["tokens"]) == 32
        kept = np.frombuffer(row["latents"], np.float16).reshape(row["latent_shape"])
        np.testing.assert_allclose(kept, latents.numpy(), atol=2e-3)
        assert kept.shape == (4, tiny.N_MELS // 4, 16) and np.ptp(frames, axis=0).max() > 0


def test_long_clips_are_cut_where_onsets_stay_on_the_clock(settings: PrepareSettings, tmp_path: Path) -> None:
    source = FoleyWorldVideos("train", 1, 1.5, first_seed=3)
    prepare(source, tmp_path, settings)
    found, onset_s = rows(tmp_path), source.example(0, 16).onset_s
    assert [row["id"].split("@")[1] for row in found] == ["0", "0.64"], "the last 0.22 s are too short"
    heard = [round(start_s + t, 6) for start_s, row in zip((0, 0.64), found, strict=True) for t in row["onset_s"]]
    assert heard == [round(t, 6) for t in onset_s if t < 1.28]
    whole = np.concatenate([np.frombuffer(row["frames"], np.float16).reshape(14, -1) for row in found])
    encoders = Encoders(settings)
    frames = torch.cat([encoders.frames.encode(part) for part in source.example(0, 16).frames]).numpy()
    np.testing.assert_allclose(whole[14:], frames[14:28], atol=2e-3)
    assert [length for _, length in stretches(3.0, 1.28)] == [1.28, 1.28, 0.32]


def test_two_processes_and_two_ranks_write_the_same_shards(
    settings: PrepareSettings, unbroken: Path, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    both = prepare(SOURCE, tmp_path / "a", settings, num_proc=2, callback=lambda *now: told.append(now))
    assert both.n_new == N_CLIPS and shards(tmp_path / "a") == shards(unbroken)
    assert told == [(done, N_CLIPS) for done in range(N_CLIPS + 1)], "progress moves by clips, not by shards"

    threads = torch.get_num_threads()
    first = prepare(SOURCE, tmp_path / "b", settings, place=Place(0, 2))
    assert torch.get_num_threads() == threads
    assert (first.n_new, first.n_open) == (6, 4)
    assert sorted(shards(tmp_path / "b")) == [f"shard-0000{i}.parquet" for i in (0, 2, 4)]
    before = marks(tmp_path / "b")
    told.clear()
    second = prepare(SOURCE, tmp_path / "b", settings, callback=lambda *now: told.append(now))
    assert (second.n_new, second.n_open, second.n_rows) == (4, 0, N_CLIPS), "one finishes what another left"
    assert told[0] == (6, N_CLIPS) and told[-1] == (N_CLIPS, N_CLIPS)
    assert shards(tmp_path / "b") == shards(unbroken)
    assert before.items() <= marks(tmp_path / "b").items()


def test_the_command_shares_by_rank_and_finishes_what_another_left(
    settings: PrepareSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["prepare", "--source", "synthesis", "--clips", "6", "--window", "0.64", "--num-proc", "1"]
    words += ["--weights", settings.hub_folder, "--output", str(tmp_path)]
    assert cli.main([*words, "--rank", "1", "--world-size", "3"]) == 0
    told = capsys.readouterr()
    assert "train: 2 rows, 2 clips encoded now, 0 skipped" in told.out
    assert "4 clips are left to other processes" in told.out
    assert "train: 100%" in told.err and "2/2" in told.err and "clip/s" in told.err
    assert cli.main(words) == 0
    told = capsys.readouterr()
    assert "train: 6 rows, 4 clips encoded now, 0 skipped" in told.out and "left to other" not in told.out
    assert cli.main([*words, "--rank", "3", "--world-size", "3"]) == cli.USAGE
    assert "ranks go from 0 to world_size - 1" in capsys.readouterr().err


def test_places_come_from_torchrun_or_srun() -> None:
    assert Place.of() == Place(0, 1) == Place.of(environment={"SLURM_PROCID": "0", "SLURM_NTASKS": "4"})
    torchrun = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    assert Place.of(environment=torchrun) == Place(3, 4, 1)
    srun = {"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "2"}
    assert Place.of(environment=srun) == Place(2, 8, 2)
    assert Place.of(1, 2, torchrun) == Place(1, 2, 1)
    with pytest.raises(ValueError, match="rank is 4 and world_size 4"):
        Place.of(4, 4)
    with pytest.raises(ValueError, match="give both"):
        Place.of(rank=1)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three good videos among bad ones."""
    folder = tmp_path / "clips" / "knock"
    video(folder / "a.mp4")
    corrupt(folder / "b.mp4")
    video(folder / "c.mp4", 0.1, at_s=0.0)
    video(folder / "d.mp4")
    video(folder / "e.mp4", sound=False)
    (folder / "f.mp4").write_bytes(b"")
    (folder / "g.mp4").write_text("not a video")
    video(folder / "h.mp4")
    return tmp_path / "clips"


def test_bad_files_are_listed_with_the_reason_and_skipped(
    clips: Path, settings: PrepareSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = FolderSource(clips, validation_share=0.0)
    report = prepare(source, tmp_path / "out", settings)  # type: ignore[arg-type]
    assert {row["id"].split("@")[0] for row in rows(tmp_path / "out")} == {f"knock/{name}.mp4" for name in "adh"}
    assert sorted(report.skipped) == [f"clip {i}" for i in (1, 2, 4, 5, 6)]
    said = [report.skipped[f"clip {i}"] for i in (1, 2, 4, 5, 6)]
    assert "lasts 0.1" in said[1] and "no sound" in said[2]
    assert all(f"{name}.mp4" in reason for name, reason in zip("bcefg", said, strict=True))
    again = prepare(source, tmp_path / "out", settings)  # type: ignore[arg-type]
    assert again.n_new == 0 and again.skipped == report.skipped, "a later run still knows why"


def test_reasons_of_a_shard_that_was_never_finished_are_forgotten(
    clips: Path, settings: PrepareSettings, tmp_path: Path
) -> None:
    source, out = FolderSource(clips, validation_share=0.0), tmp_path / "out"
    out.mkdir()
    (out / "shard-00000.skipped.json").write_text('{"clip 0": "the disk was away"}')
    assert "clip 0" not in prepare(source, out, settings).skipped  # type: ignore[arg-type]


def test_nothing_but_bad_files_is_an_error(
    clips: Path, settings: PrepareSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "adh":
        corrupt(clips / "knock" / f"{name}.mp4")
    with pytest.raises(MediaError, match=r"none of the 8 clips .* clip 0: .*a\.mp4"):
        prepare(FolderSource(clips, validation_share=0.0), tmp_path / "out", settings)  # type: ignore[arg-type]
    with pytest.raises(MediaError, match="there are no clips"):
        prepare(FoleyWorldVideos("train", 0), tmp_path / "none", settings)
    words = ["prepare", "--source", "folder", "--path", str(clips), "--weights", settings.hub_folder]
    assert cli.main([*words, "--window", "0.64", "--num-proc", "1", "--output", str(tmp_path / "cli")]) == cli.FILES
    assert "none of the" in capsys.readouterr().err


def test_other_weights_or_settings_are_refused_with_both_values(
    hub: Path, settings: PrepareSettings, unbroken: Path, tmp_path: Path
) -> None:
    before = shards(unbroken)
    with pytest.raises(AudioAgentError, match=r"other window_s: \[0\.64\], now \[1\.28\]"):
        prepare(SOURCE, unbroken, PrepareSettings(str(hub), 1.28, rows_per_shard=2))
    with pytest.raises(AudioAgentError, match=r"rows_per_shard: \[2\], now \[3\]"):
        prepare(SOURCE, unbroken, PrepareSettings(str(hub), WINDOW_S, rows_per_shard=3))
    with pytest.raises(AudioAgentError, match=r"frame_pooling: \['pooler_output'\], now \['patch_mean'\]"):
        prepare(SOURCE, unbroken, PrepareSettings(str(hub), WINDOW_S, "patch_mean"))
    with pytest.raises(AudioAgentError, match="of other source"):
        prepare(FoleyWorldVideos("train", N_CLIPS, WINDOW_S, first_seed=1), unbroken, settings)
    other = shutil.copytree(hub, tmp_path / "hub")
    weights = other / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: value * 1.01 for name, value in load_file(weights).items()}, weights)
    identity = json.loads((unbroken / FEATURES_CONFIG).read_text())
    with pytest.raises(AudioAgentError, match=identity["weights"]["vae"][weights.name]):
        prepare(SOURCE, unbroken, PrepareSettings(str(other), WINDOW_S))
    assert shards(unbroken) == before
    assert prepare(SOURCE, unbroken, PrepareSettings(str(hub), WINDOW_S)).n_new == 0, "the folder keeps its shards"


def test_damaged_weights_are_not_taken_for_bad_clips(hub: Path, tmp_path: Path) -> None:
    other = shutil.copytree(hub, tmp_path / "hub")
    weights = other / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: value * torch.nan for name, value in load_file(weights).items()}, weights)
    with pytest.raises(WeightsError, match=r"vae makes values .* no numbers"):
        prepare(SOURCE, tmp_path / "out", PrepareSettings(str(other), WINDOW_S))
    shutil.rmtree(other / "hubert")
    with pytest.raises(AudioAgentError, match="hubert holds no weights"):
        prepare(SOURCE, tmp_path / "new", PrepareSettings(str(other), WINDOW_S))
    (tmp_path / "out" / FEATURES_CONFIG).write_text("{")
    with pytest.raises(AudioAgentError, match="is damaged"):
        prepare(SOURCE, tmp_path / "out", PrepareSettings(str(hub), WINDOW_S))


@pytest.mark.parametrize("window_s", [0.0, -1.0, 1.0, float("nan"), float("inf")])
def test_windows_that_no_stretch_fits_are_refused(window_s: float) -> None:
    with pytest.raises(ValueError, match=r"window_s is .* multiple of 0.32"):
        PrepareSettings("x", window_s)


def test_small_sources_have_a_share_for_every_process(settings: PrepareSettings) -> None:
    assert [rows_per_shard(n) for n in (1, 16, 60, 1000, 2800)] == [1, 1, 4, 63, 64]
    assert 1 <= default_num_proc(settings) <= (os.cpu_count() or 1)


def test_a_clip_without_frames_is_skipped(settings: PrepareSettings) -> None:
    encoders = Encoders(settings)
    with pytest.raises(MediaError, match="x has no frames"):
        encoders.rows(FoleyExample("x", knock_sound(1.0), (), iter([])))
    with pytest.raises(MediaError, match=r"x is silent or damaged \(peak 0\)"):
        encoders.rows(FoleyExample("x", np.zeros(16_000, np.float32), (), iter([flash(1.0)])))
    with pytest.raises(MediaError, match="peak nan"):
        encoders.rows(FoleyExample("x", np.full(16_000, np.nan, np.float32), (), iter([flash(1.0)])))
