"""The shapes of the public checkpoints: Gemma-2-2B, CLIP ViT-L/14, the UNet of Stable Diffusion 1.5 and its VAE."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Gemma2Config

from audio_agent_zoo.data.caption_tokenizer import train_gemma_tokenizer
from audio_agent_zoo.models.audio_vocabulary import INSTRUCTION, AudioVocabulary

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


def gemma_vocabulary(n_audio: int = 500) -> AudioVocabulary:
    """A tokenizer with as many words as Gemma's, most of them never used, and the semantic tokens."""
    tokenizer = train_gemma_tokenizer([INSTRUCTION, "hammering on metal", "a hammer strikes metal"] * 4, 600)
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        path = Path(folder) / "tokenizer.json"
        values = json.loads(path.read_text(encoding="utf-8"))
        # Words of the model itself: as many added ones would be looked for in every text, one by one.
        values["model"]["vocab"] |= {f"unused_{i}": i for i in range(len(tokenizer), GEMMA_WORDS)}
        path.write_text(json.dumps(values), encoding="utf-8")
        return AudioVocabulary.from_pretrained(folder, n_audio)


def sd15_unet() -> UNet2DConditionModel:
    """The UNet of Stable Diffusion 1.5, which Auffusion's has the shape of."""
    return UNet2DConditionModel(
        sample_size=64, cross_attention_dim=768, attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280)
    )


def sd15_vae() -> AutoencoderKL:
    """Its autoencoder."""
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def clip_vision() -> CLIPVisionModelWithProjection:
    """The vision tower of CLIP ViT-L/14."""
    return CLIPVisionModelWithProjection(
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
