"""Text conditions against the public order of operations, prompt by prompt, in float64."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import ClapTextConfig, ClapTextModelWithProjection

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.models.text_conditioning import ConditionAdapter, TextConditioning, TextEncoder
from tests import tiny

PROMPTS = ["a dog barks in the rain", "rain", "far thunder, then 2 dogs bark!"]


def one_by_one(part: TextEncoder, prompt: str) -> Tensor:
    """Public order: encode without padding, zero-pad the hidden states, then the adapter; in float64."""
    assert part.adapter is not None
    tokens = part.tokenizer([prompt], truncation=True, max_length=part.max_length, return_tensors="pt").input_ids
    hidden = part.encoder.double()(tokens).last_hidden_state
    part.encoder.float()
    hidden = torch.cat([hidden, hidden.new_zeros(1, part.max_length - tokens.shape[1], hidden.shape[2])], dim=1)
    adapter = part.adapter
    mapped = hidden @ adapter.proj.weight.double().T + adapter.proj.bias.double()
    centred = mapped - mapped.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return scaled * adapter.norm.weight.double() + adapter.norm.bias.double()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> TextConditioning:
    """CLIP and T5 with their adapters, read from the public files."""
    return TextConditioning.from_pretrained(tiny.write_adapted(tmp_path_factory.mktemp("b"), 2))


@torch.no_grad()
def test_a_batch_equals_prompts_one_by_one(two: TextConditioning) -> None:
    expected = torch.cat([torch.cat([one_by_one(part, prompt) for part in two.parts], dim=1) for prompt in PROMPTS])
    made = two(PROMPTS)
    assert made.shape == (3, 64, tiny.WIDTH)
    assert (made - expected).abs().max() < 2e-5


@torch.no_grad()
def test_padding_becomes_the_adapters_bias_not_zero(two: TextConditioning) -> None:
    part = two.parts[0]
    assert part.adapter is not None
    last = two(["rain"])[0, part.max_length - 1]
    assert torch.allclose(last, part.adapter(torch.zeros(tiny.WIDTH)), atol=1e-6)
    assert last.abs().max() > 0.1


def test_empty_condition_is_zero_after_the_adapters(two: TextConditioning) -> None:
    with torch.no_grad():
        assert torch.equal(two.unconditional(two(PROMPTS)), torch.zeros(3, 64, tiny.WIDTH))
        assert two([""]).abs().max() > 0.1


@torch.no_grad()
def test_long_prompts_are_cut_to_what_the_encoder_takes(two: TextConditioning) -> None:
    assert two(["thunder and rain, " * 200]).shape == (1, 64, tiny.WIDTH)
    clip = tiny.clip_tokenizer()
    wide = TextConditioning([TextEncoder(clip, tiny.clip_encoder(clip), 100, tiny.adapter(tiny.WIDTH))])
    assert wide(["thunder and rain, " * 200]).shape == (1, 100, tiny.WIDTH)


@torch.no_grad()
def test_stock_layout_is_the_padded_output_of_clip(tmp_path: Path) -> None:
    stock = TextConditioning.from_pretrained(tiny.write_stock(tmp_path))
    part = stock.parts[0]
    rows = part.tokenizer(PROMPTS, padding="max_length", max_length=77, truncation=True).input_ids
    expected = tiny.clip_encoder(tiny.clip_tokenizer())(torch.tensor(rows)).last_hidden_state
    made = stock([*PROMPTS, "thunder " * 100])
    assert made.shape == (4, 77, tiny.WIDTH)
    assert torch.allclose(made[:3], expected, atol=1e-6)
    empty = stock.unconditional(made)
    assert torch.allclose(empty, stock([""]).expand(4, -1, -1), atol=1e-6)
    assert empty.abs().max() > 0.1


def test_gradients_reach_adapter_and_encoder() -> None:
    conditioning = tiny.conditioning(2).train()
    conditioning(PROMPTS).square().sum().backward()
    missing = [name for name, p in conditioning.named_parameters() if p.grad is None]
    assert not missing
    frozen = tiny.conditioning()
    frozen.encoders.requires_grad_(False)
    frozen(PROMPTS).square().sum().backward()
    assert all(p.grad is not None for p in frozen.adapters.parameters())


@pytest.mark.parametrize("n_encoders", [1, 2])
@torch.no_grad()
def test_saved_and_loaded_again_is_the_same(tmp_path: Path, n_encoders: int) -> None:
    public = TextConditioning.from_pretrained(tiny.write_adapted(tmp_path / "b", n_encoders))
    public.save_pretrained(tmp_path / "again")
    again = TextConditioning.from_pretrained(tmp_path / "again")
    assert torch.allclose(again(PROMPTS), public(PROMPTS), atol=1e-6)
    assert not list((tmp_path / "again").rglob("*.bin")) + list((tmp_path / "again").rglob("*.pt"))
    before, after = (json.loads((tmp_path / x / "condition_config.json").read_text()) for x in ("b", "again"))
    assert before == after


@torch.no_grad()
def test_clap_encoder(tmp_path: Path) -> None:
    tiny.write_adapted(tmp_path)
    tokenizer = tiny.clip_tokenizer()
    config = ClapTextConfig(
        vocab_size=len(tokenizer) + 2,
        hidden_size=12,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=34,
        projection_dim=8,
        pad_token_id=1,
    )
    place = tmp_path / "text_encoder_0"
    for path in place.glob("*.bin"):
        path.unlink()
    ClapTextModelWithProjection(config).eval().save_pretrained(place)
    torch.save(tiny.adapter(12).state_dict(), tmp_path / "condition_adapter_0" / "condition_adapter.pt")
    clap = TextConditioning.from_pretrained(tmp_path)
    assert isinstance(clap.parts[0].encoder, ClapTextModelWithProjection)
    assert clap(["rain " * 50]).shape == (1, 32, tiny.WIDTH)


def test_adapter_file_of_ours_and_the_public_one_agree(tmp_path: Path) -> None:
    adapter = tiny.adapter(12)
    torch.save(adapter.state_dict(), tmp_path / "condition_adapter.pt")
    adapter.save_pretrained(tmp_path / "ours")
    x = torch.randn(2, 3, 12)
    for folder in (tmp_path, tmp_path / "ours"):
        assert torch.equal(ConditionAdapter.from_pretrained(folder)(x), adapter(x))
    assert torch.allclose(adapter(x), F.layer_norm(adapter.proj(x), (tiny.WIDTH,), None, adapter.norm.bias))


def _spoil(folder: Path, what: str) -> None:
    if what == "missing folder":
        (folder / "text_encoder_0").rename(folder / "elsewhere")
    elif what == "unknown encoder":
        path = folder / "text_encoder_0" / "config.json"
        tiny.write_json(path, {**json.loads(path.read_text()), "architectures": ["BertModel"]})
    elif what == "adapter of another model":
        torch.save(tiny.adapter(5).state_dict(), folder / "condition_adapter_0" / "condition_adapter.pt")
    elif what == "missing weight":
        path = folder / "text_encoder_0" / "pytorch_model.bin"
        state = torch.load(path, weights_only=True)
        state.pop(next(key for key in state if "layers.1.mlp.fc1.weight" in key))
        torch.save(state, path)
    elif what == "no json":
        (folder / "condition_config.json").write_text("[{")
    else:
        entries = json.loads((folder / "condition_config.json").read_text())
        entries[0].pop("condition_max_length")
        tiny.write_json(folder / "condition_config.json", entries)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing folder", "text_encoder_0 is missing"),
        ("unknown encoder", "BertModel; known text encoders are CLIP, T5 and CLAP"),
        ("adapter of another model", "parts of two models"),
        ("missing weight", "lacks 1 weights, .*fc1"),
        ("no json", "can't be loaded"),
        ("missing key", "condition_max_length"),
    ],
)
def test_damaged_folders_are_refused(tmp_path: Path, what: str, message: str) -> None:
    _spoil(tiny.write_adapted(tmp_path), what)
    with pytest.raises(WeightsError, match=message):
        TextConditioning.from_pretrained(tmp_path)


def test_a_list_of_no_layout_is_refused() -> None:
    clip = tiny.clip_tokenizer()
    plain = TextEncoder(clip, tiny.clip_encoder(clip), 77)
    for wrong in ([], [plain, plain]):
        with pytest.raises(ValueError, match="fit no layout"):
            TextConditioning(wrong)
