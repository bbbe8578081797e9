"""The vocoder without learning that a trained one is measured against."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audio_agent_zoo.models.mel import MelConfig


def griffin_lim_from_mel(log_mel: Tensor, config: MelConfig, n_iter: int = 60, seed: int = 0) -> NDArray[np.float32]:
    """Waveform of a log-mel spectrogram: magnitudes by non-negative least squares, phases by iteration.

    The frames stand where `models.mel.log_mel` puts them, so the result lines up with the waveform that
    the spectrogram was taken from.

    Args:
        log_mel: `(n_mels, columns)`, natural log of magnitude.
        config: Front-end constants the spectrogram was made with.
        n_iter: Iterations of the phase search.
        seed: Seed of the first phases.

    Returns:
        `(columns * hop_length,)`, about [-1, 1] at `config.sample_rate`.

    Raises:
        ValueError: If the shape does not fit the constants, or a value is not finite.

    Source: Perraudin et al., "A fast Griffin-Lim algorithm" (2013), as in librosa.
    """
    if log_mel.ndim != 2 or log_mel.shape[0] != config.n_mels or log_mel.shape[1] < 1:
        raise ValueError(f"log_mel has shape {tuple(log_mel.shape)}; give ({config.n_mels}, columns).")
    bands = np.exp(log_mel.detach().cpu().double().numpy())
    if not np.isfinite(bands).all():
        raise ValueError("log_mel holds NaN or infinity; look at what made it.")
    import librosa

    filters = librosa.filters.mel(
        sr=config.sample_rate, n_fft=config.n_fft, n_mels=config.n_mels, fmin=config.fmin, fmax=config.fmax
    )
    magnitudes = librosa.util.nnls(filters, bands.astype(np.float32))
    wave = librosa.griffinlim(
        magnitudes,
        n_iter=n_iter,
        hop_length=config.hop_length,
        win_length=config.win_length,
        n_fft=config.n_fft,
        center=False,
        random_state=seed,
    )
    pad = (config.n_fft - config.hop_length) // 2
    return np.asarray(wave[pad : pad + log_mel.shape[1] * config.hop_length], dtype=np.float32)
