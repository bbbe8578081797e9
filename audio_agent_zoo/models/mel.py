"""Waveform <-> log-mel image of the latent space.

The spectrogram is a picture to the autoencoder: three equal channels, low frequencies at the bottom,
silence at -1 and the loudest representable magnitude at 1.
"""

from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from math import log
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from audio_agent_zoo.rates import HOP_LENGTH, SAMPLE_RATE


@dataclass(frozen=True)
class MelConfig:
    """Constants of the mel front end; the defaults are Auffusion's.

    Attributes:
        n_mels: Mel bands, the height of the image.
        n_fft: FFT size in samples.
        win_length: Hann window in samples, centred in the FFT.
        hop_length: Samples between columns.
        sample_rate: Samples per second.
        fmin: Lower edge of the lowest band in Hz.
        fmax: Upper edge of the highest band in Hz.
        log_floor: Magnitude shown as -1.
        log_ceiling: Magnitude shown as 1.
    """

    n_mels: int = 256
    n_fft: int = 2048
    win_length: int = 1024
    hop_length: int = HOP_LENGTH
    sample_rate: int = SAMPLE_RATE
    fmin: float = 0.0
    fmax: float = 8000.0
    log_floor: float = 1e-5
    log_ceiling: float = 200.0

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "MelConfig":
        """Read settings written by `to_dict`.

        Raises:
            ValueError: If a key is unknown.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"mel settings hold unknown keys {unknown}; known are {sorted(known)}.")
        return cls(**values)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # kept for later calls, which may be a training's
def mel_filters(config: MelConfig) -> Tensor:
    """Slaney-normalised mel filterbank `(n_mels, n_fft // 2 + 1)`."""
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(
        num_frequency_bins=config.n_fft // 2 + 1,
        num_mel_filters=config.n_mels,
        min_frequency=config.fmin,
        max_frequency=config.fmax,
        sampling_rate=config.sample_rate,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(bank.T.copy()).float()


def log_mel(waveform: Tensor, config: MelConfig) -> Tensor:
    """Natural-log mel spectrogram with one column per hop.

    Args:
        waveform: `(batch, samples)` in [-1, 1]; at least `(n_fft - hop) / 2 + 1` samples.
        config: Front-end constants.

    Returns:
        `(batch, n_mels, samples // hop_length)`, natural log of magnitude, floored at `log_floor`.

    Raises:
        ValueError: If the waveform is too short to be padded by reflection.

    Source: Auffusion's front end: reflection padding, magnitude (not power), Slaney-normalised bands.
    """
    pad = (config.n_fft - config.hop_length) // 2
    if waveform.shape[-1] <= pad:
        raise ValueError(
            f"waveform has {waveform.shape[-1]} samples; the mel front end needs more than {pad}. "
            "Pad it with silence first."
        )
    padded = F.pad(waveform.float().unsqueeze(1), (pad, pad), mode="reflect").squeeze(1)
    window = torch.hann_window(config.win_length, device=waveform.device)
    spectrum = torch.stft(
        padded, config.n_fft, config.hop_length, config.win_length, window, center=False, return_complex=True
    )
    magnitude = torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-9)
    return torch.log(torch.clamp(mel_filters(config).to(waveform.device) @ magnitude, min=config.log_floor))


def to_image(mel: Tensor, config: MelConfig) -> Tensor:
    """Log-mel `(batch, n_mels, columns)` -> image `(batch, 3, n_mels, columns)` in [-1, 1], low at the bottom."""
    low, high = log(config.log_floor), log(config.log_ceiling)
    value = (mel.clamp(low, high) - low) / (high - low)
    return (value.flip(1) * 2 - 1).unsqueeze(1).expand(-1, 3, -1, -1).contiguous()


def from_image(image: Tensor, config: MelConfig) -> Tensor:
    """Image `(batch, channels, n_mels, columns)` -> log-mel `(batch, n_mels, columns)`.

    The first channel counts, as in the public pipelines: the three are copies, and their mean would
    blur what the decoder makes of each.
    """
    low, high = log(config.log_floor), log(config.log_ceiling)
    value = (image[:, 0].float() / 2 + 0.5).clamp(0, 1)
    return value.flip(1) * (high - low) + low
