"""Wav2CLIP, ImageBind and Synchformer from files of the public layout, CLIP from a folder, and what metrics get."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.metrics.desync import Desync
from audio_agent_zoo.metrics.similarity import IB_SCORE, WAV2CLIP_SIMILARITY, EmbeddingSimilarity
from audio_agent_zoo.metrics.video_networks import clip_frames, imagebind, synchformer, wav2clip
from audio_agent_zoo.models.imagebind import ImageBind
from audio_agent_zoo.models.synchformer import Synchformer
from audio_agent_zoo.models.wav2clip import Wav2Clip


def _waves(n: int, samples: int, seed: int = 0, scale: float = 0.1) -> Tensor:
    return torch.randn(n, samples, generator=torch.Generator().manual_seed(seed)) * scale


def _saved(content: Any, path: Path) -> tuple[Path, str]:
    torch.save(content, path)
    return path, sha256(path.read_bytes()).hexdigest()


def _public_wav2clip(network: Wav2Clip) -> dict[str, Tensor]:
    """As its training wrote it: with the window of the spectrogram, the image's projection and the two losses."""
    beside = {
        "audio_encoder.spectrogram.window": torch.hann_window(512),
        "image_transform.sequential.0.weight": torch.zeros(9, 9),
        "loss_fn_i.logit_scale": torch.tensor(2.6),
        "loss_fn_a.logit_scale": torch.tensor(2.6),
    }
    return {**network.state_dict(), **beside}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Wav2Clip, Path, str]:
    torch.manual_seed(1)
    network = Wav2Clip((4, 5, 6, 7), 8, 9).eval()
    return network, *_saved(_public_wav2clip(network), tmp_path_factory.mktemp("wav2clip") / "Wav2CLIP.pt")


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(2)
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16,
        projection_dim=9,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


@torch.no_grad()
def test_wav2clip_loads_the_public_layout(tiny: tuple[Wav2Clip, Path, str]) -> None:
    network, path, digest = tiny
    hears, waves = wav2clip(path, expected_sha256=digest), _waves(3, 20_000, 3)
    torch.testing.assert_close(hears(waves), network(waves))
    assert (hears.dim, hears.sample_rate, hears.protocol()["sha256"]) == (9, 16_000, digest)


@torch.no_grad()
def test_similarity_of_sounds_to_their_videos(tiny: tuple[Wav2Clip, Path, str], clip_folder: Path) -> None:
    _, path, digest = tiny
    sees, hears = clip_frames(clip_folder), wav2clip(path, expected_sha256=digest)
    rng = np.random.default_rng(4)
    videos = [rng.integers(0, 256, (n, 40, 50, 3), dtype=np.uint8) for n in (3, 1)]
    waves = _waves(2, 12_000, 5)
    rows = sees(videos)
    assert rows.shape == (2, sees.dim) == (2, 9)
    alone = torch.cat([sees([videos[0][frame : frame + 1]]) for frame in range(3)])
    torch.testing.assert_close(rows[0], alone.mean(dim=0), atol=1e-5, rtol=1e-4)
    metric = EmbeddingSimilarity(WAV2CLIP_SIMILARITY, sees, hears)
    metric.update(videos, waves)
    assert float(metric.compute()) == pytest.approx(float(F.cosine_similarity(rows, hears(waves)).mean()), abs=1e-6)
    assert metric.protocol["first_frames"] == "mean of embeddings"
    assert metric.protocol["second_features"] == "wav2clip"
    with pytest.raises(ValueError, match="no clips"):
        sees([])


def test_what_is_no_wav2clip_is_refused(tiny: tuple[Wav2Clip, Path, str], tmp_path: Path) -> None:
    network, path, digest = tiny
    with pytest.raises(
        WeightsError, match=r"Wav2CLIP similarity .* not there\. .*curl -L -o 'Wav2CLIP\.pt' https://github"
    ):
        wav2clip()
    with pytest.raises(WeightsError, match=rf'publishers give no hash.*pass expected_sha256="{digest}"'):
        wav2clip(path)
    with pytest.raises(WeightsError, match="was not opened"):
        wav2clip(path, expected_sha256="0" * 64)
    state = _public_wav2clip(network)
    for change, message in (
        ({"audio_transform.sequential.3.weight": None}, r"no 'audio_transform\.sequential\.3\.weight'\. curl"),
        ({"audio_encoder.layer2.0.downsample.1.bias": None}, r"layer2\.0\.downsample\.1\.bias"),
        ({"audio_encoder.fc.weight": torch.zeros(1)}, r"audio_encoder\.fc\.weight"),
        ({"audio_transform.sequential.0.weight": torch.zeros(8, 6)}, r"audio_transform\.sequential\.0\.weight"),
    ):
        changed = {key: value for key, value in {**state, **change}.items() if value is not None}
        other, other_digest = _saved(changed, tmp_path / "other.pt")
        with pytest.raises(WeightsError, match=message):
            wav2clip(other, expected_sha256=other_digest)


def test_a_clip_that_is_not_there_names_its_download(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"hf download openai/clip-vit-base-patch32, or pass download=True"):
        clip_frames()
    with pytest.raises(WeightsError, match="can't be loaded"):
        clip_frames(tmp_path)


# --- ImageBind ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_imagebind(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageBind, Path, str]:
    """With a weight of every sense that is not used."""
    torch.manual_seed(10)
    network = ImageBind(dim=10, vision_dim=32, vision_depth=1, audio_dim=24, audio_depth=2).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    unused = {
        "modality_preprocessors.text.mask": torch.full((3, 3), float("-inf")).triu(1),
        "modality_preprocessors.depth.depth_stem.proj.weight": torch.zeros(2, 1, 2, 2),
        "modality_trunks.thermal.blocks.0.attn.bias_k": torch.zeros(1, 1, 2),
        "modality_heads.imu.3.weight": torch.zeros(10, 2),
        "modality_postprocessors.audio.1.log_logit_scale": torch.tensor(3.0),
    }
    path = tmp_path_factory.mktemp("imagebind") / "imagebind_huge.pth"
    return network, *_saved({**network.state_dict(), **unused}, path)


