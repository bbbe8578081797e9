"""Both halves in a published folder: saved, loaded elsewhere, parts of other folders, and everything damaged."""

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.models.visual_adapter import VisualAdapter
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioOutput, VideoToAudioPipeline
from audio_agent_zoo.published import Base, PublishedConfig, VideoGeneration
from tests import tiny, tiny_video

PARTS = (
    "frame_encoder",
    "temporal_connector",
    "language_model",
    "semantic_token_lm",
    "semantic_quantizer",
    "visual_adapter",
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_video.write_video_published(tmp_path_factory.mktemp("published") / "tiny")


@pytest.fixture(scope="module")
def pipeline(published: Path) -> VideoToAudioPipeline:
    return VideoToAudioPipeline.from_pretrained(published)


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(published, tmp_path / "weights"))


def same(a: VideoToAudioOutput, b: VideoToAudioOutput) -> None:
    np.testing.assert_array_equal(a.tokens[0], b.tokens[0])
    np.testing.assert_allclose(a.audios[0], b.audios[0], atol=1e-6)


def sound(pipeline: VideoToAudioPipeline) -> VideoToAudioOutput:
    return pipeline(tiny_video.moving(9), "a dog barks", seed=3)


def test_it_comes_back_from_a_fresh_place(published: Path, pipeline: VideoToAudioPipeline, tmp_path: Path) -> None:
    same(sound(tiny_video.pipeline()), sound(pipeline))
    pipeline.save_pretrained(tmp_path / "first" / "place")
    fresh = shutil.move(tmp_path / "first" / "place", tmp_path / "fresh")
    again = VideoToAudioPipeline.from_pretrained(fresh)
    same(sound(again), sound(pipeline))
    assert again.name == "tiny" and again.parts.video == pipeline.parts.video
    config = PublishedConfig.read(Path(fresh))
    assert config is not None and config.video == pipeline.parts.video and config.generation.native_columns == 64
    assert set(PARTS) <= set(config.parts) and not config.bases
    config.check(Path(fresh))
    TextToAudioPipeline.from_pretrained(fresh)("rain", 0.2)
    for path in Path(fresh).rglob("*.json"):
        assert str(published.parent) not in path.read_text() and str(tmp_path) not in path.read_text(), path


def test_the_pooling_is_saved(tmp_path: Path) -> None:
    base = tiny.parts()
    parts = tiny_video.video_parts(base.unet, frame_pooling="patch_mean")
    made = VideoToAudioPipeline(TextToAudioPipeline(base), replace(parts, video=VideoGeneration()))
    made.save_pretrained(tmp_path)
    again = VideoToAudioPipeline.from_pretrained(tmp_path)
    assert again.parts.frame_encoder.pooling == again.parts.video.frame_pooling == "patch_mean"
    same(sound(again), sound(made))


def test_a_save_completes_a_folder(folder: Path, pipeline: VideoToAudioPipeline) -> None:
    tiny_video.hubert().save_pretrained(folder / "hubert")
    pipeline.save_pretrained(folder)
    config = PublishedConfig.read(folder)
    assert config is not None and "hubert" in config.parts
    same(sound(VideoToAudioPipeline.from_pretrained(folder)), sound(pipeline))


def test_a_save_cut_off_leaves_no_video_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(place: Path) -> None:
        raise OSError("No space left on device")

    made = tiny_video.pipeline()
    monkeypatch.setattr(made.parts.adapter, "save_pretrained", full_disk)
    with pytest.raises(OSError, match="No space"):
        made.save_pretrained(tmp_path)
    with pytest.raises(WeightsError):
        VideoToAudioPipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize("moved", [("text_to_audio",), ("frame_encoder", "language_model"), ("semantic_quantizer",)])
def test_parts_may_lie_elsewhere(published: Path, folder: Path, tmp_path: Path, moved: tuple[str, ...]) -> None:
    expected = sound(VideoToAudioPipeline.from_pretrained(published))
    config = PublishedConfig.read(folder)
    assert config is not None
    for part in moved:
        for path in [folder / part] if part in PARTS else [p for p in folder.iterdir() if p.name not in PARTS]:
            if path.is_dir():
                shutil.rmtree(path)
    bases = {part: Base(repo=str(published), license="apache-2.0") for part in moved}
    replace(config, name="mine", bases=bases).write(folder)
    loaded = VideoToAudioPipeline.from_pretrained(folder)
    assert loaded.name == "mine"
    same(sound(loaded), expected)
    # What is somebody else's is referred to again, not copied.
    loaded.save_pretrained(tmp_path / "again")
    for part in moved:
        assert not (tmp_path / "again" / ("unet" if part == "text_to_audio" else part)).exists()
    again = VideoToAudioPipeline.from_pretrained(tmp_path / "again")
    assert again.parts.bases == bases and again.name == "mine"
    same(sound(again), expected)


