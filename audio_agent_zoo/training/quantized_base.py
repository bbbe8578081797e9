"""A frozen language model in four bits, for cards of 16 GB."""

from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import BitsAndBytesConfig, Gemma2ForCausalLM

from audio_agent_zoo.errors import AudioAgentError


def load_in_4bit(folder: Path, dtype: torch.dtype, device: torch.device) -> Gemma2ForCausalLM:
    """Gemma 2 with the linear layers of its blocks in NF4, their scales in eight bits.

    Args:
        folder: Where it lies.
        dtype: Of embeddings and norms, and of what the layers compute with.
        device: Where it goes; weights are quantized as they are read.

    Raises:
        AudioAgentError: If bitsandbytes is missing.

    Source: QLoRA's NormalFloat, as in bitsandbytes.
    """
    if find_spec("bitsandbytes") is None:
        raise AudioAgentError('base_quantization is nf4, which needs bitsandbytes: pip install "audio-agent-zoo[nf4]"')
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return Gemma2ForCausalLM.from_pretrained(
        folder, dtype=dtype, quantization_config=config, device_map={"": device}, local_files_only=True
    )
