"""Signal building blocks of the procedural sounds: noise, modes, harmonics, formants, envelopes.

All signals are float64 arrays `(samples,)` at 16 kHz; randomness comes from the caller's generator only.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from audio_agent_zoo.rates import SAMPLE_RATE

Signal = NDArray[np.float64]
Rng = np.random.Generator

_CONTROL_STEP = 64  # samples between two evaluations of a spectral envelope that moves


def seconds(n: float) -> int:
    """Samples in `n` seconds."""
    return max(1, round(n * SAMPLE_RATE))


def time_axis(n: int) -> Signal:
    """Seconds of each of `n` samples."""
    return np.arange(n) / SAMPLE_RATE


def decay(n: int, time_s: float, attack_s: float = 0.001) -> Signal:
    """Exponential decay to -60 dB after `time_s` seconds, behind a linear attack."""
    t = time_axis(n)
    return np.asarray(np.exp(-6.9 * t / time_s) * np.minimum(1.0, t / max(attack_s, 1e-5)))


def arc(n: int, attack: float = 0.2, release: float = 0.3) -> Signal:
    """Smooth swell: `attack` and `release` are the shares of the length spent rising and falling."""
    x = np.linspace(0, 1, n)
    rise = np.clip(x / max(attack, 1e-6), 0, 1)
    fall = np.clip((1 - x) / max(release, 1e-6), 0, 1)
    return np.asarray(np.sin(0.5 * np.pi * rise) * np.sin(0.5 * np.pi * fall))


def contour(n: int, points: Sequence[tuple[float, float]]) -> Signal:
    """Piecewise-linear curve through `(position in 0..1, value)` points."""
    positions, values = zip(*points, strict=True)
    return np.asarray(np.interp(np.linspace(0, 1, n), positions, values))


def drift(rng: Rng, n: int, rate_hz: float) -> Signal:
    """Slow random curve with unit variance, changing about `rate_hz` times a second."""
    knots = max(4, int(np.ceil(n / SAMPLE_RATE * rate_hz)) + 3)
    return np.interp(np.linspace(0, knots - 1, n), np.arange(knots), rng.standard_normal(knots))


def shaped_noise(rng: Rng, n: int, gain: Callable[[Signal], Signal]) -> Signal:
    """Gaussian noise whose spectrum is weighted by `gain(frequency in Hz)`; unit RMS."""
    size = next_fast_len(n, real=True)
    spectrum = rfft(rng.standard_normal(size)) * gain(rfftfreq(size, 1 / SAMPLE_RATE))
    noise = irfft(spectrum, size)[:n]
    return np.asarray(noise / (np.sqrt(np.mean(noise**2)) + 1e-12))


def band_noise(rng: Rng, n: int, low_hz: float, high_hz: float, tilt: float = 0.0) -> Signal:
    """Noise between two frequencies with soft edges; `tilt` is the slope exponent inside the band."""

    def gain(f: Signal) -> Signal:
        edge = 1 / np.sqrt(1 + (low_hz / np.maximum(f, 1.0)) ** 6) / np.sqrt(1 + (f / high_hz) ** 6)
        return np.asarray(edge * np.maximum(f, 20.0) ** tilt)

    return shaped_noise(rng, n, gain)


def modes(
    rng: Rng, n: int, frequencies: Sequence[float] | Signal, decays_s: float | Sequence[float] | Signal
) -> Signal:
    """Struck resonator: damped sines with random phases; higher modes are a little weaker."""
    f = np.asarray(frequencies, dtype=float)
    audible = f < 0.48 * SAMPLE_RATE
    f, d = f[audible], np.broadcast_to(np.asarray(decays_s, dtype=float), (len(audible),))[audible]
    t = time_axis(n)
    amplitude = rng.uniform(0.4, 1.0, len(f)) / (1 + np.arange(len(f))) ** 0.5
    phase = rng.uniform(0, 2 * np.pi, len(f))
    out = np.zeros(n)
    for a, hz, time_s, p in zip(amplitude, f, d, phase, strict=True):
        m = min(n, seconds(1.2 * time_s))  # past -70 dB nothing is left to compute
        out[:m] += a * np.exp(-6.9 * t[:m] / time_s) * np.sin(2 * np.pi * hz * t[:m] + p)
    return out * np.minimum(1.0, t / 0.0008)


Formants = Sequence[tuple[float | Signal, float, float]]
"""`(centre in Hz (a curve of the control rate or a number), bandwidth in Hz, gain)` per formant."""


def control(curve: Signal) -> Signal:
    """Sample a curve at the control rate that `harmonics` uses for moving formants."""
    return curve[::_CONTROL_STEP]


def formant_gain(f: Signal, formants: Formants) -> Signal:
    """Vocal-tract-like spectral envelope at the frequencies `f`."""
    gain = np.full_like(f, 0.012)
    for centre, bandwidth, level in formants:
        gain = gain + level / (1 + ((f - centre) / bandwidth) ** 2)
    return gain


def harmonics(f0: Signal, envelope: Callable[[int, Signal], Signal], max_harmonics: int = 40) -> Signal:
    """Harmonic tone along a pitch curve.

    Args:
        f0: Fundamental in Hz, `(samples,)`.
        envelope: Gain of harmonic `k` whose frequency is `f`, both at the control rate.
        max_harmonics: Upper bound on partials; those above 7.6 kHz are left out anyway.
    """
    n = len(f0)
    turn = np.exp(1j * 2 * np.pi * np.cumsum(f0) / SAMPLE_RATE)
    f0_control = control(f0)
    grid, points = np.arange(n), np.arange(len(f0_control)) * _CONTROL_STEP
    out, partial = np.zeros(n), np.ones(n, dtype=complex)
    for k in range(1, min(max_harmonics, int(7600 / max(f0.min(), 20.0))) + 1):
        partial *= turn
        f = k * f0_control
        gain = np.where(f < 7600, envelope(k, f), 0.0)
        out += np.interp(grid, points, gain) * partial.imag
    return out


def voice(
    rng: Rng, f0: Signal, formants: Formants, *, tilt: float = 1.0, breath: float = 0.05, jitter: float = 0.01
) -> Signal:
    """Voiced sound: harmonics under formants, with a little pitch jitter and breath noise."""
    n = len(f0)
    wobble = f0 * (1 + jitter * drift(rng, n, 30))
    tone = harmonics(wobble, lambda k, f: formant_gain(f, formants) / k ** (tilt - 0.5))
    tone /= np.sqrt(np.mean(tone**2)) + 1e-9
    fixed = [(float(np.mean(c)), b, g) for c, b, g in formants]
    return tone + breath * shaped_noise(rng, n, lambda f: formant_gain(f, fixed))


def add(out: Signal, wave: Signal, at: int) -> None:
    """Add `wave` into `out` from sample `at` on, clipping what falls outside."""
    start, skip = max(at, 0), max(-at, 0)
    stop = min(len(out), at + len(wave))
    if stop > start:
        out[start:stop] += wave[skip : skip + stop - start]


def room(rng: Rng, wave: Signal, size_s: float, wet: float) -> Signal:
    """Add the diffuse tail of a room whose echo falls by 60 dB in `size_s` seconds."""
    tail = rng.standard_normal(seconds(size_s)) * decay(seconds(size_s), size_s, 0.004)
    tail /= np.sqrt(np.sum(tail**2)) + 1e-9
    size = next_fast_len(len(wave) + len(tail), real=True)
    return np.asarray(wave + wet * irfft(rfft(wave, size) * rfft(tail, size), size)[: len(wave)])


def distant(rng: Rng, wave: Signal) -> Signal:
    """The same sound from far away: highs lost to the air, more room than direct sound."""
    size = next_fast_len(len(wave), real=True)
    f = rfftfreq(size, 1 / SAMPLE_RATE)
    dull = irfft(rfft(wave, size) / np.sqrt(1 + (f / 1100.0) ** 4), size)[: len(wave)]
    return room(rng, np.asarray(dull), 0.9, 0.9)


def unit_peak(wave: Signal) -> Signal:
    """Scale to a peak of one; silence stays silent."""
    peak = np.max(np.abs(wave), initial=0.0)
    return wave / peak if peak > 1e-9 else wave
