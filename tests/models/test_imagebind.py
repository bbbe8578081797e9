"""ImageBind: front ends against written formulas, the forward pass against plain functions over named weights."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from audio_agent_zoo.models.imagebind import AUDIO_HEADS, VISION_HEADS, ImageBind, sound_clips, video_clips

MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def _waves(n: int, samples: int, seed: int = 0) -> Tensor:
    return torch.randn(n, samples, generator=torch.Generator().manual_seed(seed)) * 0.1


def _frames(n: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, height, width, 3), dtype=torch.uint8, generator=generator)


def _written_mel(clip: np.ndarray) -> np.ndarray:
    """Kaldi's filterbank, frame by frame and band by band."""

    def mel(hz: float) -> float:
        return 1127.0 * math.log(1.0 + hz / 700.0)

    step = (mel(8000.0) - mel(20.0)) / 129
    bank = np.zeros((128, 257))
    for k in range(257):
        at = mel(k * 16_000 / 512)
        for band in range(128):
            low, middle, high = (mel(20.0) + (band + edge) * step for edge in range(3))
            bank[band, k] = max(0.0, min((at - low) / (middle - low), (high - at) / (high - middle)))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)
    clip = clip - clip.mean()
    columns = []
    for start in range(0, len(clip) - 399, 160):
        frame = clip[start : start + 400] - clip[start : start + 400].mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        columns.append(np.log(np.maximum(bank @ np.abs(np.fft.rfft(frame * window, 512)) ** 2, 2.0**-23)))
    image = np.zeros((128, 204))
    image[:, : len(columns)] = np.array(columns).T
    return (image + 4.268) / 9.138


@pytest.mark.parametrize(("samples", "starts"), [(80_001, (0, 24_000, 48_001)), (32_000, (0, 0, 0)), (5000, (0, 0, 0))])
def test_sound_clips_equal_the_written_formula(samples: int, starts: tuple[int, ...]) -> None:
    # A constant offset and a soft end, where the floor counts.
    waves = _waves(2, samples, 1) * torch.logspace(0, -5, samples) + 0.3
    got = sound_clips(waves)
    assert got.shape == (2, 3, 128, 204)
    for wave, clips in zip(waves.double().numpy(), got, strict=True):
        for start, clip in zip(starts, clips, strict=True):
            np.testing.assert_allclose(clip.numpy(), _written_mel(wave[start : start + 32_000]), atol=2e-3)


def test_video_clips_are_pairs_in_three_crops() -> None:
    frames = _frames(3, 224, 301, 2)
    got = video_clips(frames)
    assert got.shape == (6, 3, 2, 224, 224)
    for clip, (crop, pair) in zip(got, ((crop, pair) for crop in range(3) for pair in range(2)), strict=True):
        left = (0, 39, 77)[crop]
        for colour in range(3):
            pixels = frames[pair : pair + 2, :, left : left + 224, colour].double() / 255
            expected = (pixels - MEAN[colour]) / SPREAD[colour]
            torch.testing.assert_close(clip[colour].double(), expected, atol=1e-5, rtol=0)
    tall = video_clips(frames.transpose(1, 2))
    torch.testing.assert_close(tall, got.transpose(3, 4))
    # A single picture stands still.
    single = video_clips(frames[:1])
    assert single.shape == (3, 3, 2, 224, 224)
    assert torch.equal(single[:, :, 0], single[:, :, 1])
    assert video_clips(_frames(2, 50, 80, 3)).shape == (3, 3, 2, 224, 224)


def test_what_is_neither_sound_nor_video_is_refused() -> None:
    for wrong in (torch.zeros(16_000), torch.zeros(1, 399)):
        with pytest.raises(ValueError, match="at least 400"):
            sound_clips(wrong)
    for wrong in (_frames(0, 9, 9), _frames(2, 9, 9).float(), _frames(2, 9, 9)[..., :2], _frames(2, 0, 9)):
        with pytest.raises(ValueError, match="at least 1 frames"):
            video_clips(wrong)


