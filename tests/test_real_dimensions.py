"""The public dimensions: Gemma-2-2B, CLIP ViT-L/14, HuBERT-base with 500 centroids, the SD-1.5 UNet; weights random."""

from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler
from transformers import Gemma2ForCausalLM

from audio_agent_zoo.models.frame_encoder import FrameEncoder
from audio_agent_zoo.models.semantic_token_lm import LoraSettings, SemanticTokenLM
from audio_agent_zoo.models.temporal_connector import TemporalConnector
from audio_agent_zoo.models.visual_adapter import VisualAdapter
from audio_agent_zoo.pipelines.memory_plan import TrainingMemory
from tests.public_dimensions import clip_vision, gemma_config, gemma_vocabulary, sd15_unet, sd15_vae

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_step_of_stage_one() -> None:
    words = gemma_vocabulary()
    before = resident_bytes()
    with torch.device("meta"):
        shell = SemanticTokenLM(Gemma2ForCausalLM(gemma_config()).to(torch.bfloat16), words, LoraSettings())
    planned = TrainingMemory.of(shell.parameters())
    torch.set_default_dtype(torch.bfloat16)
    try:
        base = Gemma2ForCausalLM(gemma_config())
    finally:
        torch.set_default_dtype(torch.float32)
    lm = SemanticTokenLM(base, words, LoraSettings())
    lm.train()
    connector = TemporalConnector()
    trained = [p for p in [*lm.parameters(), *connector.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    loss, _ = lm.loss(["hammering on metal"], connector(torch.randn(1, 5, 1024), 11), torch.randint(500, (1, 11)))
    loss.backward()
    optimizer.step()
    taken = resident_bytes() - before
    assert torch.isfinite(loss)
    assert lm.rows.grad is not None and connector.projection.weight.grad is not None
    assert base.get_input_embeddings().weight.grad is None
    # The average of the weights is in the plan and not in this step.
    expected = planned.n_bytes - sum(p.numel() * 4 for p in lm.parameters() if p.requires_grad)
    print(f"\nplanned {expected / 1e9:.2f} GB, taken {taken / 1e9:.2f} GB")
    assert taken == pytest.approx(expected, rel=0.15)


def test_a_step_of_stage_two() -> None:
    unet = sd15_unet().requires_grad_(False)
    adapter = VisualAdapter.for_unet(unet, torch.randn(500, 768))
    assert sum(p.numel() for p in [*adapter.to_k_ip.parameters(), *adapter.to_v_ip.parameters()]) == 19_169_280
    adapter.attach(unet)
    unet.enable_gradient_checkpointing()
    unet.train()
    noise = DDPMScheduler()
    latents = torch.randn(1, 4, 32, 32)
    noisy = noise.add_noise(latents, torch.randn_like(latents), torch.tensor([500]))
    visual = adapter.condition(torch.randn(1, 128, 768), scale=0.5, window_s=2.56, aspect=1.0)
    predicted = unet(noisy, 500, torch.randn(1, 77, 768), cross_attention_kwargs={"visual": visual}).sample
    loss = (predicted - latents).square().mean()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in adapter.to_v_ip.parameters())
    assert all(p.grad is None for p in unet.parameters())


def test_frames_and_latents_have_the_public_shapes() -> None:
    encoder = FrameEncoder(clip_vision())
    frames = torch.randint(0, 255, (2, 240, 320, 3), dtype=torch.uint8)
    with torch.inference_mode():
        vectors = encoder.encode(frames)
        assert vectors.shape == (2, 1024)
        assert TemporalConnector()(vectors[None], 5).shape == (1, 2, 2304)
    with torch.device("meta"):
        assert sd15_vae().encode(torch.zeros(1, 3, 256, 1024)).latent_dist.mode().shape == (1, 4, 32, 128)
