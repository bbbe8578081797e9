"""One vector per frame: against CLIP called by hand, of any shape of picture, in any batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTextConfig, CLIPVisionModel

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.models.frame_encoder import FrameEncoder, Pooling
from tests import tiny_video

SIZE = 16
POOLINGS: list[Pooling] = ["pooler_output", "image_embeds", "patch_mean"]


def smooth(n: int, height: int, width: int) -> NDArray[np.uint8]:
    """Frames whose colours change slowly over the picture, each at its own place and none at the same."""
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(2 * rows + k + c) + np.cos(3 * columns - k * c) for k in range(n) for c in range(3)]
    return (np.stack(waves).reshape(n, 3, height, width).transpose(0, 2, 3, 1) * 60 + 127).astype(np.uint8)


def by_hand(frames: NDArray[np.uint8]) -> Tensor:
    """Normalised images of frames that have the tower's size already."""
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    std = np.array([0.26862954, 0.26130258, 0.27577711])
    return torch.from_numpy(((frames / 255 - mean) / std).transpose(0, 3, 1, 2)).float()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_each_pooling_is_what_clip_gives(pooling: Pooling) -> None:
    clip = tiny_video.clip_vision(SIZE)
    frames = smooth(5, SIZE, SIZE)
    with torch.no_grad():
        out = clip(by_hand(frames), output_hidden_states=True)
        states = clip.vision_model(by_hand(frames))
    expected = {
        "pooler_output": states.pooler_output,
        "image_embeds": out.image_embeds,
        "patch_mean": states.last_hidden_state[:, 1:].mean(1),
    }
    encoder = FrameEncoder(clip, pooling)
    vectors = encoder.encode(frames)
    assert vectors.shape == (5, encoder.dim) == (5, 10 if pooling == "image_embeds" else tiny_video.FRAME_DIM)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors, expected[pooling], atol=1e-5, rtol=1e-5)
    apart = [(expected[other] - vectors).abs().max() for other in POOLINGS if expected[other].shape == vectors.shape]
    assert sorted(value > 1e-2 for value in apart)[1:] == [True] * (len(apart) - 1), "poolings differ"


@pytest.mark.parametrize(
    ("height", "width"), [(16, 16), (32, 32), (20, 45), (64, 36), (99, 17), (17, 16), (9, 12), (5, 1), (1, 300), (2, 2)]
)
def test_pictures_of_any_shape_fill_the_tower(height: int, width: int) -> None:
    encoder = FrameEncoder(tiny_video.clip_vision(SIZE))
    pixels = encoder.pixels(torch.from_numpy(smooth(2, height, width)))
    assert pixels.shape == (2, 3, SIZE, SIZE) and torch.isfinite(pixels).all()
    fitted = encoder.fitted_size(width, height)
    assert min(fitted) == SIZE and max(fitted) <= 16 * SIZE
    if max(height, width) <= 16 * min(height, width):
        assert fitted[0] / fitted[1] == pytest.approx(height / width, rel=1 / SIZE)
    assert (fitted[0] >= fitted[1]) == (height >= width)


@pytest.mark.parametrize(("height", "width"), [(64, 36), (36, 64), (50, 50), (37, 21)])
def test_pixels_are_those_of_the_public_processor(height: int, width: int) -> None:
    frames = smooth(2, height, width)
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
    expected = torch.from_numpy(np.stack(processor(list(frames), return_tensors="np")["pixel_values"]))
    # Theirs rounds to whole grey levels on the way, and a longer side down.
    assert (FrameEncoder(tiny_video.clip_vision(SIZE)).pixels(torch.from_numpy(frames)) - expected).abs().max() < 0.06


