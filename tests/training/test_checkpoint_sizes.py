"""What checkpoints and the published folder take at the public dimensions; weights are random, sizes are not."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import Gemma2ForCausalLM

from audio_agent_zoo.hub import halve_weights
from audio_agent_zoo.models.semantic_token_lm import LoraSettings, SemanticTokenLM
from audio_agent_zoo.models.temporal_connector import TemporalConnector
from audio_agent_zoo.models.visual_adapter import VisualAdapter
from tests.public_dimensions import gemma_config, gemma_vocabulary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CHECKPOINT_MB, PUBLISHED_MB = 700, 400


def _filled(module: torch.nn.Module) -> None:
    """Numbers for the trained weights of a module on the meta device, none for the frozen ones."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None and parameter.requires_grad and parameter.is_meta:
                part._parameters[name] = torch.nn.Parameter(torch.randn(parameter.shape) * 0.02)


def test_an_adapter_checkpoint_and_the_published_folder(tmp_path: Path) -> None:
    words = gemma_vocabulary()
    with torch.device("meta"):
        lm = SemanticTokenLM(Gemma2ForCausalLM(gemma_config()).to(torch.bfloat16), words, LoraSettings(rank=64))
        adapter = VisualAdapter()
    _filled(lm)
    _filled(adapter)
    connector = TemporalConnector()

    trained = [*lm.trained().values(), *connector.parameters()]
    n_trained = sum(parameter.numel() for parameter in trained)
    state = {str(i): parameter.detach().to(torch.bfloat16) for i, parameter in enumerate(trained)}
    average = {"shadow_params": [value.clone() for value in state.values()]}
    torch.save({"state_dict": state, "average": average}, tmp_path / "adapter.ckpt")
    checkpoint_mb = (tmp_path / "adapter.ckpt").stat().st_size / 1e6

    hub = tmp_path / "hub"
    lm.save_pretrained(hub / "semantic_token_lm", "google/gemma-2-2b-it")
    connector.save_pretrained(hub / "temporal_connector")
    adapter.save_pretrained(hub / "visual_adapter")
    for path in list(hub.rglob("*.safetensors")):
        halve_weights(path, path)
        with safe_open(path, "pt") as file:
            assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118
    sizes = {path.relative_to(hub).as_posix(): path.stat().st_size / 1e6 for path in hub.rglob("*") if path.is_file()}
    print(f"\nstage 1 trains {n_trained / 1e6:.2f} M; weights and average in bfloat16 {checkpoint_mb:.1f} MB")
    print(f"checkpoint to go on from, with AdamW's moments in float32: {16 * n_trained / 1e6:.0f} MB")
    print("\n".join(f"{size:8.1f} MB  {name}" for name, size in sorted(sizes.items())))
    print(f"published folder {sum(sizes.values()):.1f} MB")
    assert n_trained == 83_066_880 + 504 * 2304 + sum(p.numel() for p in connector.parameters())
    assert checkpoint_mb < CHECKPOINT_MB
    assert sum(sizes.values()) < PUBLISHED_MB
