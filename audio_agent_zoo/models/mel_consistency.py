"""Bring a vocoded waveform back to the mel spectrogram it was made from.

A small vocoder gets phases about right and envelopes less so. Since the wanted mel is known, its error can be
measured and undone band by band; the vocoder's fine structure stays.
"""

from typing import Any

import torch
from torch import Tensor

from audio_agent_zoo.models.mel import MelConfig, mel_filters

_MAX_GAIN = 100.0


def fit_to_mel(waveform: Tensor, log_mel: Tensor, config: MelConfig, n_iter: int) -> Tensor:
    """Repeat: measure the mel, correct each band's magnitude, keep the phases, resynthesise.

    Args:
        waveform: `(batch, columns * hop_length)`.
        log_mel: `(batch, n_mels, columns)`, natural log of magnitude: what the waveform should have.
        config: Front-end constants.
        n_iter: Repetitions; 0 returns the waveform as it is.

    Returns:
        `(batch, columns * hop_length)` in [-1, 1]; what would pass full scale is made quieter as a whole.

    Source: Griffin and Lim's alternating projections, with the magnitude known per mel band only.
    """
    if not n_iter:
        return waveform
    filters = mel_filters(config).to(waveform)
    spread = filters / filters.sum(dim=0, keepdim=True).clamp(min=1e-8)
    covered = filters.sum(dim=0) > 0
    window = torch.hann_window(config.win_length, device=waveform.device, dtype=waveform.dtype)
    sizes: dict[str, Any] = {
        "n_fft": config.n_fft,
        "hop_length": config.hop_length,
        "win_length": config.win_length,
        "window": window,
    }
    # The front end's column i is centred half a hop later than torch's, so the grid is shifted by that.
    shift = config.hop_length // 2
    wanted = log_mel.exp()
    columns, samples = log_mel.shape[-1], waveform.shape[-1]
    wave = torch.nn.functional.pad(waveform, (config.n_fft, config.n_fft))
    first = (config.n_fft + shift) // config.hop_length
    offset = config.n_fft + shift - first * config.hop_length
    for _ in range(n_iter):
        spectrum = torch.stft(wave[:, offset:], **sizes, return_complex=True)
        inner = spectrum[..., first : first + columns]
        gain = wanted / (filters @ inner.abs()).clamp(min=1e-6)
        per_bin = (spread.T @ gain.clamp(max=_MAX_GAIN)) * covered[:, None]
        fitted = torch.zeros_like(spectrum)
        fitted[..., first : first + columns] = inner * per_bin
        made = torch.istft(fitted, **sizes, length=wave.shape[-1] - offset)
        wave = torch.cat([wave[:, :offset], made], dim=1)
    fitted_wave = wave[:, config.n_fft : config.n_fft + samples]
    return fitted_wave / fitted_wave.abs().amax(dim=1, keepdim=True).clamp(min=1.0)
