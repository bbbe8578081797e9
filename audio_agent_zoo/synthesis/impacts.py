"""Sounds of things that hit, break and fire: modal resonators behind short noise bursts."""

import numpy as np

from audio_agent_zoo.synthesis.dsp import (
    Rng,
    add,
    band_noise,
    contour,
    decay,
    modes,
    room,
    seconds,
    unit_peak,
)
from audio_agent_zoo.synthesis.style import Strike, Style


def hammer(rng: Rng, style: Style) -> Strike:
    """A hammer blow on a metal bar (inharmonic ring) or on wood (short, low, dry)."""
    n = seconds(0.9)
    if style.material == "wood":
        base = style.hertz(110, 170, 260)
        body = modes(rng, n, base * np.array([1, 1.9, 2.8, 4.3, 6.1]), [0.22, 0.16, 0.11, 0.07, 0.05])
        click = band_noise(rng, n, 300, 3000) * decay(n, 0.03)
        return Strike(unit_peak(body) + 0.5 * unit_peak(click), body_s=0.12)
    base = style.hertz(620, 900, 1350)
    ring = modes(
        rng,
        n,
        base * np.array([1, 1.47, 2.09, 2.76, 3.6, 4.9, 6.3]),
        np.array([1.1, 0.9, 0.8, 0.6, 0.5, 0.3, 0.2]) * 0.8,
    )
    click = band_noise(rng, n, 1500, 7500) * decay(n, 0.025)
    return Strike(unit_peak(ring) + 0.7 * unit_peak(click), body_s=0.2)


def footstep(rng: Rng, style: Style) -> Strike:
    """Heel then toe on gravel (grains), wood (hollow modes) or a hard floor."""
    n = seconds(0.35)
    wave = np.zeros(n)
    for at, level in ((0.0, 1.0), (rng.uniform(0.06, 0.1), 0.6)):
        if style.material == "gravel":
            for _ in range(rng.integers(14, 26)):
                grain = band_noise(rng, seconds(0.012), 1200, 6500) * decay(seconds(0.012), 0.01)
                add(wave, level * rng.uniform(0.2, 1.0) * grain, seconds(at + rng.exponential(0.025)))
        else:
            hollow = style.material == "wood"
            base = style.hertz(70, 95, 130) * (1.3 if hollow else 1.0)
            thump = modes(rng, n, base * np.array([1, 1.7, 2.6, 3.9]), 0.12 if hollow else 0.07)
            slap = band_noise(rng, n, 400, 2200 if hollow else 4500) * decay(n, 0.03)
            add(wave, level * (unit_peak(thump) + 0.35 * unit_peak(slap)), seconds(at))
    return Strike(wave, body_s=0.15)


def knock(rng: Rng, style: Style) -> Strike:
    """Knuckles on a wooden door: a few boxy modes, gone in a tenth of a second."""
    n = seconds(0.3)
    base = style.hertz(190, 260, 340)
    body = modes(rng, n, base * np.array([1, 1.35, 2.1, 3.2, 5.0]), [0.12, 0.1, 0.08, 0.05, 0.03])
    return Strike(unit_peak(body) + 0.25 * unit_peak(band_noise(rng, n, 800, 4000) * decay(n, 0.015)), body_s=0.08)


def glass(rng: Rng, style: Style) -> Strike:
    """A crack, then shards that ring high and scatter for most of a second."""
    n = seconds(1.1)
    wave = 1.2 * unit_peak(band_noise(rng, n, 1500, 7800) * decay(n, 0.09))
    for _ in range(int(rng.integers(18, 34))):
        m = seconds(0.3)
        shard = modes(rng, m, rng.uniform(2200, 7200, 3) * 1.1**style.pitch, rng.uniform(0.06, 0.28, 3))
        add(wave, rng.uniform(0.1, 0.5) * unit_peak(shard), seconds(min(rng.exponential(0.18), 0.8)))
    return Strike(wave, body_s=0.6)


def church_bell(rng: Rng, style: Style) -> Strike:
    """A cast bell: hum, prime, minor tierce, quint, nominal and their slow beats."""
    n = seconds(3.5)
    base = style.hertz(150, 230, 380)
    ratios = np.array([0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 2.67, 3.01, 4.1]) * rng.normal(1, 0.003, 9)
    times = np.array([5.0, 3.6, 2.8, 2.0, 2.4, 1.2, 1.1, 0.9, 0.6])
    ring = modes(rng, n, base * np.concatenate([ratios, ratios * 1.003]), np.concatenate([times, times]))
    return Strike(unit_peak(ring) + 0.12 * unit_peak(band_noise(rng, n, 1500, 6000) * decay(n, 0.03)), body_s=1.2)


