"""The public dimensions: Gemma-2-2B, CLIP ViT-L/14, HuBERT-base with 500 centroids, the SD-1.5 UNet; weights random."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Gemma2Config, Gemma2ForCausalLM

from audio_agent_zoo.data.caption_tokenizer import train_gemma_tokenizer
from audio_agent_zoo.models.audio_vocabulary import INSTRUCTION, AudioVocabulary
from audio_agent_zoo.models.frame_encoder import FrameEncoder
from audio_agent_zoo.models.semantic_token_lm import LoraSettings, SemanticTokenLM
from audio_agent_zoo.models.temporal_connector import TemporalConnector
from audio_agent_zoo.models.visual_adapter import VisualAdapter
from audio_agent_zoo.pipelines.memory_plan import TrainingMemory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

GEMMA_WORDS = 256_000


def gemma_config() -> Gemma2Config:
    """Gemma-2-2B-it."""
    return Gemma2Config(
        vocab_size=GEMMA_WORDS,
        hidden_size=2304,
        intermediate_size=9216,
        num_hidden_layers=26,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=256,
        query_pre_attn_scalar=256,
        sliding_window=4096,
    )


def sd15_unet() -> UNet2DConditionModel:
    """The UNet of Stable Diffusion 1.5, which Auffusion's has the shape of."""
    return UNet2DConditionModel(
        sample_size=64, cross_attention_dim=768, attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280)
    )


def vocabulary() -> AudioVocabulary:
    tokenizer = train_gemma_tokenizer([INSTRUCTION, "hammering on metal"] * 4, 600)
    tokenizer.add_tokens([f"<unused_{i}>" for i in range(GEMMA_WORDS - len(tokenizer))])
    return AudioVocabulary.extend(tokenizer, 500)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_step_of_stage_one() -> None:
    words = vocabulary()
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
    clip = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=24,
            num_attention_heads=16,
            image_size=224,
            patch_size=14,
            projection_dim=768,
        )
    )
    encoder = FrameEncoder(clip)
    frames = torch.randint(0, 255, (2, 240, 320, 3), dtype=torch.uint8)
    assert encoder.encode(frames).shape == (2, 1024)
    assert TemporalConnector()(encoder.encode(frames)[None], 5).shape == (1, 2, 2304)
    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
        assert vae.encode(torch.zeros(1, 3, 256, 1024)).latent_dist.mode().shape == (1, 4, 32, 128)
