"""Feature networks: front ends against their written formulas, public layouts of tiny weights, and what is refused."""

import math
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizer

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.metrics.feature_networks import clap, panns_cnn14, vggish
from audio_agent_zoo.metrics.frechet import FrechetDistance
from audio_agent_zoo.metrics.similarity import CLAP_SCORE, EmbeddingSimilarity
from audio_agent_zoo.models import panns
from audio_agent_zoo.models.panns import Cnn14, panns_log_mel
from audio_agent_zoo.models.vggish import SHORTEST_SAMPLES, Vggish, vggish_patches

CHANNELS = (2, 3, 4, 4, 5, 6)


def _waves(n: int, samples: int, seed: int = 0, scale: float = 0.1) -> Tensor:
    return torch.randn(n, samples, generator=torch.Generator().manual_seed(seed)) * scale


# --- VGGish ---------------------------------------------------------------------------------------------------------


def _written_patches(wave: np.ndarray) -> np.ndarray:
    """The release's front end, frame by frame and band by band."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = [wave[start : start + 400] * window for start in range(0, len(wave) - 399, 160)]
    magnitudes = [np.abs([np.sum(frame * np.exp(-2j * np.pi * k * np.arange(400) / 512)) for k in range(257)])
                  for frame in frames]  # fmt: skip

    def mel(hz: float) -> float:
        return 1127.0 * math.log(1.0 + hz / 700.0)

    edges = np.linspace(mel(125.0), mel(7500.0), 66)
    bank = np.zeros((257, 64))
    for k in range(1, 257):
        for band in range(64):
            low, middle, high = edges[band : band + 3]
            at = mel(k * 16000 / 512)
            bank[k, band] = max(0.0, min((at - low) / (middle - low), (high - at) / (high - middle)))
    log_mel = np.log(np.array(magnitudes) @ bank + 0.01)
    return log_mel[: len(log_mel) // 96 * 96].reshape(-1, 96, 64)


def test_vggish_front_end_equals_the_written_formula() -> None:
    wave = _waves(1, SHORTEST_SAMPLES + 96 * 160 + 77, 1)
    patches = vggish_patches(wave)
    assert patches.shape == (1, 2, 96, 64)
    np.testing.assert_allclose(patches[0].numpy(), _written_patches(wave[0].double().numpy()), atol=2e-6)


def test_vggish_hears_a_clip_shorter_than_a_patch() -> None:
    short = _waves(2, 3000, 2)
    assert torch.equal(vggish_patches(short), vggish_patches(F.pad(short, (0, SHORTEST_SAMPLES - 3000))))
    silence = vggish_patches(torch.zeros(1, 5))
    assert torch.allclose(silence, torch.full_like(silence, math.log(0.01)))
    assert vggish_patches(_waves(1, SHORTEST_SAMPLES)).shape[1] == 1
    assert vggish_patches(_waves(1, SHORTEST_SAMPLES + 96 * 160 - 1)).shape[1] == 1
    with pytest.raises(ValueError, match="mono clips"):
        vggish_patches(torch.zeros(16_000))


def _public_vggish() -> nn.Sequential:
    """The public port, put together from its names: features, then embeddings with a ReLU at the end."""
    a, b, c, d, e, f = CHANNELS
    sizes = [(1, a), (a, b), (b, c), (c, d), (d, e), (e, f)]
    convolutions = [nn.Conv2d(*size, 3, padding=1) for size in sizes]
    features: list[nn.Module] = []
    for conv, pooled in zip(convolutions, (True, True, False, True, False, True), strict=True):
        features += [conv, nn.ReLU(), *([nn.MaxPool2d(2, 2)] if pooled else [])]
    linear = [nn.Linear(f * 24, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU()]
    model = nn.Sequential()
    model.add_module("features", nn.Sequential(*features))
    model.add_module("embeddings", nn.Sequential(*linear))
    return model.eval()


def _saved(state: Any, path: Path, **how: Any) -> tuple[Path, str]:
    torch.save(state, path, **how)
    return path, sha256(path.read_bytes()).hexdigest()


def test_vggish_loads_the_public_layout_and_gives_what_it_gives(tmp_path: Path) -> None:
    public = _public_vggish()
    state = {**public.state_dict(), "pproc.pca_matrix": torch.eye(7), "pproc.pca_means": torch.zeros(7, 1)}
    path, digest = _saved(state, tmp_path / "vggish.pth", _use_new_zipfile_serialization=False)
    network = vggish(path, expected_sha256=digest)
    waves = _waves(3, 40_000, 3, 0.5)
    maps = public.features(vggish_patches(waves).flatten(0, 1)[:, None])
    laid_out = maps.transpose(1, 3).transpose(1, 2).contiguous().view(len(maps), -1)
    expected = public.embeddings[:-1](laid_out)
    assert network(waves).shape == (6, 7)
    torch.testing.assert_close(network(waves), expected)
    torch.testing.assert_close(network(waves[1:2]), expected[2:4])
    assert not network(waves).requires_grad
    assert (network.dim, network.sample_rate) == (7, 16_000)
    metric = FrechetDistance(network=network)
    metric.update(waves, real=True)
    metric.update(waves * 0.5, real=False)
    assert metric.protocol["metric"] == "FAD"
    assert metric.protocol["sha256"] == digest
    assert float(metric.compute()) > 0


def test_the_real_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in Vggish().parameters()) == 72_141_184
        assert sum(p.numel() for p in Cnn14().parameters()) == 80_753_615


# --- PANNs ----------------------------------------------------------------------------------------------------------


def test_panns_front_end_equals_the_written_formula() -> None:
    import librosa

    wave = _waves(1, 7000, 4)[0]
    padded = np.pad(wave.double().numpy(), 256, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    power = np.array([np.abs(np.fft.rfft(padded[at : at + 512] * window)) ** 2 for at in range(0, 7001, 160)])
    bank = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=64, fmin=50, fmax=8000, dtype=np.float64)
    expected = 10 * np.log10(np.maximum(1e-10, power @ bank.T))
    np.testing.assert_allclose(panns_log_mel(wave[None])[0].numpy(), expected, atol=2e-3)


@pytest.mark.parametrize("samples", [1, 100, 4959, 4960, 16_000])
def test_panns_hears_clips_of_any_length(samples: int) -> None:
    network = Cnn14(CHANNELS, 8, 9).eval()
    assert network(_waves(2, samples)).shape == (2, 9)
    assert torch.isfinite(network(torch.zeros(1, samples))).all()


def _public_panns(network: Cnn14, sample_rate: int = 16_000) -> dict[str, Any]:
    """A checkpoint as its training wrote it: with the front end as weights, and the sampler beside the model."""
    import librosa

    n_fft = 512 if sample_rate == 16_000 else 1024
    bank = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=64, fmin=50, fmax=8000).T
    front = {
        "spectrogram_extractor.stft.conv_real.weight": torch.zeros(n_fft // 2 + 1, 1, n_fft),
        "spectrogram_extractor.stft.conv_imag.weight": torch.zeros(n_fft // 2 + 1, 1, n_fft),
        "logmel_extractor.melW": torch.from_numpy(np.ascontiguousarray(bank)),
    }
    sampler = {"indexes": np.arange(5), "pointer": 3}
    return {"iteration": 1, "model": {**front, **network.state_dict()}, "sampler": sampler}


def _tiny_panns() -> Cnn14:
    torch.manual_seed(5)
    network = Cnn14(CHANNELS, 8, 9)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn_like(module.running_mean)
            module.running_var = torch.rand_like(module.running_var) + 0.5
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return network.eval()


def _public_forward(state: dict[str, Tensor], waves: Tensor) -> tuple[Tensor, Tensor]:
    """Embedding and logits by plain functions over the named weights."""

    def norm(x: Tensor, name: str) -> Tensor:
        stats = [state[f"{name}.{what}"] for what in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *stats)

    x = panns_log_mel(waves)[:, None].transpose(1, 3)
    x = norm(x, "bn0").transpose(1, 3)
    for block in range(1, 7):
        for layer in (1, 2):
            name = f"conv_block{block}"
            x = F.relu(norm(F.conv2d(x, state[f"{name}.conv{layer}.weight"], padding=1), f"{name}.bn{layer}"))
        x = F.avg_pool2d(x, 2 if block < 6 else 1)
    x = x.mean(dim=3)
    x = x.max(dim=2).values + x.mean(dim=2)
    embedding = F.relu(F.linear(x, state["fc1.weight"], state["fc1.bias"]))
    return embedding, F.linear(embedding, state["fc_audioset.weight"], state["fc_audioset.bias"])


@pytest.mark.parametrize("older_numpy", [False, True])
def test_panns_loads_the_public_layout_and_gives_what_it_gives(tmp_path: Path, older_numpy: bool) -> None:
    tiny = _tiny_panns()
    path, _ = _saved(_public_panns(tiny), tmp_path / "cnn14.pth", _use_new_zipfile_serialization=False)
    if older_numpy:  # as the file on Zenodo names it
        path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
        assert b"numpy.core.multiarray" in path.read_bytes()
    waves = _waves(2, 9000, 6)
    embedding, logits = _public_forward(tiny.state_dict(), waves)
    for output, expected in (("embedding", embedding), ("logits", logits)):
        network = panns_cnn14(path, output, expected_sha256=None)
        torch.testing.assert_close(network(waves), expected)
        assert network.protocol()["output"] == output
        assert network.protocol()["sha256"] == "not checked"
    with pytest.raises(ValueError, match="output is 'probabilities'"):
        panns_cnn14(path, "probabilities", expected_sha256=None)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    tiny = _tiny_panns()
    other, _ = _saved(_public_panns(tiny, 32_000), tmp_path / "32k.pth")
    with pytest.raises(WeightsError, match=r"other mel bands, \(513, 64\)"):
        panns_cnn14(other, expected_sha256=None)
    with pytest.raises(WeightsError, match=r"is no VGGish: it has no 'features.0.weight'. curl"):
        vggish(other, expected_sha256=None)
    state = _public_panns(tiny)
    state["model"]["extra.weight"] = torch.zeros(2)
    extra, _ = _saved(state, tmp_path / "extra.pth")
    with pytest.raises(WeightsError, match=r"extra\.weight"):
        panns_cnn14(extra, expected_sha256=None)
    del state["model"]["extra.weight"], state["model"]["conv_block3.bn1.bias"]
    lacking, _ = _saved(state, tmp_path / "lacking.pth")
    with pytest.raises(WeightsError, match=r"conv_block3\.bn1\.bias"):
        panns_cnn14(lacking, expected_sha256=None)
    state = _public_panns(tiny)
    state["model"]["fc1.weight"][0, 0] = float("nan")
    broken, _ = _saved(state, tmp_path / "broken.pth")
    with pytest.raises(WeightsError, match=r"no numbers \(fc1\.weight\)"):
        panns_cnn14(broken, expected_sha256=None)


def test_missing_weights_name_their_download(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"FAD needs the weights of vggish, .* curl -L -o 'vggish-10086976.pth' http"
    ):
        vggish()
    with pytest.raises(
        WeightsError, match=r"not there at .*none.pth.*CC-BY-4.0.*'Cnn14_16k_mAP=0.438.pth' https://zenodo"
    ):
        panns_cnn14(tmp_path / "none.pth")
    other = tmp_path / "other.pth"
    other.write_bytes(b"x")
    with pytest.raises(WeightsError, match="was not opened"):
        vggish(other)
    with pytest.raises(WeightsError, match="hf download laion/clap-htsat-unfused"):
        clap()


# --- CLAP -----------------------------------------------------------------------------------------------------------


def _clap_folder(folder: Path, *, fused: bool, preprocessor: str) -> Path:
    """A tiny CLAP in transformers' format."""
    torch.manual_seed(6)
    letters = [*"abcdefghijklmnopqrstuvwxyz", "Ġ"]
    words = {word: at for at, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters])}
    RobertaTokenizer(vocab=words, merges=[], model_max_length=16).save_pretrained(folder)
    config = ClapConfig(
        text_config={
            "vocab_size": len(words), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "max_position_embeddings": 20, "projection_dim": 8,
        },
        audio_config={
            "spec_size": 64, "num_mel_bins": 16, "hidden_size": 32, "depths": [1, 1], "num_attention_heads": [1, 2],
            "num_hidden_layers": 2, "patch_embeds_hidden_size": 16, "window_size": 4, "projection_dim": 8,
            "patch_size": 4, "patch_stride": [4, 4], "enable_fusion": fused,
            "aff_block_r": 2,
        },
        projection_dim=8,
    )  # fmt: skip
    ClapModel(config).save_pretrained(folder)
    ClapFeatureExtractor(feature_size=16, sampling_rate=8000, hop_length=80, max_length_s=1, fft_window_size=256,
                         frequency_max=4000, truncation=preprocessor).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["unfused", "fused"])