def test_a_model_of_its_own_may_be_a_part(folder: Path, tmp_path: Path) -> None:
    """A base need not be a published folder: a language model from the Hub is nothing but that."""
    expected = sound(VideoToAudioPipeline.from_pretrained(folder))
    shutil.move(folder / "language_model", tmp_path / "gemma")
    config = PublishedConfig.read(folder)
    assert config is not None
    config.write(folder)
    with pytest.raises(WeightsError, match=r"has no language_model, and config\.json names none elsewhere"):
        VideoToAudioPipeline.from_pretrained(folder)
    replace(config, bases={"language_model": Base(repo=str(tmp_path / "gemma"))}).write(folder)
    same(sound(VideoToAudioPipeline.from_pretrained(folder)), expected)


def test_a_folder_without_video_half_is_refused(tmp_path: Path) -> None:
    tiny.write_published(tmp_path / "text")
    with pytest.raises(WeightsError, match=r"has no video half.*train one"):
        VideoToAudioPipeline.from_pretrained(tmp_path / "text")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="has no video half"):
        VideoToAudioPipeline.from_pretrained(tmp_path / "empty")


def respoil(folder: Path, part: str, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Change the weights of a part, as a bad training would: their checksum is right."""
    (path,) = (folder / part).glob("*.safetensors")
    state = load_file(path)
    change(state)
    save_file(state, path, metadata={"format": "pt"})
    config = PublishedConfig.read(folder)
    assert config is not None
    config.write(folder)


def _one_is_nan(state: dict[str, Tensor]) -> None:
    next(value for value in state.values() if value.is_floating_point()).view(-1)[-1] = torch.nan


def _one_is_missing(state: dict[str, Tensor]) -> None:
    del state[sorted(state)[0]]


def _one_too_short(state: dict[str, Tensor]) -> None:
    name = next(name for name, value in state.items() if value.ndim == 2)
    state[name] = state[name][:-1].clone()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("change", [_one_is_nan, _one_is_missing, _one_too_short])
def test_bad_weights_name_their_part(folder: Path, part: str, change: Callable[[dict[str, Tensor]], None]) -> None:
    respoil(folder, part, change)
    with pytest.raises(WeightsError, match=part) as caught:
        VideoToAudioPipeline.from_pretrained(folder)
    if change is _one_is_nan:
        assert "no numbers" in str(caught.value)


@pytest.mark.parametrize("part", PARTS)
def test_damaged_files_are_refused(folder: Path, part: str) -> None:
    (path,) = (folder / part).glob("*.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=f"{part}.*is damaged"):
        VideoToAudioPipeline.from_pretrained(folder)
    config = PublishedConfig.read(folder)
    assert config is not None
    config.write(folder)  # as if it had been published like that
    with pytest.raises(WeightsError, match=part):
        VideoToAudioPipeline.from_pretrained(folder)
    path.unlink()
    with pytest.raises(WeightsError, match=part):
        VideoToAudioPipeline.from_pretrained(folder)


def test_a_pooling_nobody_knows_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["video"]["frame_pooling"] = "max"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="pooling is 'max'; choose one of pooler_output"):
        VideoToAudioPipeline.from_pretrained(folder)


def test_parts_of_two_models_are_refused_with_their_dimensions() -> None:
    base = tiny.parts()
    parts = tiny_video.video_parts(base.unet)
    for wrong, message in (
        ({"quantizer": tiny_video.quantizer(dim=9)}, "adapter's centroid_dim and the quantizer's are 16 and 9"),
        ({"quantizer": tiny_video.quantizer(n_centroids=21)}, "semantic tokens and the quantizer's are 20 and 21"),
        (
            {"connector": type(parts.connector)(frame_dim=11, llm_dim=tiny_video.LLM_DIM)},
            "connector's frame_dim and the frame encoder's are 11 and 12",
        ),
        (
            {"connector": type(parts.connector)(frame_dim=tiny_video.FRAME_DIM, llm_dim=30)},
            "connector's llm_dim and the language model's are 30 and 24",
        ),
    ):
        with pytest.raises(WeightsError, match=message):
            replace(parts, **wrong)


def test_an_adapter_of_another_base_is_refused(folder: Path) -> None:
    VisualAdapter(tiny_video.HUBERT_DIM, 768, [320] * 16).save_pretrained(folder / "visual_adapter")
    config = PublishedConfig.read(folder)
    assert config is not None
    config.write(folder)
    with pytest.raises(WeightsError, match=r"16 layers \[320.* over 768, the UNet has .* over 16"):
        VideoToAudioPipeline.from_pretrained(folder)


def test_loading_says_nothing(published: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VideoToAudioPipeline.from_pretrained(published)
    assert capfd.readouterr() == ("", "")


def test_half_precision(published: Path, pipeline: VideoToAudioPipeline) -> None:
    coarse = VideoToAudioPipeline.from_pretrained(published, dtype=torch.bfloat16)
    parts = coarse.parts
    assert parts.lm.base.dtype == parts.frame_encoder.clip.dtype == coarse.base.parts.unet.dtype == torch.bfloat16
    for network in (parts.connector, parts.quantizer, parts.adapter):
        assert {value.dtype for value in network.state_dict().values()} == {torch.float32}
    made = sound(coarse)
    assert made.audios[0].dtype == np.float32 and np.isfinite(made.audios[0]).all()
    assert len(made.tokens[0]) == len(sound(pipeline).tokens[0])
