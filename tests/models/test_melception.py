"""Melception: its front end against librosa, its forward pass against plain functions over the named weights."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audio_agent_zoo.models.melception import CLIP_SAMPLES, Melception, melception_log_mel


def _waves(n: int, samples: int, seed: int = 0, scale: float = 0.1) -> Tensor:
    return torch.randn(n, samples, generator=torch.Generator().manual_seed(seed)) * scale


def test_the_front_end_equals_librosa() -> None:
    import librosa

    # From silence through the slope to what is cut off above.
    wave = _waves(1, 150_000, 1, 1.0) * torch.logspace(-7, 1, 150_000)
    y = np.zeros(CLIP_SAMPLES)
    y[:150_000] = wave[0].double().numpy()
    spectrum = np.abs(librosa.stft(y, n_fft=1024, hop_length=256, pad_mode="reflect"))
    mel = librosa.filters.mel(sr=22_050, n_fft=1024, fmin=125, fmax=7600, n_mels=80, dtype=np.float64) @ spectrum
    expected = np.clip((20 * np.log10(np.maximum(mel, 1e-5)) - 20 + 100) / 100, 0, 1)[:, :860][:, 6:854]
    assert expected.min() == 0
    assert expected.max() == 1
    got = melception_log_mel(wave)
    assert got.shape == (1, 80, 848)
    np.testing.assert_allclose(got[0].numpy(), expected, atol=1e-5)


def test_only_the_first_ten_seconds_are_heard() -> None:
    wave = _waves(1, CLIP_SAMPLES + 4000, 2)
    assert torch.equal(melception_log_mel(wave), melception_log_mel(wave[:, :CLIP_SAMPLES]))
    assert not melception_log_mel(torch.zeros(1, 1)).any()
    for wrong in (torch.zeros(22_050), torch.zeros(2, 0)):
        with pytest.raises(ValueError, match="mono clips"):
            melception_log_mel(wrong)
    with pytest.raises(ValueError, match="part is 3"):
        Melception(part=3)


def _tiny() -> Melception:
    torch.manual_seed(3)
    network = Melception(n_classes=5, part=16)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn_like(module.running_mean)
            module.running_var = torch.rand_like(module.running_var) + 0.5
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, std=0.3)
    network.band_means = torch.rand(80, 1)
    network.band_spreads = torch.rand(80, 1) + 0.1
    return network.eval()


def _written_forward(state: dict[str, Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    """Embedding and logits: the paper's figures 5, 6, 7 and 10 over the named weights."""

    def conv(x: Tensor, name: str, halve: bool = False, keep: bool = True) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        padding = [(side - 1) // 2 if keep and not halve else 0 for side in weight.shape[2:]]
        x = F.conv2d(x, weight, stride=2 if halve else 1, padding=padding)
        stats = [state[f"{name}.bn.{what}"] for what in ("running_mean", "running_var", "weight", "bias")]
        return F.relu(F.batch_norm(x, *stats, eps=1e-3))

    def chain(x: Tensor, block: str, names: str, halve: bool = False) -> Tensor:
        parts = names.split()
        for part in parts:
            x = conv(x, f"{block}.{part}", halve and part == parts[-1])
        return x

    def pooled(x: Tensor, block: str) -> Tensor:
        return conv(F.avg_pool2d(x, 3, 1, 1), f"{block}.branch_pool")

    x = conv(images, "Conv2d_1a_3x3", halve=True)
    x = conv(conv(x, "Conv2d_2a_3x3", keep=False), "Conv2d_2b_3x3")
    x = conv(conv(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3", keep=False)
    three = "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3"
    for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        five = chain(x, block, "branch5x5_1 branch5x5_2")
        x = torch.cat([chain(x, block, "branch1x1"), five, chain(x, block, three), pooled(x, block)], 1)
    b = "Mixed_6a"
    x = torch.cat([chain(x, b, "branch3x3", True), chain(x, b, three, True), F.max_pool2d(x, 3, 2)], 1)
    for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        once = chain(x, block, "branch7x7_1 branch7x7_2 branch7x7_3")
        twice = chain(x, block, " ".join(f"branch7x7dbl_{i}" for i in range(1, 6)))
        x = torch.cat([chain(x, block, "branch1x1"), once, twice, pooled(x, block)], 1)
    d = "Mixed_7a"
    seven = chain(x, d, " ".join(f"branch7x7x3_{i}" for i in range(1, 5)), True)
    x = torch.cat([chain(x, d, "branch3x3_1 branch3x3_2", True), seven, F.max_pool2d(x, 3, 2)], 1)
    for block in ("Mixed_7b", "Mixed_7c"):
        once, twice = chain(x, block, "branch3x3_1"), chain(x, block, "branch3x3dbl_1 branch3x3dbl_2")
        crossed = [chain(once, block, f"branch3x3_2{side}") for side in "ab"]
        crossed += [chain(twice, block, f"branch3x3dbl_3{side}") for side in "ab"]
        x = torch.cat([chain(x, block, "branch1x1"), *crossed, pooled(x, block)], 1)
    embedding = x.flatten(2).mean(2)
    return embedding, embedding @ state["fc.weight"].T + state["fc.bias"]


@torch.no_grad()
def test_the_forward_pass_equals_the_written_one() -> None:
    network, waves = _tiny(), _waves(2, 60_000, 4) * torch.tensor([[1.0], [0.01]])
    images = (melception_log_mel(waves) - network.band_means) / network.band_spreads
    embedding, logits = _written_forward(network.state_dict(), images[:, None])
    assert embedding.shape == (2, network.dim) == (2, 128)
    assert float((embedding[0] - embedding[1]).abs().max()) > 0.02
    torch.testing.assert_close(network.features(waves), embedding)
    torch.testing.assert_close(network(waves), logits)


def test_the_real_names_and_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = Melception()
    # torchvision's network of 1000 classes without the side classifier, on one channel and 309 classes.
    assert sum(p.numel() for p in network.parameters()) == 23_834_568 - 2 * 32 * 9 - 691 * 2049
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert len(shapes) == 94 * 6 + 2
    assert shapes["Conv2d_1a_3x3.conv.weight"] == (32, 1, 3, 3)
    assert shapes["Mixed_6c.branch7x7dbl_3.conv.weight"] == (160, 160, 1, 7)
    assert shapes["Mixed_7c.branch3x3dbl_3b.bn.running_var"] == (384,)
    assert shapes["fc.weight"] == (309, 2048)
