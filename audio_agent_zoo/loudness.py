"""Loudness and true peak of a waveform, with answers where the standards give none; and a limiter."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

SILENCE_LUFS = -70.0
"""Below this (the absolute gate of BS.1770) a sound counts as silent."""

_BLOCK_S, _HOP_S = 0.4, 0.1
_METERED_S, _WARM_UP_S = 60.0, 1.0
_OVERSAMPLING = 8
_REACH = 24  # samples to each side that a point between two samples is made from
_CHUNK, _OVERLAP = 1 << 16, 2 * _REACH  # samples oversampled at a time, with context so that no seam shows

_LOOK_AHEAD_S = 0.005
_RELEASE_DB_PER_S = 60.0
_PASSES = 4
_LIMITED = 1 << 18
"""Samples limited at once."""
_LIMITER_MEMORY_S = 1.0
"""How far a peak reaches: 60 dB are let go by then, more than any mix is over its ceiling."""


def loudness_lufs(audio: NDArray[np.floating], sample_rate: int) -> float:
    """Loudness of mono `(samples,)` or stereo `(samples, 2)` sound in LUFS; minus infinity for silence.

    The standard measures blocks of 0.4 s, every 0.1 s, and drops what does not fill one. Here silence fills
    the last block, so that a door knock of 0.1 s has a loudness too, the same as with silence after it.

    Source: ITU-R BS.1770, integrated loudness (pyloudnorm).
    """
    import pyloudnorm

    if not np.any(audio):
        return float("-inf")
    values = np.asarray(audio, dtype=np.float32)  # what pyloudnorm copies; it filters in float64 all the same
    hop = _HOP_S * sample_rate
    hops = max(round(_BLOCK_S / _HOP_S), int(np.ceil(len(values) / hop - 1e-6)))
    missing = int(np.ceil(hops * hop)) - len(values)
    if missing > 0:
        values = np.pad(values, [(0, missing)] + [(0, 0)] * (values.ndim - 1))
    meter = pyloudnorm.Meter(sample_rate)
    if len(values) <= _METERED_S * sample_rate:
        value = float(meter.integrated_loudness(values))
    else:
        value = _gated(_block_loudnesses(values, meter))
    return value if value > SILENCE_LUFS else float("-inf")


def _block_loudnesses(values: NDArray[np.float32], meter: Any) -> NDArray[np.float64]:
    """LUFS of every block of a long sound, metered piece by piece: the meter keeps copies of what it measures."""
    blocks = list[float]()
    hops, warm, per_block = round(_METERED_S / _HOP_S), round(_WARM_UP_S / _HOP_S), round(_BLOCK_S / _HOP_S)
    n_blocks = int(len(values) / (_HOP_S * meter.rate) + 1e-6) - per_block + 1
    while len(blocks) < n_blocks:
        first = max(0, len(blocks) - warm)  # heard before, so that the filters have their past
        ends = (round(hop * _HOP_S * meter.rate) for hop in (first, len(blocks) + hops + per_block - 1))
        meter.integrated_loudness(values[slice(*ends)])
        blocks += list(meter.blockwise_loudness)[len(blocks) - first :]
    return np.array(blocks[:n_blocks])


def _gated(blocks: NDArray[np.float64]) -> float:
    """Integrated loudness of blocks: the mean energy of those above -70 LUFS and above 10 LU under their own mean."""
    above = blocks[blocks >= SILENCE_LUFS]
    if not len(above):
        return float("-inf")
    energy = 10 ** (above / 10)
    return float(10 * np.log10(energy[above > 10 * np.log10(energy.mean()) - 10].mean()))


def true_peak_dbtp(audio: NDArray[np.floating], sample_rate: int) -> float:
    """Highest level of `(samples,)` or `(samples, 2)` between its samples in dBTP; silence has -infinity.

    Source: ITU-R BS.1770, annex 2, which oversamples 48 kHz by 4; at our 16 kHz the content reaches nearer
    to half the sample rate, so this oversamples by 8 (at most 0.2 dB too low).

    Raises:
        ValueError: If `sample_rate` is not positive.
    """
    if sample_rate <= 0:
        raise ValueError(f"sample_rate is {sample_rate}; give samples per second, such as 16000.")
    peak = float(np.max(oversampled_peaks(audio), initial=0.0))
    return 20 * float(np.log10(peak)) if peak > 0 else float("-inf")


def oversampled_peaks(audio: NDArray[np.floating]) -> NDArray[np.float32]:
    """For each sample, the largest magnitude of the oversampled curve from it to the next, over channels."""
    from scipy.signal import firwin, resample_poly

    low_pass = firwin(2 * _REACH * _OVERSAMPLING + 1, 1 / _OVERSAMPLING, window=("kaiser", 5.0)).astype(np.float32)
    values = np.asarray(audio, dtype=np.float32).reshape(len(audio), -1)
    peaks = np.zeros(len(values), dtype=np.float32)
    for start in range(0, len(values), _CHUNK):
        first = max(0, start - _OVERLAP)
        part = values[first : start + _CHUNK + _OVERLAP]
        if not part.any():
            continue
        dense = np.abs(resample_poly(part, _OVERSAMPLING, 1, axis=0, window=low_pass)).max(axis=1)
        by_sample = dense.reshape(len(part), _OVERSAMPLING).max(axis=1)
        peaks[start : start + _CHUNK] = by_sample[start - first :][:_CHUNK]
    return peaks


def limiter_gain(audio: NDArray[np.floating], sample_rate: int, ceiling_dbtp: float) -> NDArray[np.float32]:
    """Gain curve `(samples,)` in (0, 1] that keeps the true peaks of `audio` at or under a ceiling.

    The gain falls within 5 ms before a peak and comes back by 60 dB per second, slowly enough that it does
    not follow the cycles of a low sound. Where nothing is above the ceiling it is exactly 1.

    Args:
        audio: `(samples,)` or `(samples, channels)`; every channel gets the same gain.
        sample_rate: Samples per second.
        ceiling_dbtp: Highest true peak afterwards, in dBTP.
    """
    ceiling = 10 ** (ceiling_dbtp / 20)
    gain, highest = np.ones(len(audio), dtype=np.float32), ceiling
    margin = round(_LIMITER_MEMORY_S * sample_rate)
    # Block by block, each with all around it that its gain depends on: hours take no more memory than a minute.
    for start in range(0, len(audio), _LIMITED):
        first = max(0, start - margin)
        part, peak = _block_gain(audio[first : start + _LIMITED + margin], sample_rate, ceiling)
        gain[start : start + _LIMITED] = part[start - first :][:_LIMITED]
        highest = max(highest, peak)
    gain *= np.float32(ceiling / highest)
    return gain


def _block_gain(audio: NDArray[np.floating], sample_rate: int, ceiling: float) -> tuple[NDArray[np.float64], float]:
    """Gain of one block, and the true peak that is left of it."""
    peaks = oversampled_peaks(audio).astype(np.float64)
    if peaks.max() <= ceiling:
        return np.ones(len(peaks)), ceiling
    gain = np.ones(len(peaks))
    values = np.asarray(audio, dtype=np.float64).reshape(len(peaks), -1)
    for _ in range(_PASSES):
        gain *= _smooth_gain(ceiling / np.maximum(peaks, ceiling), sample_rate)
        # A gain that moves between two samples lets a little more through than it does at either of them.
        peaks = oversampled_peaks(values * gain[:, None]).astype(np.float64)
        if peaks.max() <= ceiling:
            break
    return gain, float(peaks.max())


def _smooth_gain(needed: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    """A smooth curve that is nowhere above the gain `needed` at each sample."""
    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    # With a straight slope added, a running maximum is a release of so many dB per second.
    slope = np.arange(len(needed)) * (_RELEASE_DB_PER_S / sample_rate)
    reduction_db = np.maximum.accumulate(-20 * np.log10(needed) + slope) - slope
    half = max(1, round(_LOOK_AHEAD_S * sample_rate / 2))
    # The maximum reaches as far to both sides as the two averages together, so they never fall below it.
    held = maximum_filter1d(reduction_db, 4 * half + 1, mode="nearest")
    for _ in range(2):
        held = uniform_filter1d(held, 2 * half + 1, mode="nearest")
    return np.asarray(10 ** (-np.maximum(held, 0.0) / 20))