def test_the_centre_is_seen_and_the_margin_is_not() -> None:
    encoder = FrameEncoder(tiny_video.clip_vision(SIZE))
    for shape, margin in (((SIZE, 48), np.s_[:, :, :15]), ((48, SIZE), np.s_[:, 33:])):
        frames = smooth(3, *shape)
        other = frames.copy()
        other[margin] = 255
        assert torch.equal(encoder.encode(other), encoder.encode(frames))
        centre = frames.copy()
        centre[:, shape[0] // 2, shape[1] // 2] = 255
        assert not torch.equal(encoder.encode(centre), encoder.encode(frames))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_frame_does_not_depend_on_its_batch(pooling: Pooling) -> None:
    encoder = FrameEncoder(tiny_video.clip_vision(SIZE), pooling)
    frames = smooth(150, 18, 24)
    together = encoder.encode(frames)
    assert together.shape[0] == 150
    alone = torch.cat([encoder.encode(frames[i : i + 1]) for i in range(0, 150, 7)])
    torch.testing.assert_close(together[::7], alone, atol=1e-5, rtol=1e-5)
    assert (together[1:] - together[:-1]).abs().amax(1).min() > 1e-4, "every frame has its own"


def test_large_frames_are_resized_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = FrameEncoder(tiny_video.clip_vision(SIZE))
    sizes: list[int] = []
    pixels = encoder.pixels

    def counting(frames: Tensor) -> Tensor:
        sizes.append(len(frames))
        return pixels(frames)

    monkeypatch.setattr(encoder, "pixels", counting)
    encoder.encode(np.zeros((2, 2880, 4096, 3), np.uint8))
    assert sizes == [1, 1]


def test_arrays_and_tensors_of_any_memory_layout() -> None:
    encoder = FrameEncoder(tiny_video.clip_vision(SIZE))
    frames = smooth(4, 20, 30)
    expected = encoder.encode(frames)
    assert torch.equal(encoder.encode(torch.from_numpy(frames)), expected)
    backwards = np.ascontiguousarray(frames[..., ::-1])[..., ::-1]  # as OpenCV's channels are turned round
    frozen = frames.copy()
    frozen.setflags(write=False)
    for same in (backwards, frozen, np.asfortranarray(frames)):
        assert torch.equal(encoder.encode(same), expected)
    assert torch.equal(encoder.encode(frames[::-1]), expected.flip(0))


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((0, 8, 8, 3), np.uint8),
        np.zeros((2, 0, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((2, 8, 8, 4), np.uint8),
        np.zeros((2, 8, 8, 3), np.float32),
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
    ],
)
def test_what_are_no_frames_is_refused(frames: Any) -> None:
    with pytest.raises(ValueError, match=r"give \(frames, height, width, 3\) uint8"):
        FrameEncoder(tiny_video.clip_vision(SIZE)).encode(frames)


def test_it_is_frozen_and_computes_in_half_precision() -> None:
    clip = tiny_video.clip_vision(SIZE)
    clip.train()
    encoder = FrameEncoder(clip)
    assert not any(p.requires_grad for p in encoder.parameters()) and not encoder.clip.training
    frames = smooth(3, SIZE, SIZE)
    full = encoder.encode(frames)
    encoder.clip.to(torch.bfloat16)
    coarse = encoder.encode(frames)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, full, atol=0.1, rtol=0.1)
    with pytest.raises(ValueError, match="pooling is 'mean'; choose one of pooler_output, image_embeds, patch_mean"):
        FrameEncoder(clip, "mean")  # type: ignore[arg-type]


def whole_clip() -> CLIPModel:
    torch.manual_seed(0)
    text = CLIPTextConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)
    vision = tiny_video.clip_vision(SIZE).config
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=10)).eval()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_it_comes_back_from_a_folder_also_from_a_whole_clip(tmp_path: Path, pooling: Pooling) -> None:
    frames = smooth(3, 20, 30)
    own = FrameEncoder(tiny_video.clip_vision(SIZE), pooling)
    own.save_pretrained(tmp_path / "own")
    assert torch.equal(
        FrameEncoder.from_pretrained(tmp_path / "own", pooling=pooling).encode(frames), own.encode(frames)
    )
    whole = whole_clip()
    whole.save_pretrained(tmp_path / "whole")
    again = FrameEncoder.from_pretrained(tmp_path / "whole", pooling=pooling)
    with torch.no_grad():
        pixels = again.pixels(torch.from_numpy(frames))
        states = whole.vision_model(pixels)
        expected = {
            "pooler_output": states.pooler_output,
            "image_embeds": whole.visual_projection(states.pooler_output),
            "patch_mean": states.last_hidden_state[:, 1:].mean(1),
        }
    torch.testing.assert_close(again.encode(frames), expected[pooling], atol=1e-5, rtol=1e-5)


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    whole = whole_clip()
    bare = CLIPVisionModel(whole.config.vision_config)
    bare.save_pretrained(tmp_path / "bare")
    frames = smooth(2, 20, 20)
    first, second = (FrameEncoder.from_pretrained(tmp_path / "bare").encode(frames) for _ in range(2))
    assert torch.equal(first, second)
    with pytest.raises(WeightsError, match="lacks 1 weights of a CLIP vision tower, such as visual_projection"):
        FrameEncoder.from_pretrained(tmp_path / "bare", pooling="image_embeds")
    state = {k: v for k, v in tiny_video.clip_vision().state_dict().items() if "layers.0.mlp" not in k}
    tiny_video.clip_vision().save_pretrained(tmp_path / "holes", state_dict=state)
    with pytest.raises(WeightsError, match="lacks 4 weights"):
        FrameEncoder.from_pretrained(tmp_path / "holes")