def tick(rng: Rng, style: Style) -> Strike:
    """One tick of a clock: a tiny, high, damped click."""
    n = seconds(0.08)
    base = style.hertz(1500, 2300, 3200) * rng.choice([1.0, 0.86])
    return Strike(modes(rng, n, base * np.array([1, 1.62, 2.4]), [0.03, 0.02, 0.012]), body_s=0.03)


def clap(rng: Rng, style: Style) -> Strike:
    """Two palms: three bursts within a few milliseconds, round about 1-2 kHz."""
    n = seconds(0.25)
    wave = np.zeros(n)
    centre = style.hertz(800, 1150, 1600) * rng.uniform(0.9, 1.15)
    for at in (0.0, 0.004, 0.009):
        add(
            wave,
            band_noise(rng, n, centre * 0.6, centre * 1.7) * decay(n, 0.09, 0.0005),
            seconds(at + rng.uniform(0, 0.002)),
        )
    return Strike(wave, body_s=0.08)


def key_press(rng: Rng, style: Style) -> Strike:
    """A key of a keyboard: the press, and a softer release just after."""
    n = seconds(0.14)
    wave = np.zeros(n)
    for at, level in ((0.0, 1.0), (rng.uniform(0.05, 0.085), 0.4)):
        base = style.hertz(1000, 1600, 2300) * rng.uniform(0.85, 1.2)
        clack = modes(rng, n, base * np.array([1, 1.9, 3.1]), [0.03, 0.02, 0.015])
        noise = band_noise(rng, n, 2000, 7000) * decay(n, 0.02)
        add(wave, level * (0.6 * unit_peak(clack) + unit_peak(noise)), seconds(at))
    return Strike(wave, body_s=0.08)


def cap_gun(rng: Rng, style: Style) -> Strike:
    """A cap going off: a dry crack, all treble, and a spring."""
    n = seconds(0.3)
    crack = band_noise(rng, n, 1200, 7800) * decay(n, 0.05, 0.0003)
    spring = modes(rng, n, style.hertz(2400, 3100, 3900) * np.array([1, 1.31]), 0.12)
    return Strike(unit_peak(crack) + 0.12 * unit_peak(spring), body_s=0.06)


def gun_shot(rng: Rng, style: Style) -> Strike:
    """One round of an automatic gun: muzzle blast with a heavy low body."""
    n = seconds(0.22)
    blast = band_noise(rng, n, 120, 3500, tilt=-0.4) * decay(n, 0.13, 0.0004)
    thump = np.sin(2 * np.pi * np.cumsum(contour(n, [(0, 190), (0.3, 75), (1, 60)])) / 16_000) * decay(n, 0.12)
    return Strike(unit_peak(blast) + 0.6 * thump, body_s=0.07)


def explosion(rng: Rng, style: Style) -> Strike:
    """A blast: a shock, a falling boom and debris that rumbles away."""
    n = seconds(2.6)
    shock = unit_peak(band_noise(rng, n, 60, 4000, tilt=-0.5) * decay(n, 0.35, 0.002))
    boom = unit_peak(band_noise(rng, n, 25, 180) * decay(n, 2.2, 0.01))
    rumble = unit_peak(band_noise(rng, n, 40, 700, tilt=-0.7) * decay(n, 2.4, 0.05))
    return Strike(room(rng, 1.1 * shock + 0.9 * boom + 0.5 * rumble, 1.5, 0.25), body_s=1.2)


def bowling(rng: Rng, style: Style) -> Strike:
    """A ball rolls down the lane and scatters wooden pins; the crash is the onset."""
    lead = float(rng.uniform(0.5, 1.0))
    roll_n = seconds(lead)
    roll = band_noise(rng, roll_n, 50, 420, tilt=-0.4) * np.linspace(0.35, 1, roll_n) ** 1.5
    roll *= 1 + 0.35 * np.sin(2 * np.pi * rng.uniform(7, 11) * np.arange(roll_n) / 16_000)
    wave = np.zeros(seconds(lead + 0.9))
    add(wave, 0.3 * unit_peak(roll), 0)
    for i in range(int(rng.integers(12, 20))):
        m = seconds(0.2)
        pin = modes(rng, m, rng.uniform(650, 1250) * np.array([1, 1.63, 2.5, 3.7]), [0.13, 0.1, 0.06, 0.04])
        late = 0.0 if i < 3 else min(rng.exponential(0.14), 0.6)
        add(wave, rng.uniform(0.3, 1.0) * unit_peak(pin) * (1.0 if late < 0.1 else 0.5), seconds(lead + late))
    return Strike(wave, lead_s=lead, body_s=0.4)
