"""Other text-to-audio systems through the libraries that hold their classes, to be judged by the same code."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.media import resample
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.rates import SAMPLE_RATE, n_samples

Audio = NDArray[np.float32]
Generate = Callable[[Sequence[str], float, Sequence[int]], list[Audio]]

KINDS = ("auffusion", "audioldm2", "musicgen")
"""Beginnings of a system's name; what follows the colon is a folder or repository."""


def load_system(name: str, device: str | torch.device | None = None) -> Generate:
    """A system by `kind:folder-or-repository`.

    - `auffusion`: this package's own pipeline, in one pass.
    - `audioldm2`: diffusers' AudioLDM2Pipeline.
    - `musicgen`: transformers' MusicGen class, which holds AudioGen's converted weights too.

    Args:
        name: Such as "audioldm2:cvssp/audioldm2-large".
        device: Where it runs; CUDA where there is one when None.

    Returns:
        Captions, seconds and one seed each -> one sound `(samples,)` at 16 kHz each, exactly that long.

    Raises:
        ValueError: For an unknown kind.
        WeightsError: If the weights can't be loaded.
    """
    kind, _, source = name.partition(":")
    if kind not in KINDS or not source:
        raise ValueError(f"system is {name!r}; write kind:repository with a kind of {', '.join(KINDS)}.")
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    load: Callable[[str, torch.device], Generate] = {
        "auffusion": _auffusion,
        "audioldm2": _audioldm2,
        "musicgen": _musicgen,
    }[kind]
    try:
        return load(source, target)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{source} can't be loaded: {str(error).splitlines()[0]} Download it once with: hf download {source}"
        ) from error


def _fitted(audio: NDArray[Any], rate: int, seconds: float) -> Audio:
    """Mono at 16 kHz, cut or filled with silence to its length."""
    mono = np.asarray(audio, dtype=np.float32).reshape(-1, np.shape(audio)[-1]).mean(axis=0)
    sound, length = resample(mono, rate, SAMPLE_RATE), n_samples(seconds)
    return np.pad(sound[:length], (0, max(0, length - len(sound))))


def _auffusion(source: str, device: torch.device) -> Generate:
    pipeline = TextToAudioPipeline.from_pretrained(source, device=device)
    return lambda captions, seconds, seeds: pipeline(captions, seconds, seed=list(seeds)).audios


def _audioldm2(source: str, device: torch.device) -> Generate:
    from diffusers import AudioLDM2Pipeline

    pipeline: Any = AudioLDM2Pipeline.from_pretrained(source).to(device)
    rate = int(pipeline.vocoder.config.sampling_rate)

    def generate(captions: Sequence[str], seconds: float, seeds: Sequence[int]) -> list[Audio]:
        return [
            _fitted(
                pipeline(caption, audio_length_in_s=seconds, generator=torch.Generator().manual_seed(seed)).audios[0],
                rate,
                seconds,
            )
            for caption, seed in zip(captions, seeds, strict=True)
        ]

    return generate


def _musicgen(source: str, device: torch.device) -> Generate:
    from transformers import AutoProcessor, MusicgenForConditionalGeneration

    model: Any = MusicgenForConditionalGeneration.from_pretrained(source)
    model.to(device).eval()
    processor: Any = AutoProcessor.from_pretrained(source)
    rate, frames = int(model.config.audio_encoder.sampling_rate), float(model.config.audio_encoder.frame_rate)

    def generate(captions: Sequence[str], seconds: float, seeds: Sequence[int]) -> list[Audio]:
        made = list[Audio]()
        for caption, seed in zip(captions, seeds, strict=True):
            words = processor(text=[caption], padding=True, return_tensors="pt").to(device)
            torch.manual_seed(seed)
            with torch.inference_mode():
                audio = model.generate(**words, do_sample=True, max_new_tokens=round(seconds * frames))
            made.append(_fitted(audio[0].float().cpu().numpy(), rate, seconds))
        return made

    return generate
