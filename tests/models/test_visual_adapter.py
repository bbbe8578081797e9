"""The visual adapter as a set of weights: new, in a folder, in the public layout, in stock diffusers, refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from safetensors.torch import load_file, save_file
from torch import Tensor

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.models.visual_adapter import Positions, VisualAdapter, time_encoding
from tests import tiny
from tests.tiny_video import attached, condition, denoised, text_attentions, unet_inputs

POSITIONS: list[Positions] = ["sinusoidal", "relative", "none"]


def test_the_unet_is_saved_without_the_adapter(tmp_path: Path) -> None:
    unet, _ = attached()
    expected = {name: value.shape for name, value in tiny.unet().state_dict().items()}
    assert {name: value.shape for name, value in unet.state_dict().items()} == expected
    unet.save_pretrained(tmp_path)
    assert set(load_file(tmp_path / "diffusion_pytorch_model.safetensors")) == set(expected)
    again = UNet2DConditionModel.from_pretrained(tmp_path)
    latents, text, _ = unet_inputs()
    with torch.no_grad():
        assert torch.equal(again(latents, 400, text).sample, tiny.unet()(latents, 400, text).sample)


def test_a_new_adapter_starts_from_the_bases_own_attention() -> None:
    unet = tiny.unet()
    centroids = torch.randn(30, 7) * 3
    adapter = VisualAdapter.for_unet(unet, centroids, positions="none")
    for layer, key, value in zip(text_attentions(unet), adapter.to_k_ip, adapter.to_v_ip, strict=True):
        assert torch.equal(key.weight, layer.to_k.weight) and key.weight is not layer.to_k.weight
        assert torch.equal(value.weight, layer.to_v.weight)
    assert adapter.config.centroid_dim == 7 and adapter.config.cross_attention_dim == tiny.WIDTH
    assert adapter.timed(centroids[None]).square().mean().sqrt() == pytest.approx(1.0, abs=1e-4)


def test_the_encoding_of_time_is_what_it_says() -> None:
    encoding = time_encoding(2000, 32)
    assert encoding.shape == (2000, 32) and encoding.abs().max() <= 1
    assert time_encoding(3, 5).shape == (3, 5)
    torch.testing.assert_close(time_encoding(40, 32), encoding[:40])  # an instant has one code in any window
    seconds = (torch.arange(2000).double() + 0.5) / 50
    # The slowest pair turns once in 40 s, the fastest once in two tokens.
    torch.testing.assert_close(encoding[:, 15].double(), (2 * torch.pi * seconds / 40).sin(), atol=1e-4, rtol=0)
    torch.testing.assert_close(encoding[:, 31].double(), (2 * torch.pi * seconds / 40).cos(), atol=1e-4, rtol=0)
    torch.testing.assert_close(encoding[0:-2, 0], encoding[2:, 0], atol=2e-3, rtol=0)
    apart = torch.cdist(encoding, encoding) + 9 * torch.eye(2000)
    assert apart.min() > 0.05, "no two instants look alike"


# The public layout


@pytest.mark.parametrize("positions", ["sinusoidal", "none"])
@pytest.mark.parametrize("scale", [0.5, 1.0])
@pytest.mark.parametrize("way", ["weights", "pipeline"])
def test_stock_diffusers_reads_the_file_and_gives_the_same(
    tmp_path: Path, positions: Positions, scale: float, way: str
) -> None:
    unet, adapter = attached(positions)
    latents, text, centroids = unet_inputs()
    path = tmp_path / "adapter.safetensors"
    adapter.save_ip_adapter(path)
    stock = tiny.unet()
    if way == "weights":
        flat = load_file(path)
        groups: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
        for name, value in flat.items():
            group, rest = name.split(".", 1)
            groups[group][rest] = value
        stock._load_ip_adapter_weights([groups])
        for processor in stock.attn_processors.values():
            if hasattr(processor, "scale"):
                processor.scale = [scale]
    else:
        parts = tiny.parts()
        encoder = parts.conditioning.parts[0]
        pipeline = StableDiffusionPipeline(
            parts.vae, encoder.encoder, encoder.tokenizer, stock, tiny.PUBLIC_SCHEDULER, None, None, None, False
        )
        pipeline.load_ip_adapter(
            str(tmp_path), subfolder="", weight_name=path.name, image_encoder_folder=None, local_files_only=True
        )
        pipeline.set_ip_adapter_scale(scale)
    timed = adapter.timed(centroids)
    with torch.no_grad():
        ours = denoised(unet, latents, text, condition(adapter, centroids, scale))
        theirs = stock(latents, 400, text, added_cond_kwargs={"image_embeds": [timed[:, None]]}).sample
        base = tiny.unet()(latents, 400, text).sample
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
        assert (ours - base).abs().max() > 1e-2
        # A dropped video is zeros there too.
        dropped = torch.tensor([True, True])
        ours = denoised(unet, latents, text, condition(adapter, centroids, scale, dropped=dropped))
        theirs = stock(
            latents, 400, text, added_cond_kwargs={"image_embeds": [torch.zeros_like(timed)[:, None]]}
        ).sample
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("positions", ["sinusoidal", "relative"])
def test_a_file_of_the_public_layout_comes_back(tmp_path: Path, positions: Positions) -> None:
    _, adapter = attached(positions)
    adapter.save_ip_adapter(tmp_path / "a.safetensors")
    names = set(load_file(tmp_path / "a.safetensors"))
    count = len(adapter.to_k_ip)
    assert {f"ip_adapter.{2 * i + 1}.to_{x}_ip.weight" for i in range(count) for x in "kv"} < names
    assert {name for name in names if name.startswith("image_proj")} == {
        f"image_proj.proj.{i}.{kind}" for i in (0, 2, 3) for kind in ("weight", "bias")
    }
    again = VisualAdapter.from_ip_adapter(
        tmp_path / "a.safetensors", positions=positions, centroid_rms=adapter.config.centroid_rms
    )
    assert dict(again.config) == dict(adapter.config) | {"layer_dims": list(adapter.config.layer_dims)}
    for name, value in adapter.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_layers_are_counted_and_not_spelt(tmp_path: Path) -> None:
    """Ten and more layers: 11 comes after 9, which a sort of names gets wrong."""
    torch.manual_seed(0)
    dims = [4, 6, 8, 10, 12, 14, 16]
    adapter = VisualAdapter(5, 6, dims)
    adapter.save_ip_adapter(tmp_path / "a.safetensors")
    again = VisualAdapter.from_ip_adapter(tmp_path / "a.safetensors")
    assert list(again.config.layer_dims) == dims
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(adapter.to_v_ip, again.to_v_ip, strict=True))


def _drop_projection(state: dict[str, Tensor]) -> None:
    for name in [name for name in state if name.startswith("image_proj")]:
        del state[name]


def _drop_one(state: dict[str, Tensor]) -> None:
    del state["ip_adapter.3.to_v_ip.weight"]


def _drop_layers(state: dict[str, Tensor]) -> None:
    for name in [name for name in state if name.startswith("ip_adapter")]:
        del state[name]


def _add_one(state: dict[str, Tensor]) -> None:
    state["image_proj.latents"] = torch.zeros(3)


@pytest.mark.parametrize("change", [_drop_projection, _drop_one, _drop_layers, _add_one])
def test_other_layouts_are_refused(tmp_path: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    path = tmp_path / "a.safetensors"
    attached()[1].save_ip_adapter(path)
    state = load_file(path)
    change(state)
    save_file(state, path)
    with pytest.raises(WeightsError, match="IP-Adapter of the full layout"):
        VisualAdapter.from_ip_adapter(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(WeightsError, match="can't be read"):
        VisualAdapter.from_ip_adapter(path)
    with pytest.raises(WeightsError, match="can't be read"):
        VisualAdapter.from_ip_adapter(tmp_path / "missing.safetensors")


@pytest.mark.parametrize("positions", POSITIONS)
def test_it_comes_back_from_a_folder(tmp_path: Path, positions: Positions) -> None:
    unet, adapter = attached(positions)
    latents, text, centroids = unet_inputs()
    adapter.save_pretrained(tmp_path)
    with torch.no_grad():
        before = denoised(unet, latents, text, condition(adapter, centroids))
        again = VisualAdapter.from_pretrained(tmp_path).eval()
        other = tiny.unet()
        again.attach(other)
        assert torch.equal(denoised(other, latents, text, condition(again, centroids)), before)
    # Checkpoints and published folders hold these names; another one would lose what was trained.
    count = len(adapter.to_k_ip)
    expected = {f"to_{x}_ip.{i}.weight" for i in range(count) for x in "kv"} | {
        f"image_proj.{layer}.{kind}" for layer in ("ff.net.0.proj", "ff.net.2", "norm") for kind in ("weight", "bias")
    }
    assert set(load_file(tmp_path / "diffusion_pytorch_model.safetensors")) == expected


def test_an_adapter_of_another_base_is_refused_with_both_dimensions() -> None:
    unet = tiny.unet()
    dims = [int(layer.to_k.weight.shape[0]) for layer in text_attentions(unet)]
    for wrong in (VisualAdapter(16, tiny.WIDTH, [320] * 4), VisualAdapter(16, 768, dims)):
        with pytest.raises(WeightsError) as caught:
            wrong.attach(unet)
        message = str(caught.value)
        assert str(list(wrong.config.layer_dims)) in message and str(dims) in message
        assert f"over {wrong.config.cross_attention_dim}" in message and f"over {tiny.WIDTH}" in message
        assert all(type(one) is AttnProcessor2_0 for one in unet.attn_processors.values()), "left as it was"


def test_arguments_that_make_no_adapter_are_refused() -> None:
    with pytest.raises(ValueError, match="positions is 'rotary'; choose one of sinusoidal, relative, none"):
        VisualAdapter(4, 4, [4], "rotary")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"centroid_rms is 0\.0"):
        VisualAdapter.for_unet(tiny.unet(), torch.zeros(4, 8))
    textless = UNet2DConditionModel(
        block_out_channels=(4, 4),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        mid_block_type=None,
        norm_num_groups=2,
    )
    with pytest.raises(ValueError, match="no cross-attention"):
        VisualAdapter.for_unet(textless, torch.ones(4, 8))
