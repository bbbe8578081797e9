"""The video half of `tests.tiny`: tiny random networks of the real classes, and a published folder with them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Gemma2Config,
    Gemma2ForCausalLM,
    HubertConfig,
    HubertModel,
)

from audio_agent_zoo.data.caption_tokenizer import train_gemma_tokenizer
from audio_agent_zoo.models.audio_vocabulary import INSTRUCTION, AudioVocabulary
from audio_agent_zoo.models.frame_encoder import FrameEncoder
from audio_agent_zoo.models.semantic_quantizer import SemanticQuantizer
from audio_agent_zoo.models.semantic_token_lm import LoraSettings, SemanticTokenLM
from audio_agent_zoo.models.temporal_connector import TemporalConnector
from audio_agent_zoo.models.visual_adapter import Positions, VisualAdapter
from audio_agent_zoo.models.visual_attention import VisualCondition
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline
from audio_agent_zoo.pipelines.video_to_audio_parts import VideoToAudioParts
from audio_agent_zoo.published import VideoGeneration
from tests import tiny

FRAME_DIM = 12
LLM_DIM = 24
N_AUDIO = 20
HUBERT_DIM = 16


def clip_vision(image_size: int = 16) -> CLIPVisionModelWithProjection:
    """A tower whose three kinds of vectors have sizes of their own, but for the pooled and the patches'."""
    torch.manual_seed(7)
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=FRAME_DIM,
            intermediate_size=24,
            projection_dim=10,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=image_size,
            patch_size=8,
            initializer_range=0.2,
        )
    ).eval()


def hubert(layers: int = 3) -> HubertModel:
    """HuBERT-base's seven convolutions, narrow, with a few blocks."""
    torch.manual_seed(8)
    return HubertModel(
        HubertConfig(
            hidden_size=HUBERT_DIM,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=24,
            conv_dim=(8,) * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
        )
    ).eval()


def quantizer(n_centroids: int = N_AUDIO, dim: int = HUBERT_DIM) -> SemanticQuantizer:
    return SemanticQuantizer.from_centroids(
        torch.randn(n_centroids, dim, generator=torch.Generator().manual_seed(9)) * 0.7
    )


def visual_adapter(
    base: UNet2DConditionModel, positions: Positions = "sinusoidal", centroid_dim: int = HUBERT_DIM
) -> VisualAdapter:
    """An adapter as after some training: nothing of it is the base's any more."""
    torch.manual_seed(10)
    made = VisualAdapter.for_unet(base, quantizer(dim=centroid_dim).centroids, positions=positions)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return made.eval()


def semantic_token_lm() -> SemanticTokenLM:
    """A language model with low-rank weights that are no longer zero, so that they count."""
    tokenizer = train_gemma_tokenizer([INSTRUCTION, "a dog barks", "rain on a roof"] * 4, 420)
    vocabulary = AudioVocabulary.extend(tokenizer, N_AUDIO)
    torch.manual_seed(11)
    base = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=vocabulary.base_size,
            hidden_size=LLM_DIM,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=12,
            query_pre_attn_scalar=12,
            initializer_range=0.3,
            sliding_window=64,
            bos_token_id=2,
            eos_token_id=1,
            pad_token_id=0,
        )
    )
    model = SemanticTokenLM(base, vocabulary, LoraSettings(2, 4, 0.0))
    with torch.no_grad():
        for name, parameter in model.trained().items():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
        model.rows.mul_(0.1)  # else every token is likeliest after itself, whatever is seen
    return model.eval()


def video_parts(
    base: UNet2DConditionModel, positions: Positions = "sinusoidal", **generation: Any
) -> VideoToAudioParts:
    """The video half over a base: short windows, so that a second of video already needs several."""
    torch.manual_seed(12)
    connector = TemporalConnector(frame_dim=FRAME_DIM, llm_dim=LLM_DIM, n_blocks=1).eval()
    video = VideoGeneration(**{"window_tokens": 40, "context_tokens": 10, **generation})
    return VideoToAudioParts(
        frame_encoder=FrameEncoder(clip_vision(), video.frame_pooling),  # type: ignore[arg-type]  # checked there
        connector=connector,
        lm=semantic_token_lm(),
        quantizer=quantizer(),
        adapter=visual_adapter(base, positions),
        video=video,
    )


def write_video_published(folder: Path, **generation: Any) -> Path:
    """Layout C with its video half."""
    base = tiny.parts()
    video_parts(base.unet, **generation).save(folder, base)
    return folder


def pipeline(**generation: Any) -> VideoToAudioPipeline:
    base = tiny.parts()
    return VideoToAudioPipeline(TextToAudioPipeline(base), video_parts(base.unet, **generation))


def moving(n: int, height: int = 24, width: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    """Frames with a bright bar that jumps about."""
    frames = np.full((n, height, width, 3), 40, np.uint8)
    for i, place in enumerate(np.random.default_rng(seed).integers(0, width - 6, n)):
        frames[i, :, place : place + 6] = (250, 90 + 10 * (i % 9), 30)
    return frames


N_TOKENS = 16


def attached(positions: Positions = "sinusoidal") -> tuple[UNet2DConditionModel, VisualAdapter]:
    """A frozen base and the adapter on it."""
    base = tiny.unet().requires_grad_(False)
    adapter = visual_adapter(base, positions)
    adapter.attach(base)
    return base, adapter


def unet_inputs(batch: int = 2, rows: int = 4, columns: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, text states and centroids."""
    generator = torch.Generator().manual_seed(3)
    return (
        torch.randn(batch, 4, rows, columns, generator=generator),
        torch.randn(batch, 5, tiny.WIDTH, generator=generator),
        torch.randn(batch, N_TOKENS, HUBERT_DIM, generator=generator),
    )


def condition(adapter: VisualAdapter, centroids: Tensor, scale: float = 0.5, **more: Any) -> VisualCondition:
    """What the images of `unet_inputs` are told."""
    return adapter.condition(centroids, scale=scale, window_s=N_TOKENS / 50, aspect=2.0, **more)


def denoised(base: UNet2DConditionModel, latents: Tensor, text: Tensor, visual: VisualCondition | None) -> Tensor:
    """One UNet call."""
    out: Tensor = base(latents, 400, text, cross_attention_kwargs={"visual": visual}).sample
    return out


def text_attentions(base: UNet2DConditionModel) -> list[Any]:
    return [base.get_submodule(name.removesuffix(".processor")) for name in base.attn_processors if "attn2" in name]
