"""Synchformer: front ends against written formulas, the forward pass against plain functions over named weights."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from audio_agent_zoo.models.synchformer import SEGMENTS, Synchformer
from audio_agent_zoo.models.synchformer_segments import sound_segments, video_segments

HEADS, JUDGE_HEADS = 2, 4


def _wave(samples: int, seed: int = 0) -> Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed)) * 0.1


def _frames(n: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, height, width, 3), dtype=torch.uint8, generator=generator)


# --- Front ends -----------------------------------------------------------------------------------------------------


def test_sound_segments_equal_the_written_formula() -> None:
    wave = _wave(2 * 10_240 + 99, 1)

    def mel(hz: float) -> float:
        return 2595.0 * math.log10(1.0 + hz / 700.0)

    edges = [700.0 * (10 ** (at / 2595.0) - 1.0) for at in np.linspace(0.0, mel(8000.0), 130)]
    bank = np.zeros((128, 513))
    for band in range(128):
        low, middle, high = edges[band : band + 3]
        for k in range(513):
            hz = k * 16_000 / 1024
            bank[band, k] = max(0.0, min((hz - low) / (middle - low), (high - hz) / (high - middle)))
    window = np.zeros(1024)
    window[312:712] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    got = sound_segments(wave)
    assert got.shape == (3, 128, 66)
    for segment in range(3):
        padded = np.pad(wave[segment * 5120 : segment * 5120 + 10_240].double().numpy(), 512, mode="reflect")
        frames = np.stack([padded[at : at + 1024] * window for at in range(0, 10_241, 160)])
        log_mel = np.log(bank @ (np.abs(np.fft.rfft(frames)).T ** 2) + 1e-6)
        expected = np.zeros((128, 66))
        expected[:, :65] = log_mel
        np.testing.assert_allclose(got[segment].numpy(), (expected + 4.2677393) / (2 * 4.5689974), atol=1e-4)


def test_video_segments_are_cut_scaled_and_normalised() -> None:
    square = _frames(33, 224, 224, 2)
    got = video_segments(square)
    assert got.shape == (3, 3, 16, 224, 224)
    for segment, frame, row, column, colour in ((0, 0, 0, 0, 0), (1, 15, 223, 7, 1), (2, 3, 100, 223, 2)):
        value = float(square[8 * segment + frame, row, column, colour]) / 255
        assert float(got[segment, colour, frame, row, column]) == pytest.approx((value - 0.5) / 0.5, abs=1e-6)
    # The middle of what is wider than high, and of a scaled video.
    wide = torch.zeros(16, 224, 300, 3, dtype=torch.uint8)
    wide[:, :, 38:262] = 255
    assert torch.equal(video_segments(wide), torch.ones(1, 3, 16, 224, 224))
    ramp = torch.arange(0, 256, 2, dtype=torch.uint8)[:, None, None].expand(16, 128, 256, 3)
    scaled = video_segments(ramp)[0, 0, 0]
    assert scaled.shape == (224, 224)
    assert torch.equal(scaled[:, :1].expand(-1, 224), scaled)
    torch.testing.assert_close(((scaled + 1) * 127.5).round(), (scaled + 1) * 127.5, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        (scaled[20:200, 0] + 1) * 127.5, (torch.arange(20, 200) + 0.5) / 1.75 * 2 - 1, atol=0.6, rtol=0
    )


@pytest.mark.parametrize(
    "frames", [_frames(15, 9, 9), _frames(16, 9, 9).float(), _frames(16, 9, 9)[..., :2], _frames(16, 9, 9)[0]]
)
def test_what_is_no_video_is_refused(frames: Tensor) -> None:
    with pytest.raises(ValueError, match="at least 16 frames"):
        video_segments(frames)


def test_what_is_no_sound_is_refused() -> None:
    for wrong in (torch.zeros(10_239), torch.zeros(1, 20_000)):
        with pytest.raises(ValueError, match="at least 10240 samples"):
            sound_segments(wrong)


# --- The network ----------------------------------------------------------------------------------------------------


def _tiny() -> Synchformer:
    torch.manual_seed(3)
    network = Synchformer(dim=16, depth=2, heads=HEADS, judge_depth=1, judge_heads=JUDGE_HEADS, n_offsets=5)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


class _Written:
    """The network over its named weights, one group of tokens after the other."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], eps)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
        width = query.shape[1] // heads
        parts = [slice(head * width, (head + 1) * width) for head in range(heads)]
        return torch.cat([torch.softmax(query[:, p] @ key[:, p].T / width**0.5, 1) @ value[:, p] for p in parts], 1)

    def divided(self, x: Tensor, name: str, groups: list[list[int]]) -> Tensor:
        query, key, value = self.linear(x, f"{name}.qkv").chunk(3, dim=1)
        out = torch.empty_like(x)
        out[:1] = self.mix(query[:1], key, value, HEADS)
        for group in groups:
            out[group] = self.mix(query[group], key[[0, *group]], value[[0, *group]], HEADS)
        return self.linear(out, f"{name}.proj")

    def gathered(self, x: Tensor, name: str) -> Tensor:
        x = torch.cat([self.state[f"{name}.cls_token"][0], x])
        weight, bias = self.state[f"{name}.self_attn.in_proj_weight"], self.state[f"{name}.self_attn.in_proj_bias"]
        query, key, value = (self.norm(x, f"{name}.norm1", 1e-6) @ weight.T + bias).chunk(3, dim=1)
        x = x + self.linear(self.mix(query, key, value, HEADS), f"{name}.self_attn.out_proj")
        hidden = F.gelu(self.linear(self.norm(x, f"{name}.norm2", 1e-6), f"{name}.linear1"))
        return (x + self.linear(hidden, f"{name}.linear2"))[0]

    def seen(self, segment: Tensor) -> Tensor:
        v = "vfeat_extractor"
        blocks = segment.unfold(1, 2, 2).unfold(2, 16, 16).unfold(3, 16, 16)  # (3, 8, 14, 14, 2, 16, 16)
        weight = self.state[f"{v}.patch_embed_3d.proj.weight"]
        patches = torch.einsum("cthwxyz,dcxyz->thwd", blocks, weight) + self.state[f"{v}.patch_embed_3d.proj.bias"]
        patches = patches.reshape(8, 196, -1) + self.state[f"{v}.pos_embed"][:, 1:]
        patches = patches + self.state[f"{v}.temp_embed"][0][:, None]
        first = self.state[f"{v}.cls_token"][0] + self.state[f"{v}.pos_embed"][0, :1]
        x = torch.cat([first, patches.flatten(0, 1)])
        over_time = [[1 + 196 * frame + place for frame in range(8)] for place in range(196)]
        over_space = [[1 + 196 * frame + place for place in range(196)] for frame in range(8)]
        for block in range(2):
            name = f"{v}.blocks.{block}"
            x = x + self.divided(self.norm(x, f"{name}.norm3", 1e-6), f"{name}.timeattn", over_time)
            x = x + self.divided(self.norm(x, f"{name}.norm1", 1e-6), f"{name}.attn", over_space)
            hidden = F.gelu(self.linear(self.norm(x, f"{name}.norm2", 1e-6), f"{name}.mlp.fc1"))
            x = x + self.linear(hidden, f"{name}.mlp.fc2")
        x = self.norm(x[1:], f"{v}.norm", 1e-6).reshape(8, 196, -1)
        return torch.stack([self.gathered(moment, f"{v}.spatial_attn_agg") for moment in x])

    def heard(self, segment: Tensor) -> Tensor:
        a = "afeat_extractor.ast"
        squares = segment.unfold(0, 16, 10).unfold(1, 16, 10)  # (12, 6, 16, 16)
        weight = self.state[f"{a}.embeddings.patch_embeddings.projection.weight"][:, 0]
        x = torch.einsum("ftxy,dxy->ftd", squares, weight).flatten(0, 1)
        x = x + self.state[f"{a}.embeddings.patch_embeddings.projection.bias"]
        first = [self.state[f"{a}.embeddings.{name}"][0] for name in ("cls_token", "distillation_token")]
        x = torch.cat([*first, x]) + self.state[f"{a}.embeddings.position_embeddings"][0]
        for layer in range(2):
            name = f"{a}.encoder.layer.{layer}"
            normalised = self.norm(x, f"{name}.layernorm_before", 1e-12)
            query, key, value = (
                self.linear(normalised, f"{name}.attention.attention.{part}") for part in ("query", "key", "value")
            )
            x = x + self.linear(self.mix(query, key, value, HEADS), f"{name}.attention.output.dense")
            hidden = F.gelu(self.linear(self.norm(x, f"{name}.layernorm_after", 1e-12), f"{name}.intermediate.dense"))
            x = x + self.linear(hidden, f"{name}.output.dense")
        x = self.norm(x, f"{a}.layernorm", 1e-12)[2:].reshape(12, 6, -1)
        return torch.stack([self.gathered(x[:, moment], "afeat_extractor.freq_attn_agg") for moment in range(6)])

    def judged(self, seen: Tensor, heard: Tensor) -> Tensor:
        t = "transformer"
        x = torch.cat([
            self.state[f"{t}.OFF_tok"][0],
            self.norm(self.linear(seen.flatten(0, 1), "vproj"), f"{t}.vis_in_lnorm", 1e-5),
            self.state[f"{t}.MOD_tok"][0],
            self.norm(self.linear(heard.flatten(0, 1), "aproj"), f"{t}.aud_in_lnorm", 1e-5),
        ])  # fmt: skip
        x = x + self.state[f"{t}.pos_emb_cfg.pos_emb"][0]
        name = f"{t}.blocks.0"
        normalised = self.norm(x, f"{name}.ln1", 1e-5)
        query, key, value = (self.linear(normalised, f"{name}.attn.{part}") for part in ("query", "key", "value"))
        x = x + self.linear(self.mix(query, key, value, JUDGE_HEADS), f"{name}.attn.proj")
        x = x + self.linear(F.gelu(self.linear(self.norm(x, f"{name}.ln2", 1e-5), f"{name}.mlp.0")), f"{name}.mlp.2")
        return self.linear(self.norm(x, f"{t}.ln_f", 1e-5)[0], f"{t}.off_head")


