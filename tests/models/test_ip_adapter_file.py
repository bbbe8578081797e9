"""Files of other programs: IP-Adapters in both containers, and the semantic adapter of FoleyCrafter."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from audio_agent_zoo import cli
from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.models.ip_adapter_file import read_ip_adapter
from audio_agent_zoo.models.visual_adapter import VisualAdapter
from tests import tiny
from tests.tiny_video import (
    HUBERT_DIM,
    attached,
    condition,
    denoised,
    quantizer,
    text_attentions,
    unet_inputs,
    write_video_published,
)

Groups = dict[str, dict[str, Tensor]]
CLIP_DIM = 10


def foleycrafter() -> Groups:
    """The layout of semantic_adapter.bin for the tiny UNet: four tokens from one vector, keys and values per layer."""
    torch.manual_seed(5)
    width = tiny.WIDTH
    layers = text_attentions(tiny.unet())
    attention = {
        f"{2 * i + 1}.to_{kind}_ip.weight": torch.randn(layer.to_k.weight.shape[0], width)
        for i, layer in enumerate(layers)
        for kind in "kv"
    }
    projection = {
        "proj.weight": torch.randn(4 * width, CLIP_DIM),
        "proj.bias": torch.randn(4 * width),
        "norm.weight": torch.rand(width) + 0.5,
        "norm.bias": torch.randn(width),
    }
    return {"image_proj": projection, "ip_adapter": attention}


def _grouped(flat: dict[str, Tensor]) -> Groups:
    groups: Groups = {"image_proj": {}, "ip_adapter": {}}
    for name, value in flat.items():
        group, rest = name.split(".", 1)
        groups[group][rest] = value
    return groups


def test_a_torch_file_reads_like_safetensors(tmp_path: Path) -> None:
    _, adapter = attached()
    adapter.save_ip_adapter(tmp_path / "a.safetensors")
    flat = load_file(tmp_path / "a.safetensors")
    torch.save(_grouped(flat), tmp_path / "a.bin")
    assert set(read_ip_adapter(tmp_path / "a.bin")) == set(flat)
    again = VisualAdapter.from_ip_adapter(tmp_path / "a.bin", centroid_rms=adapter.config.centroid_rms)
    for name, value in adapter.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


class _Harm:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("harmed"),))


def test_a_pickle_that_would_run_code_is_refused_unrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.bin").write_bytes(pickle.dumps({"image_proj": _Harm(), "ip_adapter": {}}, protocol=2))
    with pytest.raises(WeightsError, match="can't be read"):
        read_ip_adapter("a.bin")
    assert not Path("harmed").exists()


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], {"image_proj": {}, "ip_adapter": torch.zeros(2)}])
def test_other_torch_files_are_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.bin")
    with pytest.raises(WeightsError, match="is no IP-Adapter"):
        read_ip_adapter(tmp_path / "a.bin")
    with pytest.raises(WeightsError, match="can't be read"):
        read_ip_adapter(tmp_path / "none.bin")


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_foleycrafters_keys_values_and_scale_are_taken(tmp_path: Path, suffix: str) -> None:
    groups, path = foleycrafter(), tmp_path / f"semantic_adapter{suffix}"
    flat = {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}
    torch.save(groups, path) if suffix == ".bin" else save_file(flat, path)
    centroids = quantizer().centroids
    adapter = VisualAdapter.from_image_prompt(path, centroids).eval()
    for i, (key, value) in enumerate(zip(adapter.to_k_ip, adapter.to_v_ip, strict=True)):
        assert torch.equal(key.weight, groups["ip_adapter"][f"{2 * i + 1}.to_k_ip.weight"])
        assert torch.equal(value.weight, groups["ip_adapter"][f"{2 * i + 1}.to_v_ip.weight"])
    assert adapter.config.centroid_dim == HUBERT_DIM
    assert adapter.timed(centroids[None]).shape == (1, *centroids.shape)
    # What its keys and values read has the scale that they were trained on.
    tokens = adapter.condition(centroids[None], scale=1.0, window_s=0.4, aspect=2.0).states
    norm = groups["image_proj"]
    plain = (tokens - norm["norm.bias"]) / norm["norm.weight"]
    torch.testing.assert_close(plain.var(-1, unbiased=False), torch.ones(1, len(centroids)), atol=1e-2, rtol=0)
    base = tiny.unet()
    adapter.attach(base)
    latents, text, seen = unet_inputs()
    with torch.no_grad():
        with_it = denoised(base, latents, text, condition(adapter, seen))
        without = tiny.unet()(latents, 400, text).sample
    assert torch.isfinite(with_it).all() and (with_it - without).abs().max() > 1e-2


def _drop_norm(groups: Groups) -> None:
    del groups["image_proj"]["norm.bias"]


def _drop_value(groups: Groups) -> None:
    del groups["ip_adapter"]["3.to_v_ip.weight"]


def _drop_layers(groups: Groups) -> None:
    groups["ip_adapter"].clear()


def _add_one(groups: Groups) -> None:
    groups["image_proj"]["latents"] = torch.zeros(3)


def _other_width(groups: Groups) -> None:
    groups["ip_adapter"]["1.to_k_ip.weight"] = torch.zeros(8, 3)


@pytest.mark.parametrize("change", [_drop_norm, _drop_value, _drop_layers, _add_one, _other_width])
def test_a_damaged_semantic_adapter_is_refused(tmp_path: Path, change: Callable[[Groups], None]) -> None:
    groups = foleycrafter()
    change(groups)
    torch.save(groups, tmp_path / "a.bin")
    with pytest.raises(WeightsError, match=r"plain layout|does not fit itself"):
        VisualAdapter.from_image_prompt(tmp_path / "a.bin", quantizer().centroids)


def test_layouts_are_not_confused(tmp_path: Path) -> None:
    _, adapter = attached()
    adapter.save_ip_adapter(tmp_path / "full.safetensors")
    with pytest.raises(WeightsError, match="plain layout"):
        VisualAdapter.from_image_prompt(tmp_path / "full.safetensors", quantizer().centroids)
    torch.save(foleycrafter(), tmp_path / "plain.bin")
    with pytest.raises(WeightsError, match="full layout"):
        VisualAdapter.from_ip_adapter(tmp_path / "plain.bin")


def test_out_by_one_command_and_back_by_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_video_published(tmp_path / "published")
    own = VisualAdapter.from_pretrained(folder, subfolder="visual_adapter")
    file, back = tmp_path / "adapter.safetensors", tmp_path / "back"
    assert cli.main(["export-adapter", str(folder), str(file)]) == 0
    assert "time_encoding added" in capsys.readouterr().out
    words = ["import-adapter", str(file), "--weights", str(folder), "--out"]
    assert cli.main([*words, str(back)]) == 0
    again = VisualAdapter.from_pretrained(back)
    assert again.config.positions == own.config.positions and again.config.centroid_rms == own.config.centroid_rms
    for name, value in own.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert cli.main([*words, str(back)]) == cli.USAGE
    assert "not empty" in capsys.readouterr().err


def test_the_bundled_adapter_is_exported_with_a_word_on_its_sense_of_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export-adapter", "foley-mini", str(tmp_path / "a.safetensors")]) == 0
    assert "what, not when" in capsys.readouterr().out
    assert VisualAdapter.from_ip_adapter(tmp_path / "a.safetensors").config.centroid_dim > 0
    assert cli.main(["export-adapter", "foley-mini", str(tmp_path / "a.bin")]) == cli.USAGE


def test_foleycrafters_file_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(foleycrafter(), tmp_path / "semantic_adapter.bin")
    folder = write_video_published(tmp_path / "published")
    words = ["import-adapter", str(tmp_path / "semantic_adapter.bin"), "--weights", str(folder), "--out"]
    assert cli.main([*words, str(tmp_path / "start" / "visual_adapter")]) == 0
    assert "train stage 2 from here" in capsys.readouterr().out
    # Where `--model.start` of stage 2 finds it.
    VisualAdapter.from_pretrained(tmp_path / "start", subfolder="visual_adapter").attach(tiny.unet())


def test_an_adapter_of_other_centroids_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    VisualAdapter(HUBERT_DIM + 3, tiny.WIDTH, [4, 4]).save_ip_adapter(tmp_path / "a.safetensors")
    folder = write_video_published(tmp_path / "published")
    words = ["import-adapter", str(tmp_path / "a.safetensors"), "--weights", str(folder)]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == cli.RENDER
    assert f"{HUBERT_DIM + 3} values" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
