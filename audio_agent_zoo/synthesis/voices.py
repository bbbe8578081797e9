"""Sounds of people and animals: harmonic sources under moving formants."""

import numpy as np

from audio_agent_zoo.synthesis.dsp import (
    Formants,
    Rng,
    Signal,
    add,
    arc,
    band_noise,
    contour,
    control,
    decay,
    drift,
    seconds,
    time_axis,
    unit_peak,
    voice,
)
from audio_agent_zoo.synthesis.style import Strike, Style

_VOWELS = (
    (730, 1090, 2440),
    (270, 2290, 3010),
    (300, 870, 2240),
    (530, 1840, 2480),
    (570, 840, 2410),
    (490, 1350, 1690),
)


def bark(rng: Rng, style: Style) -> Strike:
    """A bark: pitch jumps up and falls, the mouth opens and shuts, and the breath is rough."""
    n = seconds(rng.uniform(0.16, 0.24))
    top = style.hertz(330, 560, 980) * rng.uniform(0.93, 1.07)
    f0 = contour(n, [(0, 0.55 * top), (0.25, top), (1, 0.5 * top)])
    size = 1.25**style.pitch
    tract = [(560 * size, 180.0, 1.0), (1250 * size, 260.0, 0.8), (2600 * size, 400.0, 0.35)]
    wave = voice(rng, f0, tract, tilt=0.7, breath=0.55, jitter=0.04)
    return Strike(wave * arc(n, 0.12, 0.55), body_s=n / 16_000)


def meow(rng: Rng, style: Style) -> Strike:
    """A meow: the mouth opens from "mi" to "a" and rounds to "ow" on an arched pitch."""
    n = seconds(rng.uniform(0.55, 0.9))
    top = style.hertz(430, 620, 900) * rng.uniform(0.95, 1.06)
    f0 = contour(n, [(0, 0.75 * top), (0.35, top), (0.7, 0.93 * top), (1, 0.68 * top)])
    first = control(contour(n, [(0, 450), (0.4, 1150), (1, 600)]))
    second = control(contour(n, [(0, 2600), (0.4, 2000), (1, 1050)]))
    wave = voice(rng, f0, [(first, 160.0, 1.0), (second, 260.0, 0.7), (3700.0, 500.0, 0.25)], tilt=0.9, breath=0.05)
    return Strike(wave * arc(n, 0.15, 0.35), body_s=n / 16_000)


def crow(rng: Rng, style: Style) -> Strike:
    """A rooster's call: three short cries and a long one that climbs, breaks and sinks."""
    top = style.hertz(620, 760, 920) * rng.uniform(0.97, 1.03)
    wave = np.zeros(seconds(2.0))
    at = 0.0
    for length, low, high in ((0.17, 0.6, 0.72), (0.15, 0.7, 0.78), (0.22, 0.78, 1.0), (0.85, 0.95, 1.05)):
        n = seconds(length * rng.uniform(0.95, 1.1))
        f0 = top * contour(n, [(0, low), (0.3, high), (0.75, high * 0.93), (1, low * 0.8)])
        cry = voice(rng, f0, [(1150.0, 260.0, 1.0), (2300.0, 350.0, 0.9), (3500.0, 500.0, 0.4)], tilt=0.5, breath=0.12)
        add(wave, cry * arc(n, 0.12, 0.3), seconds(at))
        at += n / 16_000 + 0.035
    return Strike(wave[: seconds(at)], body_s=at)


def baby_cry(rng: Rng, style: Style) -> Strike:
    """A wail: high, strained, with a wavering pitch, then a gasp for breath."""
    n, gasp = seconds(rng.uniform(0.7, 1.1)), seconds(0.2)
    top = style.hertz(380, 460, 560) * rng.uniform(0.96, 1.05)
    waver = 1 + 0.03 * np.sin(2 * np.pi * rng.uniform(5, 8) * time_axis(n))
    f0 = contour(n, [(0, 0.78 * top), (0.2, top), (0.75, 0.97 * top), (1, 0.7 * top)]) * waver
    cry = voice(
        rng,
        f0,
        [(1050.0, 200.0, 1.0), (1500.0, 250.0, 0.6), (3300.0, 500.0, 0.6)],
        tilt=0.6,
        breath=0.1,
        jitter=0.015,
    )
    breath = band_noise(rng, gasp, 900, 4000) * arc(gasp, 0.6, 0.3)
    return Strike(np.concatenate([cry * arc(n, 0.1, 0.25), np.zeros(seconds(0.05)), 0.15 * breath]), body_s=n / 16_000)