def clap_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The unfused one with the preprocessor that would give it four channels.
    return _clap_folder(tmp_path_factory.mktemp("clap"), fused=request.param, preprocessor="fusion")


def test_clap_depends_on_neither_batch_nor_seed(clap_folder: Path) -> None:
    both = clap(clap_folder)
    waves = _waves(3, 12_000, 7)
    np.random.seed(1)
    together = both.sound(waves)
    np.random.seed(2)
    alone = torch.cat([both.sound(wave[None]) for wave in waves])
    assert together.shape == (3, both.sound.dim)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both.sound(waves[:, :8000]), together)
    assert not torch.allclose(together[0], together[1], atol=1e-4)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))


def test_clap_gives_what_the_library_gives(clap_folder: Path) -> None:
    both, model = clap(clap_folder), ClapModel.from_pretrained(clap_folder).eval()
    waves = _waves(2, 8000, 8)
    extractor = ClapFeatureExtractor.from_pretrained(clap_folder)
    truncation = "fusion" if model.config.audio_config.enable_fusion else "rand_trunc"
    inputs = extractor([w.numpy() for w in waves], truncation=truncation, sampling_rate=8000, return_tensors="pt")
    inputs["is_longer"][:] = False
    with torch.no_grad():
        expected = model.get_audio_features(**inputs).pooler_output
    torch.testing.assert_close(both.sound(waves), expected)
    assert both.sound.protocol()["truncation"] == truncation


