"""What becomes of one clip: stretches of it, each with frame vectors, semantic tokens and latents."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from audio_agent_zoo.columns import FeatureRow
from audio_agent_zoo.data.sources.examples import FoleyExample
from audio_agent_zoo.errors import MediaError, WeightsError
from audio_agent_zoo.hub import FRAME_ENCODER, HUBERT, SEMANTIC_QUANTIZER
from audio_agent_zoo.models.frame_encoder import FrameEncoder, Pooling
from audio_agent_zoo.models.hubert_tokenizer import HubertTokenizer
from audio_agent_zoo.models.mel import MelConfig, log_mel, to_image
from audio_agent_zoo.rates import FRAME_RATE, SAMPLE_RATE, n_samples, n_semantic_tokens, n_video_frames

GRID_S = 0.32
"""Stretches are a multiple of this long, so that only few lengths occur and every one fits the UNet."""
_PEAK = 0.95
_SILENT_PEAK = 1e-4


@dataclass(frozen=True)
class PrepareSettings:
    """How clips become rows.

    Attributes:
        hub_folder: Published folder (or one in the making) with the frozen parts.
        window_s: Longest stretch; longer clips give several.
        frame_pooling: Which vector of the frame encoder stands for a frame.
        rows_per_shard: Clips per shard; a run that is cut off loses at most the shards being written. None takes 64,
            and fewer for a small source, so that there is a share for every process.

    Raises:
        ValueError: If the window is no multiple of 0.32 s, or shards would hold nothing.
    """

    hub_folder: str
    window_s: float = 10.24
    frame_pooling: Pooling = "pooler_output"
    rows_per_shard: int | None = None

    def __post_init__(self) -> None:
        steps = self.window_s / GRID_S if math.isfinite(self.window_s) else 0.0
        if steps < 0.5 or abs(steps - round(steps)) > 1e-6:
            near = max(1, round(steps)) * GRID_S
            raise ValueError(f"window_s is {self.window_s}; give a multiple of {GRID_S} s, such as {near:g}.")
        if self.rows_per_shard is not None and self.rows_per_shard < 1:
            raise ValueError(f"rows_per_shard is {self.rows_per_shard}; give a whole number above 0.")


def mel_of(folder: Path) -> MelConfig:
    """The mel front end that the vocoder of a published folder was trained on.

    Raises:
        WeightsError: If the folder has no vocoder.
    """
    path = folder / "vocoder" / "config.json"
    if not path.is_file():
        raise WeightsError(f"{path} is missing; run the vocoder recipe first, or download the folder again.")
    return MelConfig(n_mels=int(json.loads(path.read_text(encoding="utf-8"))["num_mels"]))


class Encoders:
    """The frozen parts, loaded once per process.

    Frames go through the encoder many at a time. Sound goes clip by clip: a clip alone fills a core, and what
    becomes of it does not depend on which clips it shares a shard with.

    Args:
        settings: Where the parts are and how clips are cut.
        device: Where they compute.

    Raises:
        WeightsError: If a part is missing.
    """

    def __init__(self, settings: PrepareSettings, device: str = "cpu") -> None:
        folder = Path(settings.hub_folder)
        self.settings, self.device = settings, device
        self.frames = FrameEncoder.from_pretrained(folder / FRAME_ENCODER, pooling=settings.frame_pooling).to(device)
        self.tokens = HubertTokenizer.from_pretrained(folder / HUBERT, folder / SEMANTIC_QUANTIZER).to(device)
        vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", local_files_only=True)
        self.vae = vae.eval().requires_grad_(False).to(device)
        self.mel = mel_of(folder)

    def rows(self, example: FoleyExample) -> list[FeatureRow]:
        """The stretches of one clip.

        Raises:
            MediaError: If the clip is silent, has no frames, or is shorter than 0.32 s.
            WeightsError: If the frozen parts make something of it that is no number.
        """
        peak = float(np.abs(example.audio).max(initial=0.0))
        if not np.isfinite(example.audio).all() or peak < _SILENT_PEAK:
            raise MediaError(f"{example.id} is silent or damaged (peak {peak:g}).")
        parts = [self.frames.encode(part) for part in example.frames if len(part)]
        if not parts:
            raise MediaError(f"{example.id} has no frames.")
        frames = torch.cat(parts)
        duration_s = min(len(example.audio) / SAMPLE_RATE, len(frames) / FRAME_RATE + 1 / FRAME_RATE)
        spans = list(stretches(duration_s, self.settings.window_s))
        if not spans:
            raise MediaError(f"{example.id} lasts {duration_s:.2f} s; at least {GRID_S} s are needed.")
        audio = torch.from_numpy(np.ascontiguousarray(example.audio * (_PEAK / peak), dtype=np.float32))
        return [self._row(example, frames, audio, start_s, length_s) for start_s, length_s in spans]

    @torch.inference_mode()
    def _row(self, example: FoleyExample, frames: Tensor, audio: Tensor, start_s: float, length_s: float) -> FeatureRow:
        heard = audio[n_samples(start_s) : n_samples(start_s + length_s)]
        tokens = self.tokens.encode([heard])[0][: n_semantic_tokens(length_s)]
        image = to_image(log_mel(heard[None].to(self.device), self.mel), self.mel)
        latents = (self.vae.encode(image).latent_dist.mode() * self.vae.config.scaling_factor)[0].half().cpu()
        first = round(start_s * FRAME_RATE)
        count = n_video_frames(length_s)
        # The picture may end a frame before the sound; what it last showed stays.
        shown = frames[torch.arange(first, first + count).clamp(max=len(frames) - 1)].half()
        for part, made in ((FRAME_ENCODER, shown), ("vae", latents)):
            if not torch.isfinite(made).all():
                folder = Path(self.settings.hub_folder) / part
                raise WeightsError(f"{folder} makes values of {example.id} that are no numbers; get its weights anew.")
        return FeatureRow(
            id=f"{example.id}@{start_s:g}",
            captions=list(example.captions),
            class_name=example.class_name,
            onset_s=[t - start_s for t in example.onset_s if start_s <= t < start_s + length_s],
            frames=shown.numpy().tobytes(),
            n_frames=count,
            tokens=tokens.tolist(),
            latents=latents.numpy().tobytes(),
            latent_shape=list(latents.shape),
        )


def stretches(duration_s: float, window_s: float) -> Iterator[tuple[float, float]]:
    """Start and length of the stretches of a clip in seconds, each a multiple of the grid."""
    start_s = 0.0
    while duration_s - start_s >= GRID_S - 1e-6:
        length_s = min(window_s, int((duration_s - start_s) / GRID_S + 1e-6) * GRID_S)
        yield round(start_s, 6), round(length_s, 6)
        start_s += length_s
