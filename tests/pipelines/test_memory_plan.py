"""The memory plan: every parameter of what is loaded, and at the public dimensions what loading really takes."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from diffusers import ModelMixin
from peft import get_peft_model_state_dict
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, Gemma2ForCausalLM, PreTrainedModel

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.models.hifigan import HifiGanConfig, HifiGanGenerator
from audio_agent_zoo.models.mel import MelConfig
from audio_agent_zoo.models.semantic_quantizer import SemanticQuantizer
from audio_agent_zoo.models.semantic_token_lm import _ROWS_KEY, ADAPTER_FILE, LoraSettings, SemanticTokenLM
from audio_agent_zoo.models.temporal_connector import TemporalConnector
from audio_agent_zoo.models.text_conditioning import ConditionAdapter
from audio_agent_zoo.models.visual_adapter import VisualAdapter
from audio_agent_zoo.pipelines.memory_plan import file_parameters, memory_plan
from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline
from audio_agent_zoo.published import CONFIG_NAME, Part, PublishedConfig, VideoGeneration
from tests import tiny
from tests.public_dimensions import clip_vision, gemma_config, gemma_vocabulary, sd15_unet, sd15_vae
from tests.tiny_video import write_video_published


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_parameter_of_what_is_loaded_is_in_the_plan(tmp_path: Path, dtype: torch.dtype) -> None:
    write_video_published(tmp_path)
    plan = memory_plan(tmp_path, dtype)
    pipeline = VideoToAudioPipeline.from_pretrained(tmp_path, dtype=dtype)
    parts, base = pipeline.parts, pipeline.base.parts
    loaded: dict[str, list[nn.Module]] = {
        "unet": [base.unet],
        "vae": [base.vae],
        "vocoder": [base.vocoder],
        "frame_encoder": [parts.frame_encoder],
        "temporal_connector": [parts.connector],
        "visual_adapter": [parts.adapter],
    }
    found = {part.name: part for part in plan.parts}
    for name, networks in loaded.items():
        values = {id(v): v for network in networks for v in network.state_dict(keep_vars=True).values()}
        own = [v for v in values.values() if name != "unet" or not _of_adapter(v, parts.adapter)]
        assert found[name].n_bytes == pytest.approx(sum(v.numel() * v.element_size() for v in own), rel=0.02), name
    assert plan.n_bytes == sum(part.n_bytes for part in plan.parts)


def _of_adapter(value: Tensor, adapter: VisualAdapter) -> bool:
    return any(value is one for one in adapter.state_dict(keep_vars=True).values())


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 64)
    (tmp_path / "b.pt").write_bytes(b"no archive")
    for name in ("a.safetensors", "b.pt"):
        with pytest.raises(WeightsError, match="ownload it again"):
            file_parameters(tmp_path / name)


def write_hollow(path: Path, state: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    """Safetensors of the right shapes whose values are a hole in the file: they read as zeros and take no disk."""
    name = {torch.float32: "F32", torch.bfloat16: "BF16"}[dtype]
    head, offset = {}, 0
    for key, value in state.items():
        size = value.numel() * dtype.itemsize
        head[key] = {"dtype": name, "shape": list(value.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **head}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)


def write_real_dimensions(folder: Path) -> None:
    """A published folder of Gemma-2-2B, CLIP ViT-L/14, the SD-1.5 UNet and Auffusion's other parts, without values."""
    vocabulary = gemma_vocabulary()
    bf16, f32 = torch.bfloat16, torch.float32
    with torch.device("meta"):
        gemma, vision, unet, vae = Gemma2ForCausalLM(gemma_config()), clip_vision(), sd15_unet(), sd15_vae()
        text = CLIPTextModel(
            CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        )
        vocoder = HifiGanGenerator(HifiGanConfig())
        condition = ConditionAdapter(768, 768)
        connector = TemporalConnector()
        adapter = VisualAdapter()
        quantizer = SemanticQuantizer(500, 768)
    parts: dict[str, tuple[nn.Module, torch.dtype, str]] = {
        "language_model": (gemma, bf16, "model"),
        "frame_encoder": (vision, f32, "model"),
        "text_encoder_0": (text, f32, "model"),
        "unet": (unet, f32, "diffusion_pytorch_model"),
        "vae": (vae, f32, "diffusion_pytorch_model"),
        "temporal_connector": (connector, f32, "diffusion_pytorch_model"),
        "visual_adapter": (adapter, f32, "diffusion_pytorch_model"),
        "semantic_quantizer": (quantizer, f32, "diffusion_pytorch_model"),
        "vocoder": (vocoder, f32, "vocoder"),
        "condition_adapter_0": (condition, f32, "condition_adapter"),
    }
    for part, (model, dtype, file) in parts.items():
        state = {key: value for key, value in model.state_dict().items() if key != "lm_head.weight"}  # tied
        write_hollow(folder / part / f"{file}.safetensors", state, dtype)
        if isinstance(model, PreTrainedModel):
            model.config.architectures = [type(model).__name__]
            model.config.save_pretrained(folder / part)
        elif isinstance(model, ModelMixin):
            model.save_config(folder / part)
    condition_sizes = {"condition_dim": 768, "cross_attention_dim": 768}
    tiny.write_json(folder / "vocoder" / "config.json", asdict(HifiGanConfig()))
    tiny.write_json(folder / "condition_adapter_0" / "config.json", condition_sizes)
    entry = {"text_encoder_name": "text_encoder_0", "condition_adapter_name": "condition_adapter_0"}
    entry |= {"condition_type": "clip", "pretrained_model_name_or_path": "openai/clip-vit-large-patch14"}
    tiny.write_json(folder / "condition_config.json", [{**entry, **condition_sizes, "condition_max_length": 77}])
    tiny.clip_tokenizer().save_pretrained(folder / "text_encoder_0")
    tiny.PUBLIC_SCHEDULER.save_pretrained(folder / "scheduler")
    vocabulary.save_pretrained(folder / "language_model")
    vocabulary.save_pretrained(folder / "semantic_token_lm")
    with torch.device("meta"):
        lm = SemanticTokenLM(gemma, vocabulary, LoraSettings())
    assert lm.peft is not None
    low_rank = {**get_peft_model_state_dict(lm.peft), _ROWS_KEY: lm.rows}
    write_hollow(folder / "semantic_token_lm" / ADAPTER_FILE, low_rank, f32)
    lm.lora_config.save_pretrained(str(folder / "semantic_token_lm"))
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    config = PublishedConfig("real-dimensions", "other", MelConfig().to_dict(), video=VideoGeneration())
    tiny.write_json(folder / CONFIG_NAME, asdict(replace(config, parts={name: Part(name) for name in names})))


LOAD = """
import ctypes, gc, sys, torch
from pathlib import Path
from audio_agent_zoo.pipelines.memory_plan import memory_plan
from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline

def resident():
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # freed is not given back by itself
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

folder = Path(sys.argv[1])
plan = memory_plan(folder, torch.bfloat16)
before = resident()
pipeline = VideoToAudioPipeline.from_pretrained(folder, dtype=torch.bfloat16)
print(plan.n_bytes, resident() - before, plan)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="reads resident memory from /proc")
def test_the_pipeline_at_the_public_dimensions_takes_what_was_planned(tmp_path: Path) -> None:
    write_real_dimensions(tmp_path)
    done = subprocess.run([sys.executable, "-c", LOAD, str(tmp_path)], capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr[-2000:]
    planned, taken, *_ = done.stdout.splitlines()[-1].split()
    print(f"\nplanned {int(planned) / 1e9:.2f} GB, taken {int(taken) / 1e9:.2f} GB\n{done.stdout.splitlines()[-1]}")
    assert int(taken) == pytest.approx(int(planned), rel=0.15)
