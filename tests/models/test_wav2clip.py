"""Wav2CLIP: its front end against a written formula, its forward pass against plain functions over named weights."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audio_agent_zoo.models.wav2clip import SHORTEST_SAMPLES, Wav2Clip, wav2clip_spectrogram


def _waves(n: int, samples: int, seed: int = 0, scale: float = 0.1) -> Tensor:
    return torch.randn(n, samples, generator=torch.Generator().manual_seed(seed)) * scale


def test_the_front_end_equals_the_written_formula() -> None:
    waves = _waves(2, 9001, 1) * torch.tensor([[1.0], [0.01]])
    got = wav2clip_spectrogram(waves)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    for wave, one in zip(waves.double().numpy(), got, strict=True):
        padded = np.pad(wave, 256, mode="reflect")
        frames = np.stack([padded[at : at + 512] * window for at in range(0, len(wave) + 1, 353)])
        logs = np.log(np.abs(np.fft.rfft(frames)).T ** 2 + 1e-7)
        assert one.shape == logs.shape
        expected = (logs - logs.mean()) / (logs.std(ddof=1) + 1e-9)
        np.testing.assert_allclose(one.numpy(), expected, atol=2e-3)


@pytest.mark.parametrize("samples", [1, 100, 256, 257, 16_000])
def test_clips_of_any_length_and_silence_are_heard(samples: int) -> None:
    short = _waves(2, samples, 2)
    assert torch.equal(wav2clip_spectrogram(short), wav2clip_spectrogram(F.pad(short, (0, SHORTEST_SAMPLES - samples)))
                       if samples < SHORTEST_SAMPLES else wav2clip_spectrogram(short))  # fmt: skip
    assert not wav2clip_spectrogram(torch.zeros(1, samples)).any()
    assert torch.isfinite(_tiny()(torch.cat([short, torch.zeros(1, samples)]))).all()
    with pytest.raises(ValueError, match="mono clips"):
        wav2clip_spectrogram(torch.zeros(samples))


def _tiny() -> Wav2Clip:
    torch.manual_seed(3)
    network = Wav2Clip((4, 5, 6, 7), 8, 9)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn_like(module.running_mean)
            module.running_var = torch.rand_like(module.running_var) + 0.5
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return network.eval()


def _written_forward(state: dict[str, Tensor], spectrogram: Tensor) -> Tensor:
    """By plain functions over the named weights."""

    def norm(x: Tensor, name: str) -> Tensor:
        stats = [state[f"audio_encoder.{name}.{what}"] for what in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *stats)

    def conv(x: Tensor, name: str, stride: int = 1, padding: int = 1) -> Tensor:
        return F.conv2d(x, state[f"audio_encoder.{name}.weight"], stride=stride, padding=padding)

    x = F.relu(norm(conv(spectrogram[:, None], "conv1", 2, 3), "bn1"))
    x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
    for stage in range(1, 5):
        for block in range(2):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            shortcut = x
            if f"audio_encoder.{name}.downsample.0.weight" in state:
                shortcut = norm(conv(x, f"{name}.downsample.0", stride, 0), f"{name}.downsample.1")
            x = F.relu(norm(conv(x, f"{name}.conv1", stride), f"{name}.bn1"))
            x = F.relu(norm(conv(x, f"{name}.conv2"), f"{name}.bn2") + shortcut)
    x = F.adaptive_avg_pool2d(x, 1).flatten(1)
    for layer in (0, 3):
        name = f"audio_transform.sequential.{layer}"
        x = F.linear(F.relu(x) if layer else x, state[f"{name}.weight"], state[f"{name}.bias"])
    return x


@torch.no_grad()
def test_the_forward_pass_equals_the_written_one() -> None:
    network, waves = _tiny(), _waves(3, 24_000, 4)
    made = network(waves)
    assert made.shape == (3, network.dim) == (3, 9)
    torch.testing.assert_close(made, _written_forward(network.state_dict(), wav2clip_spectrogram(waves)))
    # Unlike in the public code, the others of a batch and the loudness do not count.
    torch.testing.assert_close(network(waves[1:2]), made[1:2], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network(waves * 3), made, atol=1e-2, rtol=1e-2)


def test_the_real_names_and_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = Wav2Clip()
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    # A ResNet-18 of one channel without classifier, and 2 x 512 x 513.
    assert sum(p.numel() for p in network.parameters()) == 11_689_512 - 513_000 - 2 * 64 * 49 + 2 * 512 * 513
    assert shapes["audio_encoder.conv1.weight"] == (64, 1, 7, 7)
    assert shapes["audio_encoder.layer4.0.downsample.0.weight"] == (512, 256, 1, 1)
    assert shapes["audio_encoder.layer4.1.conv2.weight"] == (512, 512, 3, 3)
    assert "audio_encoder.layer1.0.downsample.0.weight" not in shapes
    assert [name for name in shapes if name.startswith("audio_transform")] == [
        f"audio_transform.sequential.{layer}.{what}" for layer in (0, 3) for what in ("weight", "bias")
    ]