@torch.no_grad()
def test_ib_score_of_sounds_to_their_videos(tiny_imagebind: tuple[ImageBind, Path, str]) -> None:
    network, path, digest = tiny_imagebind
    both = imagebind(path, expected_sha256=digest)
    rng = np.random.default_rng(11)
    videos = [rng.integers(0, 256, (n, 30, 40, 3), dtype=np.uint8) for n in (2, 1)]
    waves = _waves(2, 40_000, 12)
    seen, heard = both.video(videos), both.sound(waves)
    torch.testing.assert_close(seen, torch.stack([network.see(torch.from_numpy(video)) for video in videos]))
    torch.testing.assert_close(heard, network.hear(waves))
    metric = EmbeddingSimilarity(IB_SCORE, both.video, both.sound)
    metric.update(videos, waves)
    assert float(metric.compute()) == pytest.approx(float(F.cosine_similarity(seen, heard).mean()), abs=1e-6)
    assert metric.protocol["second_sha256"] == metric.protocol["first_sha256"] == digest
    with pytest.raises(ValueError, match="no clips"):
        both.video([])


def test_what_is_no_imagebind_is_refused(tiny_imagebind: tuple[ImageBind, Path, str], tmp_path: Path) -> None:
    network, path, _ = tiny_imagebind
    with pytest.raises(
        WeightsError, match=r"IB score .* not there\. .*CC-BY-NC.*curl -L -o 'imagebind_huge\.pth' https"
    ):
        imagebind()
    with pytest.raises(WeightsError, match=r"not d6f6c22b.*was not opened"):
        imagebind(path)
    state = network.state_dict()
    for change, message in (
        ({"modality_heads.vision.2.weight": None}, r"no ImageBind \('modality_heads\.vision\.2\.weight'\)\. curl"),
        ({"modality_heads.audio.2.weight": torch.zeros(3)}, "no ImageBind"),
        ({"modality_trunks.audio.blocks.1.attn.bias_v": None}, r"blocks\.1\.attn\.bias_v"),
        ({"modality_trunks.smell.blocks.0.attn.bias_v": torch.zeros(1)}, "smell"),
    ):
        changed = {key: value for key, value in {**state, **change}.items() if value is not None}
        other, _ = _saved(changed, tmp_path / "other.pth")
        with pytest.raises(WeightsError, match=message):
            imagebind(other, expected_sha256=None)


# --- Synchformer ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_synchformer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Synchformer, Path, str]:
    torch.manual_seed(6)
    network = Synchformer(dim=64, depth=1, heads=1, judge_depth=1, judge_heads=8, n_offsets=5).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    unused = {
        "vfeat_extractor.patch_embed.proj.weight": torch.zeros(64, 3, 16, 16),
        "vfeat_extractor.patch_embed.proj.bias": torch.zeros(64),
    }
    path = tmp_path_factory.mktemp("synchformer") / "synchformer_state_dict.pth"
    return network, *_saved({**network.state_dict(), **unused}, path)


@torch.no_grad()
def test_desync_of_pairs(tiny_synchformer: tuple[Synchformer, Path, str]) -> None:
    network, path, digest = tiny_synchformer
    judge = synchformer(path, expected_sha256=digest)
    rng = np.random.default_rng(7)
    pairs = [
        (_waves(1, 80_000, seed)[0].numpy(), rng.integers(0, 256, (n, 24, 30, 3), dtype=np.uint8))
        for seed, n in ((8, 120), (9, 130))
    ]
    rows = judge(pairs)
    assert rows.shape == (4, judge.dim) == (4, 5)
    torch.testing.assert_close(rows[:2], network.rows(*(torch.from_numpy(half) for half in pairs[0])))
    metric = Desync(n_offsets=5, network=judge)
    metric.update(pairs[:1])
    assert float(metric.compute()) == pytest.approx(float((rows[:2].argmax(dim=1) - 2).abs().double().mean()))
    assert metric.protocol["heard"] == "first and last 4.8 s"
    with pytest.raises(ValueError, match=r"at least 4\.8 s"):
        metric.update([(pairs[0][0][:32_000], pairs[0][1])])
    with pytest.raises(ValueError, match="no pairs"):
        judge([])


def test_what_is_no_synchformer_is_refused(tiny_synchformer: tuple[Synchformer, Path, str], tmp_path: Path) -> None:
    network, path, digest = tiny_synchformer
    with pytest.raises(WeightsError, match=r"DeSync .* not there\. .*curl -L -o 'synchformer_state_dict\.pth' https"):
        synchformer()
    with pytest.raises(WeightsError, match=rf'not the file of md5 5b2f5594.*pass expected_sha256="{digest}"'):
        synchformer(path)
    state = network.state_dict()
    for change, message in (
        ({"vproj.weight": None}, r"no Synchformer: it has no 'vproj\.weight'\. curl"),
        ({"afeat_extractor.freq_attn_agg.cls_token": None}, r"freq_attn_agg\.cls_token"),
        ({"transformer.pos_emb_cfg.pos_emb": torch.zeros(1, 197, 64)}, "pos_emb"),
        ({"extra": torch.zeros(1)}, "extra"),
    ):
        changed = {key: value for key, value in {**state, **change}.items() if value is not None}
        other, other_digest = _saved(changed, tmp_path / "other.pth")
        with pytest.raises(WeightsError, match=message):
            synchformer(other, expected_sha256=other_digest)
