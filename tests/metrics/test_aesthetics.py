"""Ratings of a tiny network of the published layout against a written forward pass, and the metric over them."""

import json
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import WavLMConfig, WavLMModel

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.metrics.aesthetics import AudioboxAestheticsScore, audiobox_aesthetics
from audio_agent_zoo.metrics.features import FeatureNetwork
from audio_agent_zoo.models.audiobox_aesthetics import AXES

TARGETS = {"CE": (5.0, 1.5), "CU": (6.0, 1.0), "PC": (3.0, 2.0), "PQ": (7.0, 0.5)}
CONFIG = {
    "freeze_encoder": True, "nth_layer": 3, "normalize_embed": True, "output_dim": 1, "precision": "32",
    "proj_act_fn": "gelu", "proj_dropout": 0, "proj_ln": True, "proj_num_layer": 3, "use_weighted_layer_sum": True,
    "target_transform": {axis: {"mean": mean, "std": std} for axis, (mean, std) in TARGETS.items()},
}  # fmt: skip

# transformers' names to those of WavLM's release, part by part.
PUBLIC = {
    "masked_spec_embed": "mask_emb",
    "feature_projection.layer_norm": "layer_norm",
    "feature_projection.projection": "post_extract_proj",
    "encoder.pos_conv_embed.conv.parametrizations.weight.original0": "encoder.pos_conv.0.weight_g",
    "encoder.pos_conv_embed.conv.parametrizations.weight.original1": "encoder.pos_conv.0.weight_v",
    "encoder.pos_conv_embed.conv.bias": "encoder.pos_conv.0.bias",
    "feature_extractor.conv_layers.0.layer_norm": "feature_extractor.conv_layers.0.2",
    **{f"feature_extractor.conv_layers.{i}.conv": f"feature_extractor.conv_layers.{i}.0" for i in range(7)},
    **{
        f"encoder.layers.{layer}.{new}": f"encoder.layers.{layer}.{old}"
        for layer in range(2)
        for new, old in {
            "attention.gru_rel_pos_linear": "self_attn.grep_linear",
            "attention.gru_rel_pos_const": "self_attn.grep_a",
            "attention.rel_attn_embed": "self_attn.relative_attention_bias",
            **{f"attention.{side}_proj": f"self_attn.{side}_proj" for side in ("q", "k", "v", "out")},
            "layer_norm": "self_attn_layer_norm",
            "feed_forward.intermediate_dense": "fc1",
            "feed_forward.output_dense": "fc2",
        }.items()
    },
}


def _public_name(name: str) -> str:
    stem = name if name in PUBLIC else re.sub(r"\.(weight|bias)$", "", name)
    return "wavlm_model." + PUBLIC.get(stem, stem) + name[len(stem) :]


def _wave(samples: int, seed: int) -> Tensor:
    return torch.randn(1, samples, generator=torch.Generator().manual_seed(seed)) * 0.1


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[WavLMModel, Path]:
    """A folder as published, and transformers' network with the same weights."""
    torch.manual_seed(1)
    config = WavLMConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, conv_dim=(8,) * 7,
        num_buckets=40,
    )  # fmt: skip
    wavlm = WavLMModel(config).eval()
    for name, parameter in wavlm.named_parameters():
        if "original0" not in name:
            torch.nn.init.normal_(parameter, std=0.3)
    state = {_public_name(name): value for name, value in wavlm.state_dict().items()}
    for axis in AXES:
        state[f"layer_weights.{axis}"] = torch.randn(3)
        for layer in (0, 3):
            state |= {
                f"proj_layer.{axis}.{layer}.weight": torch.randn(32, 32) * 0.3,
                f"proj_layer.{axis}.{layer}.bias": torch.randn(32),
            }
            state |= {
                f"proj_layer.{axis}.{layer + 1}.weight": torch.randn(32),
                f"proj_layer.{axis}.{layer + 1}.bias": torch.randn(32),
            }
        state |= {f"proj_layer.{axis}.6.weight": torch.randn(1, 32), f"proj_layer.{axis}.6.bias": torch.randn(1)}
    folder = tmp_path_factory.mktemp("aesthetics")
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return wavlm, folder


def test_the_published_names_are_those_of_the_release(tiny: tuple[WavLMModel, Path]) -> None:
    names = set(load_file(tiny[1] / "model.safetensors"))
    for name in (
        "wavlm_model.mask_emb",
        "wavlm_model.post_extract_proj.weight",
        "wavlm_model.layer_norm.bias",
        "wavlm_model.feature_extractor.conv_layers.0.0.weight",
        "wavlm_model.feature_extractor.conv_layers.0.2.bias",
        "wavlm_model.encoder.pos_conv.0.weight_g",
        "wavlm_model.encoder.layer_norm.weight",
        "wavlm_model.encoder.layers.0.self_attn.relative_attention_bias.weight",
        "wavlm_model.encoder.layers.1.self_attn.grep_a",
        "wavlm_model.encoder.layers.1.self_attn.out_proj.bias",
        "wavlm_model.encoder.layers.1.self_attn_layer_norm.weight",
        "wavlm_model.encoder.layers.1.fc2.weight",
        "wavlm_model.encoder.layers.1.final_layer_norm.weight",
    ):
        assert name in names
    assert "wavlm_model.encoder.layers.1.self_attn.relative_attention_bias.weight" not in names


