"""Sounds that go on: weather, water, fire, machines and insects, for any number of samples."""

import numpy as np

from audio_agent_zoo.synthesis.dsp import (
    Rng,
    Signal,
    add,
    arc,
    band_noise,
    contour,
    decay,
    drift,
    harmonics,
    modes,
    seconds,
    shaped_noise,
    time_axis,
    unit_peak,
)
from audio_agent_zoo.synthesis.style import Strike, Style


def rain(rng: Rng, n: int, style: Style) -> Signal:
    """Rain: a bright hiss with single drops on top; heavier rain is denser and darker."""
    heavy = style.material == "heavy"
    light = style.material == "light"
    hiss = band_noise(rng, n, 500 if heavy else 1500, 7800, tilt=-0.25 if heavy else 0.1)
    wave = (0.25 if light else 0.6 if heavy else 0.45) * hiss * (1 + 0.05 * drift(rng, n, 2))
    drop_n = seconds(0.02)
    for _ in range(int(n / 16_000 * (45 if light else 30))):
        drop = np.sin(2 * np.pi * np.cumsum(contour(drop_n, [(0, rng.uniform(1800, 5500)), (1, 6500)])) / 16_000)
        add(
            wave,
            (1.6 if light else 1.0) * rng.uniform(0.2, 1) * drop * decay(drop_n, 0.016),
            int(rng.integers(0, n)),
        )
    return wave


def wind(rng: Rng, n: int, style: Style) -> Signal:
    """Wind: a whistle that wanders over low rushing air."""
    rush = band_noise(rng, n, 60, 500, tilt=-0.6) * (1 + 0.5 * np.tanh(drift(rng, n, 0.7)))
    centre = style.hertz(330, 480, 700) * 2 ** (0.35 * np.tanh(drift(rng, n, 0.8)))
    carrier = np.exp(1j * 2 * np.pi * np.cumsum(centre) / 16_000)
    slow = shaped_noise(rng, n, lambda f: 1 / (1 + (f / 45) ** 2))
    other = shaped_noise(rng, n, lambda f: 1 / (1 + (f / 45) ** 2))
    howl = (carrier * (slow + 1j * other)).real * (0.6 + 0.4 * np.tanh(drift(rng, n, 0.8)))
    return np.asarray(0.5 * rush + 0.6 * howl)


def ocean_waves(rng: Rng, n: int, style: Style) -> Signal:
    """Surf: swells of noise every few seconds that brighten as they break."""
    t = time_axis(n)
    period = rng.uniform(3.0, 4.5)
    phase = (t / period + rng.random()) % 1.0
    swell = np.where(phase < 0.45, (phase / 0.45) ** 2, np.exp(-4.5 * (phase - 0.45)))
    return np.asarray(
        band_noise(rng, n, 70, 900, tilt=-0.5) * (0.25 + 0.75 * swell)
        + 0.6 * band_noise(rng, n, 900, 6000, tilt=-0.5) * swell**2
    )


def stream(rng: Rng, n: int, style: Style) -> Signal:
    """Running water: many small bubbles, each a rising, damped sine."""
    wave = 0.1 * band_noise(rng, n, 300, 3500, tilt=-0.4)
    for _ in range(int(n / 16_000 * 75)):
        m = seconds(rng.uniform(0.02, 0.06))
        hz = style.hertz(450, 650, 900) * rng.uniform(0.6, 2.4)
        bubble = np.sin(2 * np.pi * np.cumsum(contour(m, [(0, hz), (1, hz * rng.uniform(1.1, 1.5))])) / 16_000)
        add(wave, rng.uniform(0.1, 0.6) * bubble * arc(m, 0.1, 0.8), int(rng.integers(-m, n)))
    return wave


def fire(rng: Rng, n: int, style: Style) -> Signal:
    """A fire: sparse snaps of every size over a soft low roar."""
    wave = 0.05 * band_noise(rng, n, 50, 400, tilt=-0.5) * (1 + 0.3 * drift(rng, n, 3))
    for _ in range(max(3, int(n / 16_000 * rng.uniform(14, 24)))):
        m = seconds(rng.uniform(0.004, 0.03))
        snap = band_noise(rng, m, rng.uniform(500, 2500), 7500) * decay(m, m / 16_000, 0.0004)
        add(wave, rng.pareto(2.5) * 0.3 * unit_peak(snap), int(rng.integers(0, n)))
    return np.asarray(np.tanh(wave))


def engine(rng: Rng, n: int, style: Style) -> Signal:
    """A car's engine: firing pulses, idling, driving or revving."""
    base = style.hertz(24, 34, 48)
    position = np.linspace(0, 1, n)
    if style.material == "revving":
        surge = np.abs(np.sin(np.pi * (position * n / 16_000 / rng.uniform(1.0, 1.6) + rng.random()))) ** 1.5
        rate = base * (1 + 2.2 * surge)
    elif style.material == "accelerating":
        rate = base * (1 + 2.5 * position**1.2)
    else:
        rate = base * (1 + 0.02 * drift(rng, n, 3))
    weights = 1 / (1 + np.arange(60)) ** 0.55 * rng.uniform(0.5, 1.0, 60)
    tone = harmonics(rate, lambda k, f: weights[(k - 1) % 60] * np.exp(-f / 650) * (1.5 if k % 2 == 0 else 0.7), 60)
    air = band_noise(rng, n, 150, 1800, tilt=-0.6) * (rate / rate.max())
    return np.asarray(unit_peak(tone) + 0.1 * air)