@torch.no_grad()
def test_each_half_and_the_judge_equal_the_written_ones() -> None:
    network = _tiny()
    written = _Written(dict(network.state_dict()))
    pictures, sounds = video_segments(_frames(24, 224, 224, 4)), sound_segments(_wave(15_360, 5))
    seen, heard = network.vfeat_extractor(pictures), network.afeat_extractor(sounds)
    assert (seen.shape, heard.shape) == ((2, 8, 16), (2, 6, 16))
    torch.testing.assert_close(seen, torch.stack([written.seen(one) for one in pictures]), atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(heard, torch.stack([written.heard(one) for one in sounds]), atol=2e-4, rtol=1e-3)
    both = [torch.randn(3, SEGMENTS, n, 16, generator=torch.Generator().manual_seed(n)) for n in (8, 6)]
    expected = torch.stack([written.judged(*pair) for pair in zip(*both, strict=True)])
    torch.testing.assert_close(network(*both), expected, atol=2e-4, rtol=1e-3)


@torch.no_grad()
def test_the_first_and_the_last_stretch_of_a_clip_are_judged() -> None:
    network = _tiny()
    wave, frames = _wave(87_100, 6), _frames(140, 30, 40, 7)
    rows = network.rows(wave, frames)
    assert rows.shape == (2, 5)
    # 16 segments of sound, of video as many; the last 14 begin at the third.
    first, last = (network.rows(wave[at * 5120 :][:76_800], frames[at * 8 :][:120]) for at in (0, 2))
    torch.testing.assert_close(rows, torch.stack([first[0], last[0]]), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(first[0], first[1])
    for samples, n in ((76_799, 120), (76_800, 119)):
        with pytest.raises(ValueError, match=r"at least 4\.8 s \(76800 samples at 16 kHz, 120 frames"):
            network.rows(wave[:samples], frames[:n])


def test_the_real_names_and_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in Synchformer().state_dict().items()}
    for name, shape in {
        "vfeat_extractor.pos_embed": (1, 197, 768),
        "vfeat_extractor.temp_embed": (1, 8, 768),
        "vfeat_extractor.patch_embed_3d.proj.weight": (768, 3, 2, 16, 16),
        "vfeat_extractor.blocks.11.timeattn.qkv.weight": (2304, 768),
        "vfeat_extractor.spatial_attn_agg.self_attn.in_proj_bias": (2304,),
        "vfeat_extractor.spatial_attn_agg.cls_token": (1, 1, 768),
        "afeat_extractor.ast.embeddings.position_embeddings": (1, 74, 768),
        "afeat_extractor.ast.embeddings.patch_embeddings.projection.weight": (768, 1, 16, 16),
        "afeat_extractor.ast.encoder.layer.11.attention.attention.query.bias": (768,),
        "afeat_extractor.ast.encoder.layer.11.attention.output.dense.weight": (768, 768),
        "afeat_extractor.ast.encoder.layer.11.intermediate.dense.weight": (3072, 768),
        "afeat_extractor.ast.encoder.layer.11.output.dense.weight": (768, 3072),
        "afeat_extractor.freq_attn_agg.linear2.weight": (768, 3072),
        "transformer.pos_emb_cfg.pos_emb": (1, 198, 768),
        "transformer.blocks.2.mlp.2.weight": (768, 3072),
        "transformer.off_head.weight": (21, 768),
    }.items():
        assert shapes[name] == shape
    tops = {"vfeat_extractor", "afeat_extractor", "vproj", "aproj", "transformer"}
    assert {name.split(".")[0] for name in shapes} == tops