def croak(rng: Rng, style: Style) -> Strike:
    """A frog: a train of resonant pulses, "rrribbit"."""
    length = rng.uniform(0.3, 0.5)
    n = seconds(length)
    base = style.hertz(420, 720, 1150) * rng.uniform(0.95, 1.05)
    wave, at = np.zeros(n), 0.0
    while at < length:
        m = seconds(0.035)
        t = time_axis(m)
        pulse = np.sin(2 * np.pi * base * t) + 0.6 * np.sin(2 * np.pi * base * 2.35 * t + 1)
        add(wave, pulse * decay(m, 0.028, 0.0015), seconds(at))
        at += 1 / rng.uniform(38, 48)
    return Strike(wave * contour(n, [(0, 0.5), (0.6, 1), (0.95, 0.9), (1, 0)]), body_s=length)


def roar(rng: Rng, style: Style) -> Strike:
    """A lion: a very low, rough voice that swells and sinks, with a growl on top."""
    n = seconds(rng.uniform(1.2, 1.9))
    top = style.hertz(85, 115, 150) * rng.uniform(0.95, 1.08)
    f0 = contour(n, [(0, 0.7 * top), (0.3, top), (1, 0.55 * top)]) * (1 + 0.06 * drift(rng, n, 25))
    tract: Formants = [
        (control(contour(n, [(0, 320), (0.35, 620), (1, 350)])), 140.0, 1.0),
        (1000.0, 220.0, 0.5),
        (2200.0, 500.0, 0.12),
    ]
    rough = 1 + 0.45 * np.sin(2 * np.pi * np.cumsum(27 + 3 * drift(rng, n, 4)) / 16_000)
    growl = band_noise(rng, n, 100, 1300, tilt=-0.5)
    wave = (voice(rng, f0, tract, tilt=0.8, breath=0.3, jitter=0.05) + 0.5 * growl) * rough
    return Strike(wave * arc(n, 0.25, 0.5), body_s=n / 16_000)


def chirp(rng: Rng, style: Style) -> Strike:
    """A bird's phrase: two to five whistled sweeps."""
    base = style.hertz(2300, 3300, 4600)
    wave, at = np.zeros(seconds(0.7)), 0.0
    shape = rng.uniform(0.75, 1.35, 3)
    for _ in range(int(rng.integers(2, 6))):
        n = seconds(rng.uniform(0.05, 0.1))
        f = base * rng.uniform(0.92, 1.08) * contour(n, [(0, shape[0]), (0.5, shape[1]), (1, shape[2])])
        add(wave, np.sin(2 * np.pi * np.cumsum(f) / 16_000) * arc(n, 0.25, 0.4), seconds(at))
        at += n / 16_000 + rng.uniform(0.02, 0.05)
    return Strike(wave[: seconds(at)], body_s=at)


def _phrase(rng: Rng, base_hz: float, size: float) -> Strike:
    """A babbled phrase of syllables: a consonant's noise, then a vowel on a falling melody."""
    count = int(rng.integers(3, 8))
    wave, at = np.zeros(seconds(0.32 * count + 0.1)), 0.0
    for i in range(count):
        if rng.random() < 0.6:
            m = seconds(rng.uniform(0.03, 0.07))
            hiss = band_noise(rng, m, *((2500, 7000) if rng.random() < 0.5 else (800, 3000)))
            add(wave, 0.22 * hiss * arc(m, 0.3, 0.3), seconds(at))
            at += m / 16_000
        n = seconds(rng.uniform(0.11, 0.22))
        here, there = (np.array(_VOWELS[j]) * size for j in rng.integers(0, len(_VOWELS), 2))
        f0 = base_hz * (1.12 - 0.22 * i / count) * contour(n, [(0, 1), (0.4, rng.uniform(1.0, 1.12)), (1, 0.94)])
        move: list[Signal] = [
            control(contour(n, [(0, a), (0.6, a), (1, 0.6 * a + 0.4 * b)])) for a, b in zip(here, there, strict=True)
        ]
        vowel = voice(
            rng,
            f0,
            [(move[0], 90.0, 1.0), (move[1], 120.0, 0.5), (move[2], 170.0, 0.25)],
            tilt=1.0,
            breath=0.03,
        )
        add(wave, vowel * arc(n, 0.2, 0.3) * rng.uniform(0.7, 1), seconds(at))
        at += n / 16_000 + rng.uniform(0.0, 0.04)
    return Strike(unit_peak(wave[: seconds(at)]), body_s=at)


def man_speaking(rng: Rng, style: Style) -> Strike:
    """A phrase in a man's voice."""
    return _phrase(rng, style.hertz(85, 112, 145) * rng.uniform(0.96, 1.04), 1.0)


def woman_speaking(rng: Rng, style: Style) -> Strike:
    """A phrase in a woman's voice."""
    return _phrase(rng, style.hertz(185, 220, 265) * rng.uniform(0.96, 1.04), 1.17)
