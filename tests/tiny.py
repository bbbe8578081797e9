"""Folders of tiny random weights, written with the real classes in the exact public layouts."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from audio_agent_zoo.models.hifigan import HifiGanConfig, HifiGanGenerator
from audio_agent_zoo.models.mel import MelConfig
from audio_agent_zoo.models.text_conditioning import ConditionAdapter, TextConditioning, TextEncoder
from audio_agent_zoo.pipelines.text_to_audio_parts import TextToAudioParts
from audio_agent_zoo.published import Generation

WIDTH = 16
"""Width of the text condition."""

N_MELS = 16
COLUMN_MULTIPLE = 8
"""What image widths are rounded to: the VAE's factor of 4 times the UNet's one halving."""

TRAINING_KEYS = {"decay": 0.9999, "inv_gamma": 1.0, "optimization_step": 100000, "use_ema_warmup": False}
"""Left by the authors' training in the public UNet config."""

PUBLIC_SCHEDULER = PNDMScheduler(
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    skip_prk_steps=True,
    set_alpha_to_one=False,
    steps_offset=1,
)


def unet() -> UNet2DConditionModel:
    torch.manual_seed(1)
    return UNet2DConditionModel(
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=WIDTH,
    ).eval()


def vae() -> AutoencoderKL:
    torch.manual_seed(2)
    return AutoencoderKL(
        block_out_channels=(4, 4, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=4,
        scaling_factor=0.5,
    ).eval()


VOCODER = HifiGanConfig(
    num_mels=N_MELS,
    upsample_rates=(5, 4, 4, 2),
    upsample_kernel_sizes=(10, 8, 7, 4),
    upsample_initial_channel=32,
    resblock_kernel_sizes=(3, 5),
    resblock_dilation_sizes=((1, 3), (1, 2)),
)
"""One stage has an odd difference of kernel and rate, as the public rule of padding allows."""


def vocoder(config: HifiGanConfig = VOCODER) -> HifiGanGenerator:
    torch.manual_seed(3)
    model = HifiGanGenerator(config).eval()
    for parameter in model.parameters():  # the default initialisation makes near-silence
        torch.nn.init.normal_(parameter, std=0.15)
    return model


def clip_tokenizer() -> CLIPTokenizer:
    """Every letter, the beginnings of a few words, and the two marks."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("0123456789.,-'!")
    merges = [("d", "o"), ("do", "g</w>"), ("r", "a"), ("i", "n</w>"), ("ra", "in</w>")]
    entries = [*letters, *(f"{x}</w>" for x in letters), *("".join(pair) for pair in merges)]
    vocabulary = {token: i for i, token in enumerate([*entries, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def clip_encoder(tokenizer: CLIPTokenizer, hidden_size: int = WIDTH) -> CLIPTextModel:
    torch.manual_seed(4)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden_size,
            intermediate_size=32,
            projection_dim=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    ).eval()


def t5_tokenizer() -> T5Tokenizer:
    pieces = [
        "<pad>",
        "</s>",
        "<unk>",
        "\u2581",
        *"abcdefghijklmnopqrstuvwxyz0123456789.,-'",
        "\u2581dog",
        "\u2581rain",
    ]
    return T5Tokenizer(vocab=[(piece, -float(i)) for i, piece in enumerate(pieces)], extra_ids=0)


def t5_encoder(tokenizer: T5Tokenizer, d_model: int = 12) -> T5EncoderModel:
    torch.manual_seed(5)
    return T5EncoderModel(
        T5Config(vocab_size=len(tokenizer), d_model=d_model, d_kv=4, d_ff=16, num_layers=2, num_heads=2)
    ).eval()


def adapter(condition_dim: int) -> ConditionAdapter:
    torch.manual_seed(6)
    made = ConditionAdapter(condition_dim, WIDTH)
    torch.nn.init.normal_(made.norm.bias, std=0.3)  # what padding turns into must show
    return made.eval()


def conditioning(n_encoders: int = 1, max_length: int = 32) -> TextConditioning:
    """CLIP with an adapter, and for two also T5 with one."""
    clip, t5 = clip_tokenizer(), t5_tokenizer()
    both = [
        TextEncoder(clip, clip_encoder(clip), max_length, adapter(WIDTH)),
        TextEncoder(t5, t5_encoder(t5), max_length, adapter(12)),
    ]
    return TextConditioning(both[:n_encoders])


def write_json(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


def with_weight_norm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under the old names of weight norm, magnitudes apart from directions."""
    split: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.endswith(".weight"):
            stem = key.removesuffix("weight")
            split[stem + "weight_g"] = value.flatten(1).norm(dim=1).reshape(-1, 1, 1)
            split[stem + "weight_v"] = value * 3.0
        else:
            split[key] = value
    return split


def legacy_attention_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The attention of a VAE under the names that the first diffusers versions gave it."""
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    renamed = {}
    for key, value in state.items():
        for new_name, old_name in old.items():
            key = key.replace(new_name, old_name)
        renamed[key] = value
    return renamed


def write_public_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """The four files of the first transformers versions; today's write one tokenizer.json."""
    tokenizer.save_pretrained(folder)
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    write_json(folder / "vocab.json", model["vocab"])
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    marks = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    marks |= {"unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    write_json(folder / "special_tokens_map.json", marks)
    write_json(
        folder / "tokenizer_config.json",
        {**marks, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True},
    )
    (folder / "tokenizer.json").unlink()


def _as_bin(folder: Path, name: str, extra: dict[str, Tensor] | None = None) -> None:
    """Turn the safetensors of a part into the pickle of the public files."""
    safe = next(folder.glob("*.safetensors"))
    torch.save({**load_file(safe), **(extra or {})}, folder / name)
    safe.unlink()


def _write_shared(folder: Path) -> None:
    """What both public layouts have in common: UNet, VAE, scheduler, vocoder."""
    unet().save_pretrained(folder / "unet")
    _as_bin(folder / "unet", "diffusion_pytorch_model.bin")
    config = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "unet" / "config.json", {**config, **TRAINING_KEYS})
    vae().save_pretrained(folder / "vae")
    state = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(legacy_attention_names(state), folder / "vae" / "diffusion_pytorch_model.bin")
    PUBLIC_SCHEDULER.save_pretrained(folder / "scheduler")
    write_json(folder / "feature_extractor" / "preprocessor_config.json", {"size": 224})
    write_public_vocoder(folder / "vocoder")


def write_public_vocoder(folder: Path, config: HifiGanConfig = VOCODER) -> None:
    """vocoder.pt with the old keys of weight norm, and a config that holds training settings too."""
    write_json(folder / "config.json", {**asdict(config), "batch_size": 16, "segment_size": 8192})
    torch.save({"generator": with_weight_norm(vocoder(config).state_dict())}, folder / "vocoder.pt")


def write_stock(folder: Path) -> Path:
    """Layout A: `auffusion-full-no-adapter`, what StableDiffusionPipeline loads."""
    _write_shared(folder)
    tokenizer = clip_tokenizer()
    write_public_tokenizer(tokenizer, folder / "tokenizer")
    clip_encoder(tokenizer).save_pretrained(folder / "text_encoder")
    positions = {"text_model.embeddings.position_ids": torch.arange(77)[None]}  # once saved, no longer known
    _as_bin(folder / "text_encoder", "pytorch_model.bin", positions)
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.18.2",
        "feature_extractor": [None, None],
        "safety_checker": [None, None],
        "requires_safety_checker": False,
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    write_json(folder / "model_index.json", index)
    return folder


def write_adapted(folder: Path, n_encoders: int = 1) -> Path:
    """Layout B: `auffusion` and `auffusion-full`, with a list of encoders and their adapters."""
    _write_shared(folder)
    listing = []
    for i, part in enumerate(conditioning(n_encoders).parts):
        place = folder / f"text_encoder_{i}"
        part.encoder.save_pretrained(place)
        _as_bin(place, "pytorch_model.bin")
        if isinstance(part.tokenizer, CLIPTokenizer):
            write_public_tokenizer(part.tokenizer, place)
        else:
            part.tokenizer.save_pretrained(place)
        own = folder / f"condition_adapter_{i}"
        own.mkdir()
        assert part.adapter is not None
        torch.save(part.adapter.state_dict(), own / "condition_adapter.pt")
        entry = {
            "text_encoder_name": f"text_encoder_{i}",
            "condition_adapter_name": f"condition_adapter_{i}",
            "condition_type": ["clip-vit-large-patch14_text", "t5_text"][i],
            "pretrained_model_name_or_path": ["openai/clip-vit-large-patch14", "google/t5"][i],
            "condition_max_length": part.max_length,
            "condition_dim": part.encoder.config.hidden_size,
            "cross_attention_dim": WIDTH,
        }
        write_json(own / "config.json", entry)
        listing.append(entry)
    write_json(folder / "condition_config.json", listing)
    return folder


def parts() -> TextToAudioParts:
    """A base as training publishes it: short clips are its native width."""
    return TextToAudioParts(
        conditioning=conditioning(),
        unet=unet(),
        vae=vae(),
        vocoder=vocoder(),
        scheduler=DPMSolverMultistepScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            timestep_spacing="trailing",
        ),
        mel=MelConfig(n_mels=N_MELS),
        generation=Generation(num_inference_steps=3, guidance_scale=2.0, native_columns=64, min_columns=16),
        name="tiny",
        license="apache-2.0",
    )


def write_published(folder: Path) -> Path:
    """Layout C: our published folder."""
    parts().save(folder)
    return folder
