"""Batches of prepared rows: what they hold, their order after a stop, and whose weights they are of."""

import json
import shutil
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from audio_agent_zoo.columns import FEATURES_CONFIG
from audio_agent_zoo.data.clip_encoders import PrepareSettings
from audio_agent_zoo.data.feature_identity import check_weights
from audio_agent_zoo.data.foley_features import FeatureBatches, FoleyFeatures, FoleyFeaturesDataModule
from audio_agent_zoo.data.prepare import prepare
from audio_agent_zoo.data.sources.synthesis import FoleyWorldVideos
from audio_agent_zoo.errors import AudioAgentError
from audio_agent_zoo.training.semantic_token_training import SemanticTokenTraining
from audio_agent_zoo.training.visual_adapter_training import VisualAdapterTraining
from tests import tiny, tiny_video

N_CLIPS = 9


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_video.write_video_published(tmp_path_factory.mktemp("hub"))
    tiny_video.hubert().save_pretrained(folder / "hubert")
    return folder


@pytest.fixture(scope="module")
def folder(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of 0.96 s give rows of 0.64 and of 0.32 s."""
    out = tmp_path_factory.mktemp("features")
    settings = PrepareSettings(str(hub), 0.64, rows_per_shard=4)
    prepare(FoleyWorldVideos("train", N_CLIPS, 0.96), out / "train", settings)
    prepare(FoleyWorldVideos("validation", 3, 0.96, first_seed=100), out / "validation", settings)
    return out


@pytest.fixture
def features(folder: Path) -> FoleyFeatures:
    return FoleyFeatures(folder / "train")


def test_rows_come_back_as_they_were_written(features: FoleyFeatures) -> None:
    assert len(features) == 2 * N_CLIPS
    assert [len(rows) for rows in features.by_length] == [N_CLIPS, N_CLIPS]
    short, long = features.by_length
    for rows, n_frames, n_tokens, n_columns in ((short, 7, 16, 8), (long, 14, 32, 16)):
        batch = features.batch(rows[:3].tolist(), np.random.default_rng(0))
        assert batch["frames"].shape == (3, n_frames, tiny_video.FRAME_DIM) and batch["frames"].dtype == torch.float32
        assert batch["tokens"].shape == (3, n_tokens) and batch["tokens"].dtype == torch.int64
        assert batch["latents"].shape == (3, 4, tiny.N_MELS // 4, n_columns)
        for i, index in enumerate(rows[:3]):
            row = features.rows[int(index)]
            assert batch["captions"][i] in row["captions"]
            assert batch["tokens"][i].tolist() == row["tokens"]
            assert batch["frames"][i].half().numpy().tobytes() == row["frames"]
            assert batch["latents"][i].half().numpy().tobytes() == row["latents"]
    highest = max(max(row["tokens"]) for row in features.rows)
    assert features.centroid_rows() == highest + 1 <= tiny_video.N_AUDIO
    assert set(features.captions()) == {text for row in features.rows for text in row["captions"]}


def test_every_wording_is_drawn_and_a_clip_without_one_has_an_empty_caption(features: FoleyFeatures) -> None:
    wordings = features.rows[0]["captions"]
    rng = np.random.default_rng(1)
    assert {features.batch([0], rng)["captions"][0] for _ in range(200)} == set(wordings) and len(set(wordings)) > 1
    features.rows = features.rows.map(lambda row: {"captions": []}, keep_in_memory=True)
    assert features.batch([0, 2], rng)["captions"] == ["", ""]


def test_a_run_that_goes_on_sees_the_batches_it_would_have_seen(features: FoleyFeatures) -> None:
    whole = FeatureBatches(features, 8, 4, seed=5)
    rest = FeatureBatches(features, 3, 4, seed=5, first=5)
    assert len(whole) == 8 and len(rest) == 3
    for i in range(3):
        assert whole[5 + i]["captions"] == rest[i]["captions"]
        assert torch.equal(whole[5 + i]["tokens"], rest[i]["tokens"])
    with pytest.raises(IndexError):
        rest[3]
    other = FeatureBatches(features, 8, 4, seed=6)
    assert any(not torch.equal(whole[i]["frames"], other[i]["frames"]) for i in range(8))


def test_batches_are_of_one_length_and_no_row_is_in_one_twice(features: FoleyFeatures) -> None:
    seen = set()
    for batch in (FeatureBatches(features, 30, 64, seed=1)[i] for i in range(30)):
        assert len(batch["tokens"]) == N_CLIPS, "a length with fewer rows than asked for gives all of them"
        assert len({row.numpy().tobytes() for row in batch["latents"]}) == N_CLIPS
        seen.add(batch["tokens"].shape[1])
    assert seen == {16, 32}


def test_the_data_module_gives_both_splits(folder: Path) -> None:
    data = FoleyFeaturesDataModule(str(folder), batch_size=4, batches_per_epoch=5, n_validation_batches=2)
    data.setup("fit")
    assert len(data.train) == 2 * N_CLIPS and len(data.validation) == 6
    batches = list(data.train_dataloader())
    assert len(batches) == 5 and all(len(batch["tokens"]) == 4 for batch in batches)
    first, second = (list(data.val_dataloader()) for _ in range(2))
    assert len(first) == 2
    assert all(torch.equal(a["latents"], b["latents"]) for a, b in zip(first, second, strict=True))


def test_a_folder_without_features_says_how_to_write_them(tmp_path: Path, folder: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(AudioAgentError, match=r"holds no prepared features; .*audio-agent prepare"):
            FoleyFeatures(path)
    shutil.copy(folder / "train" / FEATURES_CONFIG, tmp_path)
    with pytest.raises(AudioAgentError, match="holds no prepared features"):
        FoleyFeatures(tmp_path)
    shutil.copy(folder / "train" / "shard-00001.parquet", tmp_path)
    with pytest.raises(AudioAgentError, match=r"holds 1 of 3 shards; .*audio-agent prepare"):
        FoleyFeatures(tmp_path)


def changed(hub: Path, to: Path, part: str) -> tuple[Path, str, str]:
    """A copy with other weights of one part, and the hashes that an error must tell."""
    shutil.copytree(hub, to)
    config = json.loads((hub / "config.json").read_text())
    weights = next((to / part).glob("*.safetensors"))
    was = config["parts"][part]["sha256"][weights.name] if part in config["parts"] else ""
    save_file({name: value + 1e-3 for name, value in load_file(weights).items()}, weights)
    from audio_agent_zoo.published import file_sha256

    return to, was, file_sha256(weights)


def fit_one_step(model: lightning.LightningModule, folder: Path) -> None:
    trainer = lightning.Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=1,
    )
    trainer.fit(model, datamodule=FoleyFeaturesDataModule(str(folder), batch_size=2, batches_per_epoch=1))


NEW_BASE = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 16,
}


def stage_one(hub: Path) -> SemanticTokenTraining:
    return SemanticTokenTraining(None, hub_folder=str(hub), lora_rank=2, train_base=True, new_base=NEW_BASE)


@pytest.mark.parametrize("part", ["frame_encoder", "semantic_quantizer"])
def test_stage_one_refuses_features_of_other_weights_with_both_values(
    part: str, hub: Path, folder: Path, tmp_path: Path
) -> None:
    other, was, now = changed(hub, tmp_path / "other", part)
    with pytest.raises(AudioAgentError, match=f"(?s)train was prepared with another {part}.*{was}.*{now}"):
        fit_one_step(stage_one(other), folder)


def test_stage_two_refuses_features_of_another_autoencoder_with_both_values(
    hub: Path, folder: Path, tmp_path: Path
) -> None:
    other, was, now = changed(hub, tmp_path / "other", "vae")
    with pytest.raises(AudioAgentError, match=f"(?s)train was prepared with another vae.*{was}.*{now}"):
        fit_one_step(VisualAdapterTraining(str(other), hub_folder=str(hub)), folder)


def test_both_stages_take_features_of_their_own_weights(hub: Path, folder: Path) -> None:
    fit_one_step(stage_one(hub), folder)
    fit_one_step(VisualAdapterTraining(str(hub), hub_folder=str(hub)), folder)


def test_parts_that_cannot_be_compared_pass(hub: Path, folder: Path, tmp_path: Path) -> None:
    data = FoleyFeaturesDataModule(str(folder))
    data.setup("fit")
    check_weights(data, tmp_path, ("vae", "hubert"))
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"the same weights in another format")
    check_weights(data, tmp_path, ("vae",))
