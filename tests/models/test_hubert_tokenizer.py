"""Sound to semantic tokens: how many, of which layer, in any batch and in chunks, at the level it came in."""

from math import ceil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.models.hubert_tokenizer import HubertTokenizer
from audio_agent_zoo.models.kmeans_import import KM500_SHA256
from audio_agent_zoo.models.semantic_quantizer import SemanticQuantizer
from audio_agent_zoo.rates import n_semantic_tokens
from tests import tiny_video


def sound(samples: int, seed: int = 0, level: float = 0.3) -> Tensor:
    """Noise whose colour and loudness change, so that its tokens do."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(samples, generator=generator)
    time = torch.arange(samples) / 16_000
    tone = torch.sin(2 * torch.pi * 300 * time * (1 + (3 * time).floor()))
    return level * (0.2 * noise + tone * (torch.sin(9 * time) > 0)).clamp(-1, 1)


def states_by_hand(audio: Tensor, layer: int) -> Tensor:
    """What the whole HuBERT gives for the clip and the silence up to the end of its last token."""
    padded = F.pad(audio, (0, ceil(len(audio) / 320) * 320 + 80 - len(audio)))
    with torch.no_grad():
        return tiny_video.hubert()(padded[None], output_hidden_states=True).hidden_states[layer][0]


def spread_quantizer(layer: int) -> SemanticQuantizer:
    """Centroids among the states themselves, so that many of them are used."""
    states = states_by_hand(sound(16_000, seed=5), layer)
    return SemanticQuantizer.from_centroids(states[torch.linspace(0, len(states) - 1, tiny_video.N_AUDIO).long()])


def tokenizer(layer: int = 2, **settings: Any) -> HubertTokenizer:
    return HubertTokenizer(tiny_video.hubert(), spread_quantizer(layer), layer=layer, **settings)


LENGTHS = [1, 79, 80, 81, 319, 320, 321, 399, 400, 401, 640, 719, 720, 721, 5000, 15_999, 16_000, 16_001, 23_456]


def test_a_token_for_every_320_samples_begun() -> None:
    model = tokenizer()
    tokens = model.encode([sound(samples) for samples in LENGTHS])
    for samples, row in zip(LENGTHS, tokens, strict=True):
        assert len(row) == ceil(samples / 320) == n_semantic_tokens(samples / 16_000), samples
        assert row.dtype == torch.int64 and 0 <= int(row.min()) <= int(row.max()) < model.n_tokens
    with torch.no_grad():
        # What the convolutions alone would give for 10 s, and what the 80 samples of silence make of it.
        assert [int(model.hubert._get_feat_extract_output_lengths(n)) for n in (160_000, 160_080)] == [499, 500]
        assert n_semantic_tokens(10.0) == 500


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_the_layer_is_that_of_the_whole_hubert(layer: int) -> None:
    audio = sound(9_000)
    model = tokenizer(layer)
    assert len(model.hubert.encoder.layers) == model.hubert.config.num_hidden_layers == layer
    with torch.no_grad():
        states = model.features(audio[None])[0]
    expected = states_by_hand(audio, layer)
    assert torch.equal(states, expected)
    other = states_by_hand(audio, layer % 3 + 1)
    assert (states - other).abs().max() > 0.01, "the layers differ"
    distances = torch.cdist(expected.double(), model.quantizer.centroids.double())
    assert torch.equal(model.encode([audio])[0], distances.argmin(1))
    assert len(set(model.encode([audio])[0].tolist())) > 3, "tokens differ over time"


def test_a_clip_does_not_depend_on_its_batch() -> None:
    model = tokenizer()
    lengths = [8_000, 4_000, 8_000, 8_001, 4_000, 320, 8_000]
    clips = [sound(n, seed=i, level=0.1 * (i + 1)) for i, n in enumerate(lengths)]
    together = model.encode(clips)
    for clip, tokens in zip(clips, together, strict=True):
        assert torch.equal(model.encode([clip])[0], tokens)
    assert model.encode([]) == []


def test_long_batches_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tokenizer()
    clips = [sound(3_200, seed=i) for i in range(7)]
    whole = model.encode(clips)
    sizes: list[int] = []
    features = model.features

    def counting(audio: Tensor) -> Tensor:
        sizes.append(len(audio))
        return features(audio)

    monkeypatch.setattr(model, "features", counting)
    monkeypatch.setattr("audio_agent_zoo.models.hubert_tokenizer._MAX_BATCH_SAMPLES", 3 * 3_200)
    assert all(torch.equal(a, b) for a, b in zip(model.encode(clips), whole, strict=True))
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize("samples", [15_999, 16_000, 16_001, 16_079, 16_081, 20_000, 32_000, 35_000])
def test_chunks_are_cut_on_the_token_grid(samples: int) -> None:
    model = tokenizer(max_chunk_s=0.5)
    assert model.chunk_samples == 8_000
    audio = sound(samples)
    with torch.no_grad():
        states = model.features(audio[None])[0]
        padded = F.pad(audio, (0, ceil(samples / 320) * 320 + 80 - samples))
        by_hand = [
            model.hubert(padded[None, start : start + 8_080]).last_hidden_state[0]
            for start in range(0, ceil(samples / 320) * 320, 8_000)
        ]
    assert [len(part) for part in by_hand[:-1]] == [25] * (len(by_hand) - 1)
    assert torch.equal(states, torch.cat(by_hand))
    assert len(model.encode([audio])[0]) == ceil(samples / 320)


@pytest.mark.parametrize("max_chunk_s", [0.0, 0.001, 0.025, 0.49999])
def test_chunks_hold_whole_tokens(max_chunk_s: float) -> None:
    model = tokenizer(max_chunk_s=max_chunk_s)
    assert model.chunk_samples % 320 == 0 and model.chunk_samples >= 320
    assert len(model.encode([sound(3_000)])[0]) == 10


def test_samples_go_in_as_they_are() -> None:
    quiet = sound(8_000, level=0.002)
    model = tokenizer()
    with torch.no_grad():
        states = model.features(quiet[None])[0]
        # As the public preprocessor would, which this model was not trained with.
        normalised = Wav2Vec2FeatureExtractor(do_normalize=True)(quiet.numpy(), sampling_rate=16_000)
        other = model.features(torch.tensor(normalised["input_values"][0])[None])[0]
        offset = model.features(quiet[None] + 0.2)[0]
    assert torch.equal(states, states_by_hand(quiet, 2))
    assert (states - other).abs().max() > 0.05, "the level counts"
    assert (states - offset).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (torch.zeros(0), r"clip 1 is \(0,\)"),
        (torch.zeros(1, 400), r"clip 1 is \(1, 400\)"),
        (torch.tensor(0.0), r"clip 1 is \(\)"),
        (torch.full((400,), torch.nan), "clip 1 holds values that are no numbers"),
        (torch.cat([torch.zeros(999), torch.tensor([torch.inf])]), "clip 1 holds values that are no numbers"),
        (torch.zeros(400, dtype=torch.int16), r"torch.int16; give \(samples,\) in \[-1, 1\]"),
    ],
)
def test_what_is_no_clip_is_refused(clip: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tokenizer().encode([sound(400), clip])


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="layer is 4; this HuBERT has blocks 1 to 3"):
        HubertTokenizer(tiny_video.hubert(), tiny_video.quantizer(), layer=4)
    with pytest.raises(ValueError, match="layer is 0"):
        HubertTokenizer(tiny_video.hubert(), tiny_video.quantizer(), layer=0)
    with pytest.raises(ValueError, match="centroids have 9 values, HuBERT's states 16"):
        HubertTokenizer(tiny_video.hubert(), tiny_video.quantizer(dim=9), layer=1)
    config = tiny_video.hubert().config.to_dict()
    large = HubertModel(HubertConfig(**{**config, "do_stable_layer_norm": True, "feat_extract_norm": "layer"}))
    with pytest.raises(ValueError, match="take a base model"):
        HubertTokenizer(large, tiny_video.quantizer(), layer=1)
    fast = HubertModel(HubertConfig(**{**config, "conv_stride": (5, 2, 2, 2, 2, 2, 1)}))
    with pytest.raises(ValueError, match="a state every 160 samples"):
        HubertTokenizer(fast, tiny_video.quantizer(), layer=1)


def test_it_is_frozen_and_never_in_training_mode() -> None:
    hubert = tiny_video.hubert()
    hubert.train()
    model = HubertTokenizer(hubert, tiny_video.quantizer(), layer=2)
    assert not any(p.requires_grad for p in model.parameters()) and not model.hubert.training
    audio = sound(8_000)
    assert torch.equal(model.encode([audio])[0], model.encode([audio])[0])


def test_it_comes_back_from_folders(tmp_path: Path) -> None:
    hubert, quantizer = tmp_path / "hubert", tmp_path / "quantizer"
    tiny_video.hubert().save_pretrained(hubert)
    spread_quantizer(3).save_pretrained(quantizer)
    clips = [sound(5_000), sound(777)]
    for layer in (None, 1, 3):
        loaded = HubertTokenizer.from_pretrained(hubert, quantizer, layer=layer)
        made = HubertTokenizer(tiny_video.hubert(), spread_quantizer(3), layer=layer or 3)
        assert all(torch.equal(a, b) for a, b in zip(loaded.encode(clips), made.encode(clips), strict=True))
    truncated = HubertTokenizer(tiny_video.hubert(), spread_quantizer(3), layer=2)
    truncated.hubert.save_pretrained(tmp_path / "truncated")
    loaded = HubertTokenizer.from_pretrained(tmp_path / "truncated", quantizer)
    assert loaded.hubert.config.num_hidden_layers == 2
    assert torch.equal(loaded.encode(clips)[0], truncated.encode(clips)[0])


def test_the_public_centroids_are_on_layer_nine_of_twelve(tmp_path: Path) -> None:
    tiny_video.hubert(layers=12).save_pretrained(tmp_path / "hubert")
    centroids = tiny_video.quantizer().centroids
    SemanticQuantizer.from_centroids(centroids, source_sha256=KM500_SHA256).save_pretrained(tmp_path / "public")
    SemanticQuantizer.from_centroids(centroids, source_sha256="ab" * 32).save_pretrained(tmp_path / "own")
    public = HubertTokenizer.from_pretrained(tmp_path / "hubert", tmp_path / "public")
    assert len(public.hubert.encoder.layers) == 9
    own = HubertTokenizer.from_pretrained(tmp_path / "hubert", tmp_path / "own")
    assert len(own.hubert.encoder.layers) == 12


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    tiny_video.quantizer().save_pretrained(tmp_path / "quantizer")
    hubert = tiny_video.hubert()
    state = {k: v for k, v in hubert.state_dict().items() if "layers.1.attention" not in k}
    hubert.save_pretrained(tmp_path / "hubert", state_dict=state)
    with pytest.raises(WeightsError, match=r"lacks 8 weights of a HuBERT, such as encoder\.layers\.1\.attention"):
        HubertTokenizer.from_pretrained(tmp_path / "hubert", tmp_path / "quantizer")
