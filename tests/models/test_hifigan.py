"""The vocoder against independent formulas, against transformers' HiFi-GAN, and through its public file."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.models.hifigan import HifiGanConfig, HifiGanGenerator
from tests import tiny

EVEN = replace(tiny.VOCODER, upsample_kernel_sizes=(11, 8, 8, 4))
SINGLE = replace(tiny.VOCODER, resblock="2")


def reference(state: dict[str, Tensor], config: HifiGanConfig, mel: Tensor) -> Tensor:
    """The published formulas in float64, from old weight-norm keys, one convolution at a time."""

    def weight(name: str) -> Tensor:
        direction = state[f"{name}.weight_v"].double()
        norm = direction.square().sum(dim=(1, 2), keepdim=True).sqrt()
        return state[f"{name}.weight_g"].double() * direction / norm

    def convolve(name: str, x: Tensor, dilation: int = 1) -> Tensor:
        kernel = weight(name).shape[-1]
        padding = int((kernel * dilation - dilation) / 2)
        return F.conv1d(x, weight(name), state[f"{name}.bias"].double(), dilation=dilation, padding=padding)

    x = convolve("conv_pre", mel.double())
    blocks = list(zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True))
    for i, (u, k) in enumerate(zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True)):
        padding, extra = ((k - u) // 2, 0) if (k - u) % 2 == 0 else ((k - u) // 2 + 1, 1)
        x = F.conv_transpose1d(
            torch.where(x > 0, x, 0.1 * x),
            weight(f"ups.{i}"),
            state[f"ups.{i}.bias"].double(),
            stride=u,
            padding=padding,
            output_padding=extra,
        )
        total = torch.zeros_like(x)
        for j, (_, dilations) in enumerate(blocks):
            name, y = f"resblocks.{i * len(blocks) + j}", x
            for n, dilation in enumerate(dilations):
                z = torch.where(y > 0, y, 0.1 * y)
                if config.resblock == "1":
                    z = convolve(f"{name}.convs1.{n}", z, dilation)
                    z = convolve(f"{name}.convs2.{n}", torch.where(z > 0, z, 0.1 * z))
                else:
                    z = convolve(f"{name}.convs.{n}", z, dilation)
                y = y + z
            total = total + y
        x = total / len(blocks)
    return torch.tanh(convolve("conv_post", torch.where(x > 0, x, 0.01 * x))).squeeze(1)


@pytest.mark.parametrize("config", [tiny.VOCODER, EVEN, SINGLE], ids=["odd", "even", "single blocks"])
def test_public_file_gives_the_written_formulas(tmp_path: Path, config: HifiGanConfig) -> None:
    tiny.write_public_vocoder(tmp_path / "vocoder", config)
    model = HifiGanGenerator.from_pretrained(tmp_path)
    mel = torch.randn(2, tiny.N_MELS, 13) * 2 - 4
    state = torch.load(tmp_path / "vocoder" / "vocoder.pt", weights_only=True)["generator"]
    wave = model(mel)
    expected = reference(state, config, mel)
    assert expected.shape == (2, 13 * 160)
    assert expected.abs().mean() > 0.05
    assert (wave - expected).abs().max() < 2e-5


def test_equals_transformers_generator_where_differences_are_even() -> None:
    ours = tiny.vocoder(EVEN)
    theirs = SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=EVEN.num_mels,
            upsample_initial_channel=EVEN.upsample_initial_channel,
            upsample_rates=list(EVEN.upsample_rates),
            upsample_kernel_sizes=list(EVEN.upsample_kernel_sizes),
            resblock_kernel_sizes=list(EVEN.resblock_kernel_sizes),
            resblock_dilation_sizes=[list(one) for one in EVEN.resblock_dilation_sizes],
            normalize_before=False,
        )
    ).eval()
    renamed = {key.replace("ups.", "upsampler.", 1): value for key, value in ours.state_dict().items()}
    missing, unexpected = theirs.load_state_dict(renamed, strict=False)
    assert sorted(missing) == ["mean", "scale"] and not unexpected
    mel = torch.randn(2, EVEN.num_mels, 20)
    with torch.no_grad():
        assert torch.allclose(ours(mel), theirs(mel.transpose(1, 2)), atol=1e-6)


def test_present_weight_norm_keys_fold_to_the_same_weights(tmp_path: Path) -> None:
    model = tiny.vocoder()
    tiny.write_public_vocoder(tmp_path / "vocoder")
    renamed = {
        key.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): value
        for key, value in tiny.with_weight_norm(model.state_dict()).items()
    }
    torch.save({"generator": renamed}, tmp_path / "vocoder" / "vocoder.pt")
    loaded = HifiGanGenerator.from_pretrained(tmp_path)
    for key, value in model.state_dict().items():
        assert torch.allclose(loaded.state_dict()[key], value, atol=1e-6)


@pytest.mark.parametrize("columns", [1, 2, 7, 64])
def test_every_column_is_one_hop(columns: int) -> None:
    config = HifiGanConfig(upsample_initial_channel=32, num_mels=8, upsample_kernel_sizes=(11, 9, 4, 5, 4))
    assert config.hop_length == 160
    assert tiny.vocoder(config)(torch.randn(1, 8, columns)).shape == (1, columns * 160)


@pytest.mark.parametrize("config", [tiny.VOCODER, EVEN, SINGLE], ids=["odd", "even", "single blocks"])
def test_context_columns_hold_everything_a_sample_depends_on(config: HifiGanConfig) -> None:
    model, columns = tiny.vocoder(config), 61
    mel = torch.randn(1, config.num_mels, columns, requires_grad=True)
    middle = model(mel)[0, 30 * 160 : 31 * 160]
    middle.sum().backward()
    assert mel.grad is not None
    reached = mel.grad.abs().sum(dim=(0, 1)).nonzero().flatten()
    reach = max(30 - int(reached.min()), int(reached.max()) - 30)
    assert reach <= config.context_columns <= reach + 4


def test_training_reaches_every_weight() -> None:
    model = tiny.vocoder().train()
    model(torch.randn(1, tiny.N_MELS, 8)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_saved_folder_gives_the_same_sound(tmp_path: Path) -> None:
    model = tiny.vocoder()
    model.save_pretrained(tmp_path / "vocoder")
    loaded = HifiGanGenerator.from_pretrained(tmp_path)
    mel = torch.randn(1, tiny.N_MELS, 5)
    assert loaded.config == model.config
    assert torch.equal(loaded(mel), model(mel))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"upsample_rates": (5, 4)}, "as many kernels as rates"),
        ({"upsample_kernel_sizes": (3, 8, 8, 4)}, "none smaller"),
        ({"resblock_dilation_sizes": ((1, 3),)}, "differ in length"),
        ({"upsample_initial_channel": 24}, "multiple of 16"),
    ],
)
def test_impossible_shapes_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(tiny.VOCODER, **changes)


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    tiny.write_public_vocoder(tmp_path / "vocoder")
    (tmp_path / "vocoder" / "vocoder.pt").write_bytes(b"not a pickle")
    with pytest.raises(WeightsError, match="vocoder"):
        HifiGanGenerator.from_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="nowhere"):
        HifiGanGenerator.from_pretrained(tmp_path / "nowhere")
    state = tiny.vocoder().state_dict()
    state.pop("conv_post.bias")
    torch.save({"generator": state}, tmp_path / "vocoder" / "vocoder.pt")
    with pytest.raises(WeightsError, match=r"conv_post\.bias"):
        HifiGanGenerator.from_pretrained(tmp_path)