def _rated(states: list[Tensor], weights: dict[str, Tensor], axis: str, frames: int) -> float:
    """One rating from the states of the layers, each `(frames, dim)`."""
    share = weights[f"layer_weights.{axis}"].exp()
    mixed = sum(part * state for part, state in zip(share / share.sum(), states, strict=True))
    x = mixed[:frames].sum(dim=0) / frames
    x = x / x.norm()
    for layer in (0, 3, 6):
        name = f"proj_layer.{axis}.{layer}"
        x = weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]
        if layer < 6:
            name = f"proj_layer.{axis}.{layer + 1}"
            x = F.gelu(F.layer_norm(x, x.shape, weights[f"{name}.weight"], weights[f"{name}.bias"]))
    mean, spread = TARGETS[axis]
    return float(x[0]) * spread + mean


@torch.no_grad()
def test_ratings_equal_the_written_ones(tiny: tuple[WavLMModel, Path]) -> None:
    wavlm, folder = tiny
    weights = load_file(folder / "model.safetensors")
    network = audiobox_aesthetics(folder)
    assert (network.dim, network.sample_rate) == (4, 16_000)
    wave = _wave(160_000, 2)
    states = [state[0] for state in wavlm(wave, output_hidden_states=True).hidden_states]
    assert len(states) == 3
    got = network(wave)
    assert got.shape == (1, 4)
    assert got[0].tolist() == pytest.approx([_rated(states, weights, axis, 499) for axis in AXES], abs=1e-3)
    # A shorter clip is padded, and the padding neither attended to nor counted: 320 samples of it per frame of 10 s.
    short = wave[:, :50_000]
    whole = F.pad(short, (0, 110_000))
    mask = torch.arange(499) * 320 < 50_000
    hidden, _ = wavlm.feature_projection(wavlm.feature_extractor(whole).transpose(1, 2))
    hidden = torch.where(mask[:, None], hidden, 0)
    encoder = wavlm.encoder
    hidden = encoder.layer_norm(hidden + encoder.pos_conv_embed(hidden))
    states, bias = [hidden[0]], None
    for layer in encoder.layers:
        hidden, bias = layer(hidden, attention_mask=mask[None], position_bias=bias)
        states.append(hidden[0])
    expected = [_rated(states, weights, axis, int(mask.sum())) for axis in AXES]
    got = network(short)[0].tolist()
    assert got == pytest.approx(expected, abs=1e-3)
    assert got != pytest.approx(network(whole)[0].tolist(), abs=1e-2)


@torch.no_grad()
def test_long_clips_are_rated_in_stretches(tiny: tuple[WavLMModel, Path]) -> None:
    network = audiobox_aesthetics(tiny[1])
    wave = _wave(200_000, 3)
    expected = (network(wave[:, :160_000]) * 160_000 + network(wave[:, 160_000:]) * 40_000) / 200_000
    torch.testing.assert_close(network(wave), expected)
    both = torch.cat([wave, wave.flip(1)])
    torch.testing.assert_close(network(both)[:1], network(wave), atol=1e-4, rtol=1e-4)
    assert torch.isfinite(network(torch.zeros(1, 5))).all()
    with pytest.raises(ValueError, match="mono clips"):
        network(wave[0])


def test_the_mean_of_ratings_in_shards(tiny: tuple[WavLMModel, Path]) -> None:
    rows = torch.randn(7, 4, generator=torch.Generator().manual_seed(4)) + 5
    whole, first, second = (AudioboxAestheticsScore() for _ in range(3))
    whole.update(rows)
    first.update(rows[:2])
    second.update(rows[2:])
    first.merge_state(second)
    for place, axis in enumerate(AXES):
        expected = sum(rows[:, place].tolist()) / 7
        assert float(whole.compute()[axis]) == pytest.approx(expected, rel=1e-6)
        assert float(first.compute()[axis]) == pytest.approx(expected, rel=1e-6)
    asked = AudioboxAestheticsScore(audiobox_aesthetics(tiny[1]))
    asked.update(_wave(3000, 5))
    assert asked.protocol["features"] == "audiobox_aesthetics"
    assert len(str(asked.protocol["sha256"])) == 64


def test_what_cannot_be_rated_is_refused() -> None:
    metric = AudioboxAestheticsScore()
    with pytest.raises(ValueError, match="no clips"):
        metric.compute()
    with pytest.raises(ValueError, match="1 of 2 clips hold NaN"):
        metric.update(torch.tensor([[float("nan")] * 4, [1.0] * 4]))
    assert int(metric.clips) == 0
    with pytest.raises(ValueError, match="halves gives 2 numbers"):
        AudioboxAestheticsScore(FeatureNetwork("halves", lambda clips: clips, 2))


def test_what_is_no_such_network_is_refused(tiny: tuple[WavLMModel, Path], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"Audiobox aesthetics needs .* hf download facebook/audiobox-aesthetics"):
        audiobox_aesthetics()
    with pytest.raises(WeightsError, match="can't be loaded"):
        audiobox_aesthetics(tmp_path)
    state = load_file(tiny[1] / "model.safetensors")
    for change, config, message in (
        ({"layer_weights.CE": None}, CONFIG, r"layer_weights\.CE"),
        ({"extra": torch.zeros(1)}, CONFIG, "extra"),
        ({"wavlm_model.encoder.layers.1.fc1.bias": None}, CONFIG, r"feed_forward\.intermediate_dense\.bias"),
        ({"wavlm_model.encoder.pos_conv.0.weight_v": None}, CONFIG, r"pos_conv\.0\.weight_v"),
        ({}, {**CONFIG, "proj_num_layer": 2}, r"proj_layer\.CE"),
        ({}, {**CONFIG, "output_dim": 2}, "one number"),
        ({}, {key: value for key, value in CONFIG.items() if key != "target_transform"}, "target_transform"),
    ):
        changed = {key: value for key, value in {**state, **change}.items() if value is not None}
        save_file(changed, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(WeightsError, match=message):
            audiobox_aesthetics(tmp_path)
