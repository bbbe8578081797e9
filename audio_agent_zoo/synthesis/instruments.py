"""Bowed strings, brass and signals: harmonic spectra that follow how hard one plays."""

import numpy as np

from audio_agent_zoo.synthesis.dsp import (
    Rng,
    Signal,
    arc,
    band_noise,
    contour,
    harmonics,
    seconds,
    time_axis,
    unit_peak,
)
from audio_agent_zoo.synthesis.style import Strike, Style

_SCALE = np.array([0, 2, 4, 5, 7, 9, 11, 12])


def _note(rng: Rng, root_hz: float) -> float:
    return float(root_hz * 2 ** (rng.choice(_SCALE) / 12))


def _length(rng: Rng, style: Style, slow_s: float, quick_s: float) -> float:
    middle = np.sqrt(slow_s * quick_s)
    other = quick_s if style.pace > 0 else slow_s
    return float(middle * (other / middle) ** abs(style.pace) * rng.uniform(0.9, 1.1))


def _vibrato(rng: Rng, n: int, depth: float) -> Signal:
    t = time_axis(n)
    return 1 + depth * np.sin(2 * np.pi * rng.uniform(5, 6.2) * t) * np.clip((t - 0.12) / 0.25, 0, 1)


def _bowed(
    rng: Rng,
    style: Style,
    root_hz: float,
    body: tuple[tuple[float, float], ...],
    slow_s: float,
    quick_s: float,
) -> Strike:
    length = _length(rng, style, slow_s, quick_s)
    n = seconds(length)
    f0 = _note(rng, root_hz) * _vibrato(rng, n, 0.006)

    def envelope(k: int, f: Signal) -> Signal:
        peaks = sum(level / (1 + ((f - centre) / (0.3 * centre)) ** 2) for centre, level in body)
        return np.asarray((0.25 + peaks) / k**0.9)

    tone = unit_peak(harmonics(f0, envelope, 30))
    scratch = band_noise(rng, n, 1500, 6000) * contour(n, [(0, 1), (0.12, 0.15), (1, 0.12)])
    return Strike((tone + 0.04 * scratch) * arc(n, 0.12, 0.15), body_s=length)


def cello(rng: Rng, style: Style) -> Strike:
    """One bow stroke on a cello."""
    return _bowed(rng, style, style.hertz(65, 82, 110), ((220, 1.2), (420, 0.8), (1000, 0.4)), 0.9, 0.3)


def violin(rng: Rng, style: Style) -> Strike:
    """One bow stroke on a violin."""
    return _bowed(rng, style, style.hertz(294, 392, 523), ((500, 0.8), (1200, 0.9), (2800, 1.0)), 0.8, 0.22)


def _brass(rng: Rng, f0: Signal, length: float, brightness: float) -> Strike:
    """The louder a brass player blows, the more upper partials sound: each starts a little later."""
    n = len(f0)
    pressure = arc(n, 0.08, 0.18) * contour(n, [(0, 0.8), (0.15, 1.0), (0.4, 0.85), (1, 0.8)])
    points = np.arange(0, n, 64)

    def envelope(k: int, f: Signal) -> Signal:
        return np.asarray(pressure[points] ** (1 + 0.25 * k) * np.exp(-f / brightness) * (1 if k > 1 else 0.8))

    return Strike(
        unit_peak(harmonics(f0, envelope, 24)) + 0.01 * band_noise(rng, n, 500, 3000) * pressure,
        body_s=length,
    )


def trumpet(rng: Rng, style: Style) -> Strike:
    """One note on a trumpet: bright, with a quick attack."""
    length = _length(rng, style, 0.8, 0.18)
    n = seconds(length)
    return _brass(rng, _note(rng, style.hertz(233, 311, 415)) * _vibrato(rng, n, 0.004), length, 2200)


def trombone(rng: Rng, style: Style) -> Strike:
    """One note on a trombone: low, and slid into from the side."""
    length = _length(rng, style, 1.0, 0.35)
    n = seconds(length)
    slide = contour(n, [(0, rng.uniform(0.86, 0.95)), (0.3, 1), (0.8, 1), (1, rng.uniform(0.92, 1.0))])
    return _brass(rng, _note(rng, style.hertz(62, 82, 104)) * slide, length, 900)


def car_horn(rng: Rng, style: Style) -> Strike:
    """A two-tone electric horn, switched on and off at once."""
    length = _length(rng, style, 1.1, 0.3)
    n = seconds(length)
    low = style.hertz(290, 360, 440) * rng.uniform(0.97, 1.03)
    buzz = sum(harmonics(np.full(n, low * ratio), lambda k, f: np.exp(-f / 2600), 18) for ratio in (1.0, 1.26))
    gate = np.minimum(1, np.minimum(time_axis(n), time_axis(n)[::-1]) / 0.012)
    return Strike(unit_peak(np.asarray(buzz)) * gate, body_s=length)
