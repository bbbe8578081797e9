"""PaSST: its front end against a written formula, its forward pass against plain functions over the named weights."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from audio_agent_zoo.models.passt import CLIP_SAMPLES, Passt, passt_log_mel


def _waves(n: int, samples: int, seed: int = 0, scale: float = 0.1) -> Tensor:
    return torch.randn(n, samples, generator=torch.Generator().manual_seed(seed)) * scale


def _kaldi_bank() -> np.ndarray:
    """128 triangles straight in mel from 0 to 15 kHz, over 513 bins."""

    def mel(hz: float) -> float:
        return 1127.0 * math.log(1.0 + hz / 700.0)

    step = mel(15_000.0) / 129
    bank = np.zeros((128, 513))
    for k in range(513):
        at = mel(k * 32_000 / 1024)
        for band in range(128):
            low, middle, high = band * step, (band + 1) * step, (band + 2) * step
            bank[band, k] = max(0.0, min((at - low) / (middle - low), (high - at) / (high - middle)))
    return bank


def test_the_front_end_equals_the_written_formula() -> None:
    wave = _waves(1, 50_000, 1)
    y = np.zeros(CLIP_SAMPLES)
    y[:50_000] = wave[0].double().numpy()
    y = np.array(y[1:] - 0.97 * y[:-1])
    padded = np.pad(y, 512, mode="reflect")
    window = np.zeros(1024)
    window[112:912] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 799)
    frames = np.stack([padded[at : at + 1024] * window for at in range(0, len(y) + 1, 320)])
    power = np.abs(np.fft.rfft(frames)) ** 2
    expected = (np.log(_kaldi_bank() @ power.T + 1e-5) + 4.5) / 5
    got = passt_log_mel(wave)
    assert got.shape == (1, 128, 1000)
    np.testing.assert_allclose(got[0].numpy(), expected, atol=2e-4)
    # What lies past the sound and its pre-emphasis is the logarithm's offset.
    assert got[0, :, -1].numpy() == pytest.approx((math.log(1e-5) + 4.5) / 5)


def test_only_the_first_ten_seconds_are_heard() -> None:
    wave = _waves(1, CLIP_SAMPLES + 4000, 2)
    assert torch.equal(passt_log_mel(wave), passt_log_mel(wave[:, :CLIP_SAMPLES]))
    short = _waves(2, 1, 3)
    assert torch.equal(passt_log_mel(short), passt_log_mel(F.pad(short, (0, 999))))
    for wrong in (torch.zeros(32_000), torch.zeros(2, 0), torch.zeros(1, 1, 5)):
        with pytest.raises(ValueError, match="mono clips"):
            passt_log_mel(wrong)


def _tiny() -> Passt:
    torch.manual_seed(4)
    network = Passt(dim=32, depth=2, heads=2, n_classes=7)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


def _written_forward(state: dict[str, Tensor], log_mel: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Embedding and logits, token by token and head by head."""

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x: Tensor, name: str, eps: float = 1e-6) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)

    weight, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
    rows = []
    for f in range(12):
        for t in range(99):
            square = log_mel[10 * f : 10 * f + 16, 10 * t : 10 * t + 16]
            vector = (weight[:, 0] * square).sum((1, 2)) + bias
            rows.append(vector + state["freq_new_pos_embed"][0, :, f, 0] + state["time_new_pos_embed"][0, :, 0, t])
    x = torch.stack([
        state["cls_token"][0, 0] + state["new_pos_embed"][0, 0],
        state["dist_token"][0, 0] + state["new_pos_embed"][0, 1],
        *rows,
    ])  # fmt: skip
    width = x.shape[1]
    for layer in range(2):
        name = f"blocks.{layer}"
        qkv = linear(norm(x, f"{name}.norm1"), f"{name}.attn.qkv")
        mixed = []
        for head in range(heads):
            q, k, v = (
                qkv[:, part * width + head * width // heads : part * width + (head + 1) * width // heads]
                for part in range(3)
            )
            mixed.append(torch.softmax(q @ k.T / math.sqrt(width // heads), dim=1) @ v)
        x = x + linear(torch.cat(mixed, dim=1), f"{name}.attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")), f"{name}.mlp.fc2")
    x = norm(x, "norm")
    embedding = (x[0] + x[1]) / 2
    return embedding, linear(norm(embedding, "head.0", 1e-5), "head.1")


@torch.no_grad()
def test_the_forward_pass_equals_the_written_one() -> None:
    network, waves = _tiny(), _waves(2, 40_000, 5)
    state = dict(network.state_dict())
    written = [_written_forward(state, log_mel, 2) for log_mel in passt_log_mel(waves)]
    torch.testing.assert_close(network.features(waves), torch.stack([one[0] for one in written]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(network(waves), torch.stack([one[1] for one in written]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(network(waves[1:]), network(waves)[1:], atol=1e-5, rtol=1e-5)
    assert (network.dim, network.n_classes) == (32, 7)


def test_the_real_names_and_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in Passt().state_dict().items()}
    outside = {name: shape for name, shape in shapes.items() if not name.startswith("blocks.")}
    assert outside == {
        "cls_token": (1, 1, 768),
        "dist_token": (1, 1, 768),
        "new_pos_embed": (1, 2, 768),
        "freq_new_pos_embed": (1, 768, 12, 1),
        "time_new_pos_embed": (1, 768, 1, 99),
        "patch_embed.proj.weight": (768, 1, 16, 16),
        "patch_embed.proj.bias": (768,),
        "norm.weight": (768,),
        "norm.bias": (768,),
        "head.0.weight": (768,),
        "head.0.bias": (768,),
        "head.1.weight": (527, 768),
        "head.1.bias": (527,),
        "head_dist.weight": (527, 768),
        "head_dist.bias": (527,),
    }
    assert {name: shape for name, shape in shapes.items() if name.startswith("blocks.11.")} == {
        "blocks.11.norm1.weight": (768,),
        "blocks.11.norm1.bias": (768,),
        "blocks.11.norm2.weight": (768,),
        "blocks.11.norm2.bias": (768,),
        "blocks.11.attn.qkv.weight": (2304, 768),
        "blocks.11.attn.qkv.bias": (2304,),
        "blocks.11.attn.proj.weight": (768, 768),
        "blocks.11.attn.proj.bias": (768,),
        "blocks.11.mlp.fc1.weight": (3072, 768),
        "blocks.11.mlp.fc1.bias": (3072,),
        "blocks.11.mlp.fc2.weight": (768, 3072),
        "blocks.11.mlp.fc2.bias": (768,),
    }
    assert sum(name.startswith("blocks.") for name in shapes) == 144