def _tiny() -> ImageBind:
    torch.manual_seed(4)
    network = ImageBind(dim=10, vision_dim=32, vision_depth=2, audio_dim=24, audio_depth=2)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def _written(state: dict[str, Tensor], clip: Tensor, sense: str) -> Tensor:
    """Embedding of one clip, head by head."""
    before, trunk, head = (f"modality_{part}.{sense}" for part in ("preprocessors", "trunks", "heads"))

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x: Tensor, name: str, eps: float = 1e-6) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)

    if sense == "vision":
        blocks = clip.unfold(2, 14, 14).unfold(3, 14, 14)  # (3, 2, 16, 16, 14, 14)
        x = torch.einsum("cthwxy,dctxy->hwd", blocks, state[f"{before}.rgbt_stem.proj.1.weight"]).flatten(0, 1)
    else:
        squares = clip.unfold(0, 16, 10).unfold(1, 16, 10)  # (12, 19, 16, 16)
        x = torch.einsum("ftxy,dxy->ftd", squares, state[f"{before}.rgbt_stem.proj.weight"][:, 0]).flatten(0, 1)
        x = norm(x, f"{before}.rgbt_stem.norm_layer", 1e-5)
    x = torch.cat([state[f"{before}.cls_token"][0], x]) + state[f"{before}.pos_embedding_helper.pos_embed"][0]
    if sense == "vision":
        x = norm(x, f"{trunk}.pre_transformer_layer.0")
    heads = VISION_HEADS if sense == "vision" else AUDIO_HEADS
    width = x.shape[1] // heads
    for block in range(2):
        name = f"{trunk}.blocks.{block}"
        projected = norm(x, f"{name}.norm_1") @ state[f"{name}.attn.in_proj_weight"].T
        query, key, value = (projected + state[f"{name}.attn.in_proj_bias"]).chunk(3, dim=1)
        if sense == "audio":
            key = torch.cat([key, state[f"{name}.attn.bias_k"][0]])
            value = torch.cat([value, state[f"{name}.attn.bias_v"][0]])
        parts = [slice(at * width, (at + 1) * width) for at in range(heads)]
        mixed = [torch.softmax(query[:, p] @ key[:, p].T / width**0.5, 1) @ value[:, p] for p in parts]
        x = x + linear(torch.cat(mixed, 1), f"{name}.attn.out_proj")
        x = x + linear(F.gelu(linear(norm(x, f"{name}.norm_2"), f"{name}.mlp.fc1")), f"{name}.mlp.fc2")
    embedding = norm(x, f"{head}.0")[0] @ state[f"{head}.2.weight"].T
    return embedding / embedding.norm()


@torch.no_grad()
def test_both_senses_equal_the_written_ones() -> None:
    network = _tiny()
    state = dict(network.state_dict())
    waves, frames = _waves(2, 70_000, 5), _frames(3, 60, 100, 6)
    expected = torch.stack([
        torch.stack([_written(state, clip, "audio") for clip in clips]).mean(dim=0) for clips in sound_clips(waves)
    ])  # fmt: skip
    torch.testing.assert_close(network.hear(waves), expected, atol=1e-4, rtol=1e-3)
    expected = torch.stack([_written(state, clip, "vision") for clip in video_clips(frames)]).mean(dim=0)
    torch.testing.assert_close(network.see(frames), expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(network.hear(waves[1:]), network.hear(waves)[1:], atol=1e-5, rtol=1e-4)


def test_the_real_names_and_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = ImageBind()
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    outside = {name: shape for name, shape in shapes.items() if ".blocks." not in name}
    assert outside == {
        "modality_preprocessors.vision.cls_token": (1, 1, 1280),
        "modality_preprocessors.vision.rgbt_stem.proj.1.weight": (1280, 3, 2, 14, 14),
        "modality_preprocessors.vision.pos_embedding_helper.pos_embed": (1, 257, 1280),
        "modality_preprocessors.audio.cls_token": (1, 1, 768),
        "modality_preprocessors.audio.rgbt_stem.proj.weight": (768, 1, 16, 16),
        "modality_preprocessors.audio.rgbt_stem.norm_layer.weight": (768,),
        "modality_preprocessors.audio.rgbt_stem.norm_layer.bias": (768,),
        "modality_preprocessors.audio.pos_embedding_helper.pos_embed": (1, 229, 768),
        "modality_trunks.vision.pre_transformer_layer.0.weight": (1280,),
        "modality_trunks.vision.pre_transformer_layer.0.bias": (1280,),
        "modality_heads.vision.0.weight": (1280,),
        "modality_heads.vision.0.bias": (1280,),
        "modality_heads.vision.2.weight": (1024, 1280),
        "modality_heads.audio.0.weight": (768,),
        "modality_heads.audio.0.bias": (768,),
        "modality_heads.audio.2.weight": (1024, 768),
    }
    block = "modality_trunks.audio.blocks.11."
    assert {name.removeprefix(block): shape for name, shape in shapes.items() if name.startswith(block)} == {
        "attn.in_proj_weight": (2304, 768),
        "attn.in_proj_bias": (2304,),
        "attn.bias_k": (1, 1, 768),
        "attn.bias_v": (1, 1, 768),
        "attn.out_proj.weight": (768, 768),
        "attn.out_proj.bias": (768,),
        "norm_1.weight": (768,),
        "norm_1.bias": (768,),
        "norm_2.weight": (768,),
        "norm_2.bias": (768,),
        "mlp.fc1.weight": (3072, 768),
        "mlp.fc1.bias": (3072,),
        "mlp.fc2.weight": (768, 3072),
        "mlp.fc2.bias": (768,),
    }
    assert "modality_trunks.vision.blocks.31.attn.in_proj_weight" in shapes
    assert "modality_trunks.vision.blocks.0.attn.bias_k" not in shapes