def test_clap_score_of_captions_and_sounds(clap_folder: Path) -> None:
    both = clap(clap_folder)
    metric = EmbeddingSimilarity(CLAP_SCORE, both.text, both.sound)
    captions = ["a dog barks", "rain"]
    waves = _waves(2, 6000, 9)
    metric.update(captions, waves)
    expected = F.cosine_similarity(both.text(captions), both.sound(waves)).mean()
    assert float(metric.compute()) == pytest.approx(float(expected), abs=1e-6)
    torch.testing.assert_close(both.text(captions)[1:], both.text(["rain"]), atol=1e-5, rtol=1e-5)
    assert metric.protocol["second_heard"] == "first 1 s"
    with pytest.raises(ValueError, match="list of strings"):
        both.text("rain")
    with pytest.raises(ValueError, match="mono clips"):
        both.sound(waves[0])


def test_a_clap_without_all_of_its_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = _clap_folder(tmp_path / "clap", fused=False, preprocessor="rand_trunc")
    state = load_file(folder / "model.safetensors")
    del state["audio_projection.linear1.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"lack audio_projection\.linear1\.weight"):
        clap(folder)
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(WeightsError, match="can't be loaded"):
        clap(folder)


def test_panns_bands_are_those_of_the_checkpoint() -> None:
    import librosa

    bank = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=64, fmin=50, fmax=8000).T
    np.testing.assert_allclose(panns.mel_weights().numpy(), bank, atol=1e-7)
