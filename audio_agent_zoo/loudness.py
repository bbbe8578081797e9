"""Loudness and true peak of a waveform, with answers also where the standards give none."""

import numpy as np
from numpy.typing import NDArray

SILENCE_LUFS = -70.0
"""Below this (the absolute gate of BS.1770) a sound counts as silent."""

_SHORTEST_GATED_S = 0.4


def loudness_lufs(audio: NDArray[np.floating], sample_rate: int) -> float:
    """Loudness of mono `(samples,)` or stereo `(samples, 2)` sound in LUFS; minus infinity for silence.

    Source: ITU-R BS.1770 integrated loudness (pyloudnorm). A sound shorter than the standard's 0.4 s block is
    repeated to that length first, since a door knock has a loudness too.
    """
    import pyloudnorm

    if len(audio) == 0 or not np.any(audio):
        return float("-inf")
    needed = int(np.ceil(_SHORTEST_GATED_S * sample_rate)) + 1
    if len(audio) < needed:
        audio = np.concatenate([audio] * -(-needed // len(audio)))
    value = float(pyloudnorm.Meter(sample_rate).integrated_loudness(np.asarray(audio, dtype=np.float64)))
    return value if value > SILENCE_LUFS else float("-inf")


def true_peak_dbtp(audio: NDArray[np.floating], sample_rate: int) -> float:
    """Highest peak between samples in dBTP, by 4x oversampling (BS.1770, annex 2); minus infinity for silence."""
    peak = float(np.max(oversampled_peaks(audio), initial=0.0))
    return 20 * float(np.log10(peak)) if peak > 0 else float("-inf")


def oversampled_peaks(audio: NDArray[np.floating]) -> NDArray[np.float64]:
    """For each sample, the largest magnitude of the 4x oversampled curve up to the next one, over channels."""
    from scipy.signal import resample_poly

    if len(audio) == 0:
        return np.zeros(0)
    dense = np.abs(resample_poly(np.asarray(audio, dtype=np.float64), 4, 1, axis=0))
    dense = dense.max(axis=1) if dense.ndim == 2 else dense
    return np.asarray(dense[: 4 * len(audio)].reshape(len(audio), 4).max(axis=1))