def helicopter(rng: Rng, n: int, style: Style) -> Signal:
    """A helicopter: blades chopping low air, with a turbine's whine far behind."""
    rate = style.hertz(8.5, 11, 14)
    phase = (rate * time_axis(n) + rng.random()) % 1.0
    chop = np.exp(-7 * phase) * np.minimum(1, phase / 0.04)
    low = band_noise(rng, n, 50, 450, tilt=-0.3) * (0.15 + chop)
    high = band_noise(rng, n, 600, 2500, tilt=-0.5) * (0.25 + 0.6 * chop)
    whine = np.sin(2 * np.pi * np.cumsum(1450 * (1 + 0.01 * drift(rng, n, 2))) / 16_000)
    return np.asarray(low + 0.25 * high + 0.03 * whine)


def crickets(rng: Rng, n: int, style: Style) -> Signal:
    """Crickets: several insects, each a gated high tone of three or four pulses."""
    t, wave = time_axis(n), np.zeros(n)
    for i in range(int(rng.integers(2, 4))):
        hz = style.hertz(3700, 4400, 5200) * rng.uniform(0.95, 1.05)
        pulses = np.maximum(0, np.sin(2 * np.pi * rng.uniform(26, 34) * t)) ** 0.7
        gate = ((t * rng.uniform(1.8, 2.6) + rng.random()) % 1.0) < 0.42
        wave += np.sin(2 * np.pi * hz * t) * pulses * gate * (1.0 if i == 0 else 0.4)
    return np.asarray(wave + 0.01 * rng.standard_normal(n))


def siren(rng: Rng, n: int, style: Style) -> Signal:
    """An emergency siren: a wail that sweeps, or two tones in turn."""
    t = time_axis(n)
    cycle = t / style_period(style, 3.0, 0.5) + rng.random()
    if style.material == "two-tone":
        f = np.where(cycle % 1.0 < 0.5, 440.0, 585.0)
    else:
        f = style.hertz(550, 650, 750) * 2 ** (0.55 * (1 - np.cos(2 * np.pi * cycle)))
    return harmonics(f, lambda k, hz: np.exp(-hz / 2200) * (1.0 if k % 2 else 0.5), 8)


def style_period(style: Style, slow_s: float, quick_s: float) -> float:
    """Seconds per cycle at this pace (geometric between the two ends)."""
    return float(slow_s * (quick_s / slow_s) ** ((style.pace + 1) / 2))


def thunder(rng: Rng, style: Style) -> Strike:
    """Thunder: a tearing crack (when near), then a rumble that rolls for seconds."""
    n = seconds(rng.uniform(2.5, 4.5))
    rolls = 0.55 + 0.45 * np.tanh(1.3 * drift(rng, n, 5))
    rumble = band_noise(rng, n, 22, 190, tilt=-0.3) * rolls * decay(n, 1.25 * n / 16_000, 0.05)
    wave = unit_peak(rumble)
    if style.material != "rumble":
        m = seconds(0.6)
        tear = band_noise(rng, m, 150, 5000, tilt=-0.5) * decay(m, 0.5, 0.004) * (1 + 0.7 * np.tanh(drift(rng, m, 60)))
        add(wave, 1.1 * unit_peak(tear), 0)
    return Strike(wave, body_s=1.5)


def toilet_flush(rng: Rng, style: Style) -> Strike:
    """A flush: the lever's clunk, water rushing and swirling, then gurgling away."""
    n = seconds(rng.uniform(3.0, 4.5))
    level = contour(n, [(0, 0.1), (0.06, 1), (0.5, 0.9), (0.75, 0.45), (1, 0.0)])
    swirl = 1 + 0.35 * np.sin(2 * np.pi * np.cumsum(contour(n, [(0, 3), (0.6, 6), (1, 9)])) / 16_000)
    rush = band_noise(rng, n, 180, 1700, tilt=-0.3) * level * swirl
    wave = unit_peak(rush + 0.4 * band_noise(rng, n, 1500, 5500, tilt=-0.4) * level)
    for _ in range(int(n / 16_000 * 16)):
        m, at = seconds(rng.uniform(0.04, 0.1)), rng.uniform(0.35, 1.0)
        hz = rng.uniform(180, 420)
        gurgle = np.sin(2 * np.pi * np.cumsum(contour(m, [(0, hz), (1, 1.7 * hz)])) / 16_000)
        add(wave, 0.35 * gurgle * arc(m, 0.2, 0.5), int(at * n))
    add(wave, 0.8 * unit_peak(modes(rng, seconds(0.2), [240, 610, 1300], [0.12, 0.07, 0.05])), 0)
    return Strike(wave, body_s=2.5)


def sharpen(rng: Rng, style: Style) -> Strike:
    """A blade drawn over a steel: scraping noise that climbs, and the blade's ring."""
    length = style_period(style, 0.55, 0.22) * rng.uniform(0.9, 1.1)
    n = seconds(length)
    centre = contour(n, [(0, 3000), (1, 5600)]) * rng.uniform(0.95, 1.05) * 1.12**style.pitch
    carrier = np.exp(1j * 2 * np.pi * np.cumsum(centre) / 16_000)
    soft = shaped_noise(rng, n, lambda f: 1 / (1 + (f / 700) ** 2))
    scrape = (carrier * (soft + 1j * shaped_noise(rng, n, lambda f: 1 / (1 + (f / 700) ** 2)))).real * arc(n, 0.15, 0.2)
    wave = np.zeros(n + seconds(0.25))
    add(wave, unit_peak(scrape), 0)
    add(
        wave,
        0.3 * unit_peak(modes(rng, seconds(0.5), np.array([3150, 4700, 6600]) * 1.1**style.pitch, [0.45, 0.3, 0.2])),
        n - seconds(0.3 * length),
    )
    return Strike(wave, body_s=length)
