"""The log-mel picture of a sound for people to look at, with no model's front end behind it."""

import numpy as np
from numpy.typing import NDArray

N_BANDS = 96
FLOOR_DB = 80.0
"""Range that the picture shows below its maximum, in dB."""

_N_FFT = 2048
_WINDOW_S = (0.032, 0.064)  # shorter where the clip is short, so that its time can be seen
_MAX_HOP, _MAX_COLUMNS = 512, 1600
_BATCH = 512
_SILENCE_DB = -90.0  # of a full-scale sine; a clip under it shows black rather than its own rounding noise


def hertz_to_mel(hertz: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Mel of a frequency (the formula 2595 log10(1 + f / 700))."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz, dtype=np.float64) / 700.0))


def band_of(hertz: float, sample_rate: int) -> float:
    """Where a frequency lies in the picture, in bands from the bottom."""
    return float(hertz_to_mel(hertz) / hertz_to_mel(sample_rate / 2) * (N_BANDS + 1) - 0.5)


def _filters(sample_rate: int) -> NDArray[np.float64]:
    """Triangles `(bands, bins)` with a peak of 1, even on the mel scale up to half the sample rate."""
    bins = hertz_to_mel(np.fft.rfftfreq(_N_FFT, 1 / sample_rate))
    edges = np.linspace(0.0, bins[-1], N_BANDS + 2)
    width = edges[1]
    triangles = np.maximum(0.0, 1.0 - np.abs(bins[None, :] - edges[1:-1, None]) / width)
    return np.asarray(triangles / np.maximum(triangles.sum(axis=1, keepdims=True), 1.0))


def mel_decibels(audio: NDArray[np.floating], sample_rate: int) -> NDArray[np.float64]:
    """Log-mel picture in dB below its maximum.

    Args:
        audio: `(samples,)` or `(samples, channels)`, whose powers are averaged.
        sample_rate: Samples per second.

    Returns:
        `(bands, columns)` in [-80, 0], low frequencies first, at most 1600 columns over the whole sound.
    """
    channels = np.asarray(audio, dtype=np.float32).reshape(len(audio), -1).T
    length = max(channels.shape[1], 1)
    window_s = _WINDOW_S[length > sample_rate]
    window = np.hanning(min(_N_FFT, max(16, round(window_s * sample_rate)))).astype(np.float32)
    hop = int(np.clip(length // 1200, 16, _MAX_HOP))
    n_columns = -(-length // hop)
    # The loudest of several columns stands for them, so that no click goes missing.
    pooled = -(-n_columns // _MAX_COLUMNS)
    padded = np.pad(channels, [(0, 0), (len(window) // 2, len(window) + hop)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, len(window), axis=1)[:, ::hop][:, :n_columns]
    filters, loudest = _filters(sample_rate).T, list[NDArray[np.float64]]()
    step = pooled * max(1, _BATCH // pooled)
    for first in range(0, n_columns, step):
        spectrum = np.fft.rfft(frames[:, first : first + step] * window, _N_FFT, axis=2)
        power = (np.abs(spectrum) ** 2).mean(axis=0) @ filters
        loudest.append(np.maximum.reduceat(power, np.arange(0, len(power), pooled), axis=0))
    bands = np.concatenate(loudest)
    decibels = 10 * np.log10(np.maximum(bands.T / (window.sum() / 2) ** 2, 1e-20))
    return np.asarray(np.clip(decibels - max(decibels.max(initial=-200.0), _SILENCE_DB), -FLOOR_DB, 0.0))
