"""Scenes of things that fire, burst and scatter: guns, an explosion, glass, bowling pins."""

import numpy as np

from audio_agent_zoo.synthesis.scenes.canvas import Pen, Point
from audio_agent_zoo.synthesis.scenes.motion import Frames, smooth
from audio_agent_zoo.synthesis.scenes.stage import (
    BLACK,
    BRIGHT,
    CLOTH,
    FLAME,
    LIGHT,
    METAL,
    SKIN,
    WHITE,
    WOOD,
    Stage,
    lighter,
)

_SMOKE = np.array([0.78, 0.78, 0.8])
_GLASSES = ((0.7, 0.9, 0.95), (0.55, 0.8, 0.6), (0.85, 0.6, 0.4), (0.65, 0.7, 0.95))


def _smoke(stage: Stage, pen: Pen, at: Point, rise: float, reach: float) -> None:
    """A puff that leaves `at` at each onset, grows, climbs and thins out."""
    age = np.clip(stage.motion.since, 0, 1.2)
    opacity = 0.75 * stage.motion.size * np.exp(-age / 0.3) * (stage.motion.since < 1.2)
    for k in (-1, 0, 1):
        drift = (0.08 + 0.25 * age) * reach * (1 + 0.4 * k) - 1j * age * rise * (1 - 0.25 * k)
        pen.glow(at + drift, (0.1 + 0.25 * age) * (1 - 0.2 * k), _SMOKE, opacity)


def _flash(stage: Stage, pen: Pen, at: Point, reach: float) -> None:
    """A star of fire at a muzzle, gone after a frame or two and never twice the same."""
    motion = stage.motion
    glow = np.clip(1.25 - motion.since / 0.055, 0, 1) * (motion.since < 0.5)
    long = reach * motion.size * motion.each(stage.rng.uniform(0.75, 1.15, 7))
    pen.glow(at + 0.3 * long, 1.1 * long, LIGHT, 0.75 * glow)
    for way in (0.0, -0.55, 0.55):
        tip = at + long * (1 - 0.45 * abs(way)) * np.exp(1j * way)
        side = 0.1 * long * 1j * np.exp(1j * way)
        pen.convex(
            [
                at - side,
                at + 0.3 * (tip - at) - 1.5 * side,
                tip,
                at + 0.3 * (tip - at) + 1.5 * side,
                at + side,
            ],
            FLAME,
            opacity=glow,
            edge=False,
        )
    pen.stroke(at, at + 0.55 * long, 0.09, WHITE, 0.02, opacity=glow, edge=False)


def cap_gun(stage: Stage) -> None:
    """A toy revolver in a hand: hammer and trigger snap, the barrel kicks, a spark and a puff at the cap."""
    motion, toy, skin = stage.motion, stage.pick(BRIGHT), stage.pick(SKIN)
    kick = motion.burst(0.1)
    ready = smooth((0.35 - motion.until) / 0.3)
    gun = stage.pen.posed(-0.28 + 0.2j - 0.03 * kick - 0.05j * kick, -0.38 * kick + 0.02 * stage.idle())
    gun.stroke(-0.12 + 0.2j, -0.45 + 0.62j, 0.2, stage.pick(CLOTH), 0.26)
    cock = gun.posed(-0.05 - 0.12j, -0.9 * ready)
    cock.stroke(0j, -0.02 - 0.11j, 0.06, lighter(toy, -0.45))
    cock.stroke(-0.02 - 0.11j, -0.08 - 0.12j, 0.04, lighter(toy, -0.45))
    gun.convex([-0.08 - 0.06j, 0.1 - 0.02j, 0.02 + 0.3j, -0.16 + 0.28j], lighter(toy, -0.3), corner=0.02)
    gun.ring(0.14 + 0.05j, 0.075, 0.03, lighter(toy, -0.2))
    gun.box(0.36 - 0.13j, 0.56, 0.09, toy, corner=0.02)
    gun.box(0.64 - 0.13j, 0.1, 0.115, np.array([0.98, 0.5, 0.08]), corner=0.02)
    gun.box(0.1 - 0.1j, 0.34, 0.17, toy, corner=0.03)
    gun.box(0.14 - 0.1j, 0.17, 0.2, lighter(toy, 0.3), corner=0.03)
    for y in (-0.155, -0.1, -0.045):
        gun.box(0.14 + 1j * y, 0.15, 0.02, lighter(toy, -0.3), edge=False)
    gun.box(-0.06 + 0.13j, 0.17, 0.24, skin, turn=0.25, corner=0.06)
    for k in range(3):
        gun.stroke(-0.1 + 0.1j + 0.065j * k, 0.07 + 0.12j + 0.065j * k - 0.02 * k, 0.06, lighter(skin, -0.06 * k))
    gun.stroke(0.0 + 0.06j, 0.16 - 0.05 * kick + 0.045j, 0.05, lighter(skin, 0.08))
    pop = np.clip(1.2 - motion.since / 0.07, 0, 1) * (motion.since < 0.5)
    gun.glow(0.0 - 0.2j, 0.26 * motion.size, LIGHT, pop)
    stage.sparks(gun, 0.0 - 0.18j, 0.24, FLAME, count=6)
    _smoke(stage, gun, 0.0 - 0.22j, 0.5, 0.1)


def machine_gun(stage: Stage) -> None:
    """A machine gun on its tripod: every shot has its muzzle flash, its kick and its flying case."""
    motion, steel = stage.motion, lighter(stage.pick(METAL), -0.5)
    kick = motion.burst(0.05)
    pen, belt = stage.pen.posed(-0.06 - 0.03j, 0.0, 1.12), stage.pick(((0.85, 0.68, 0.25), (0.7, 0.55, 0.3)))
    for foot in (-0.4 + 0.5j, -0.02 + 0.52j, 0.22 + 0.5j):
        pen.stroke(-0.1 + 0.12j, foot, 0.05, lighter(steel, -0.3), 0.035)
    gun = pen.posed(-0.12 + 0.04j - 0.05 * kick, -0.035 * kick + 0.02 * stage.idle())
    gun.box(-0.05 + 0.2j, 0.2, 0.2, stage.pick(((0.35, 0.4, 0.22), (0.45, 0.42, 0.3))), corner=0.02)
    for k in range(4):
        run = (0.25 * k + 0.25 * smooth(motion.since / 0.06)) % 1
        gun.stroke(-0.1 + 0.055 * k + 1j * (0.02 + 0.03 * run), -0.1 + 0.055 * k + 0.1j, 0.035, belt, edge=False)
    gun.box(-0.38 + 0.06j, 0.16, 0.12, stage.pick(WOOD), turn=-0.15, corner=0.02)
    gun.box(-0.12 - 0.0j, 0.42, 0.16, steel, corner=0.02)
    gun.box(0.25 - 0.02j, 0.4, 0.1, lighter(steel, 0.15), corner=0.02)
    for k in range(5):
        gun.disk(0.1 + 0.07 * k - 0.02j, 0.018, BLACK, edge=False)
    gun.box(0.5 - 0.02j, 0.18, 0.05, steel)
    gun.stroke(0.44 - 0.05j, 0.44 - 0.12j, 0.025, steel)
    gun.stroke(-0.22 + 0.06j, -0.28 + 0.2j, 0.06, lighter(steel, -0.3))
    _flash(stage, gun, 0.59 - 0.02j, 0.32)
    age = np.clip(motion.since, 0, 0.4)
    case = -0.1 - 0.1 * age * 3 - 1j * (0.08 + 2.4 * age - 9 * age**2)
    gun.stroke(case, case + 0.05 * np.exp(20j * age), 0.035, belt, opacity=1.0 * (motion.since < 0.35), edge=False)
    _smoke(stage, gun, 0.6 - 0.05j, 0.3, 0.4)


def explosion(stage: Stage) -> None:
    """Fuel drums blow up: a flash, a fireball that grows and darkens to smoke, and flying pieces."""
    motion, rng, pen = stage.motion, stage.rng, stage.pen
    drum, size = stage.pick(BRIGHT), motion.size
    age = np.clip(motion.since, 0, 3)
    shown = motion.since < 3
    shake = 0.02 * motion.burst(0.25) * np.exp(40j * motion.t)
    pen.ellipse(0 + 0.45j, 0.5, 0.06, lighter(drum, -0.8), opacity=0.5, edge=False)
    hidden = np.where(shown & (age < 0.9), 0.0, 1.0)
    for x, tilt in ((-0.16, 0.0), (0.14, 0.1), (-0.02, -0.05)):
        can = pen.posed(x + 0.27j + shake, tilt)
        can.box(0j, 0.24, 0.36, drum, corner=0.03, opacity=np.maximum(hidden, 0.0))
        for y in (-0.07, 0.07):
            can.box(1j * y, 0.25, 0.025, lighter(drum, -0.35), opacity=hidden, edge=False)
        can.ellipse(0 - 0.18j, 0.12, 0.035, lighter(drum, 0.25), opacity=hidden)
        can.convex([-0.05 + 0.03j, 0.05 + 0.03j, 0 - 0.05j], LIGHT, opacity=hidden, edge=False)
    fuse = np.clip(1 - motion.until / 0.45, 0, 1) * (motion.until < 0.45)
    pen.glow(-0.02 + 0.05j, 0.05 + 0.14 * fuse, FLAME, fuse)
    growth = (1 - np.exp(-(age + 0.05) / 0.12)) * size
    fade = np.exp(-age / 0.75) * shown
    dark = np.clip(age / 0.7, 0, 1)[:, None]
    outer = (1 - dark) * FLAME * np.array([1, 0.75, 0.8]) + dark * np.array([0.22, 0.2, 0.2])
    middle = (1 - dark) * FLAME + dark * np.array([0.4, 0.22, 0.15])
    for colour, reach, spread in ((outer, 0.3, 0.3), (middle, 0.22, 0.22)):
        for k in range(6):
            way = np.exp(-1j * np.pi * (k + rng.uniform(0.1, 0.9)) / 6)
            at = 0.18j + growth * (spread * way - 0.25j * np.minimum(age, 1.0)) + shake
            pen.disk(at, growth * reach * rng.uniform(0.75, 1.1), colour, np.clip(1.6 * fade, 0, 1), soft=0.05)
    heat = np.clip(1.2 - age / 0.35, 0, 1) * shown
    pen.disk(0.1j + shake, growth * 0.26, LIGHT, heat, soft=0.08)
    for _ in range(9):
        way = np.exp(-1j * np.pi * rng.uniform(0.08, 0.92)) * rng.uniform(0.7, 1.4) * size
        flying = 0.2j + way * age + 0.9j * age**2
        pen.box(
            flying,
            rng.uniform(0.03, 0.08),
            0.03,
            lighter(drum, -0.6),
            turn=rng.uniform(4, 12) * age,
            opacity=1.0 * (motion.since < 1.1),
            edge=False,
        )
    pen.disk(0.1j, 0.9 * size, WHITE, 0.85 * np.clip(1.1 - age / 0.1, 0, 1) * shown * size, soft=0.5)


def glass_breaking(stage: Stage) -> None:
    """A glass tips off a shelf, falls, and bursts on the floor into shards that fly and stay."""
    motion, rng, pen = stage.motion, stage.rng, stage.pen
    glass, wood = stage.pick(_GLASSES), stage.pick(WOOD)
    floor, shelf = 0.46, -0.06
    pen.box(-0.36 + 1j * (shelf + 0.03), 0.6, 0.06, wood)
    pen.convex(
        [-0.6 + 1j * (shelf + 0.06), -0.3 + 1j * (shelf + 0.06), -0.6 + 1j * (shelf + 0.3)],
        lighter(wood, -0.25),
    )
    pen.box(0 + 1j * (floor + 0.1), 1.6, 0.2, lighter(wood, -0.2))
    age = np.clip(motion.since, 0, 2.5)
    for _ in range(14):
        way = rng.uniform(-1, 1)
        throw = 0.9 * motion.size * (way - 1j * rng.uniform(0.6, 1.6))
        flight = -2 * throw.imag / 3.6
        dt = np.minimum(age, flight)
        at = 0.14 + 0.05 * way + throw.real * dt + 1j * (floor - 0.02 + throw.imag * dt + 1.8 * dt**2)
        size = rng.uniform(0.03, 0.07)
        corners = [at + size * np.exp(1j * (rng.uniform(3, 9) * dt + a)) for a in (0.0, 2.4, 4.2)]
        pen.convex(corners, lighter(glass, rng.uniform(0.0, 0.5)), opacity=1.0 * (motion.since < 10))
    burst = np.clip(1.2 - motion.since / 0.1, 0, 1) * (motion.since < 0.5)
    pen.glow(0.14 + 1j * (floor - 0.05), 0.4 * motion.size, lighter(glass, 0.7), burst)
    stage.sparks(pen, 0.14 + 1j * (floor - 0.02), 0.5, WHITE, count=11)
    fall = motion.approach(0.42)
    drop = np.clip((fall - 0.25) / 0.75, 0, 1) ** 2
    back = np.maximum(smooth((motion.since - 0.25) / 0.15), 1.0 * (fall > 0.5))
    whole = back * (motion.more | (motion.last < 0))
    tip = smooth(fall / 0.4)
    base = -0.14 + 0.28 * tip + 1j * (shelf + drop * (floor - shelf - 0.02))
    cup = pen.posed(base, 0.35 * tip + 1.1 * drop)
    cup.box(0 - 0.015j, 0.16, 0.03, glass, corner=0.01, opacity=whole)
    cup.box(0 - 0.09j, 0.035, 0.16, lighter(glass, -0.15), opacity=whole)
    cup.convex([-0.11 - 0.33j, 0.11 - 0.33j, 0.06 - 0.15j, -0.06 - 0.15j], glass, corner=0.02, opacity=whole)
    cup.stroke(-0.06 - 0.3j, -0.035 - 0.18j, 0.025, WHITE, opacity=whole, edge=False)


def bowling(stage: Stage) -> None:
    """A ball rolls up the lane, smaller and smaller, and at the onset the pins fly apart."""
    motion, rng, pen = stage.motion, stage.rng, stage.pen.posed(0.07j)
    lane, ball = lighter(stage.pick(WOOD), 0.3), stage.pick(BRIGHT)
    pen.convex([-0.3 - 0.22j, 0.3 - 0.22j, 0.75 + 0.8j, -0.75 + 0.8j], lighter(lane, -0.55))
    pen.convex([-0.22 - 0.22j, 0.22 - 0.22j, 0.5 + 0.8j, -0.5 + 0.8j], lane)
    for x in (-0.35, -0.12, 0.12, 0.35):
        pen.stroke(x * 0.44 - 0.2j, x + 0.8j, 0.012, lighter(lane, -0.2), edge=False)
    pen.box(0 - 0.38j, 0.62, 0.34, lighter(lane, -0.75), corner=0.02)
    pen.box(0 - 0.53j, 0.7, 0.1, stage.pick(CLOTH), corner=0.02)
    age = np.clip(motion.since, 0, 1.0)
    reset = motion.more & ((motion.since > 0.9) | (motion.until < 0.25))
    fallen = np.where((motion.last < 0) | reset, 0.0, age + 0.03)
    for row, count in ((0, 4), (1, 3), (2, 2), (3, 1)):
        for k in range(count):
            x, y = 0.135 * (k - 0.5 * (count - 1)), -0.29 + 0.05 * row
            way = np.sign(x + rng.normal(0, 0.03)) * rng.uniform(0.3, 0.9) * motion.size
            fly = rng.uniform(0.3, 1.0) * motion.size
            dt = 0.26 * (1 - np.exp(-fallen / 0.07))  # fastest at the blow
            at = x + way * dt + 1j * (y - fly * dt + 0.4 * fallen**2)
            spin = np.sign(way) * smooth(fallen / 0.25) * rng.uniform(1.2, 2.2)
            _pin(pen.posed(at, spin, 1.25 + 0.12 * row), np.clip((1 - fallen) / 0.6, 0, 1))
    roll = motion.approach(0.8)
    depth = 0.85 / (1 + 2.2 * roll)
    shown = np.clip(roll / 0.15, 0, 1) * (motion.until < 0.8)
    spot = pen.posed(1j * (-0.49 + 1.0 * depth), 0.0, depth)
    spot.ellipse(0.02 + 0.15j, 0.17, 0.05, BLACK, opacity=0.4 * shown, edge=False)
    spot.disk(0j, 0.19, ball, shown)
    for k in range(3):
        spot.disk(0.11 * np.exp(1j * (18 * roll + 0.55 * k)), 0.03, BLACK, shown, edge=False)
    hit = motion.burst(0.12)
    pen.glow(0 - 0.28j, 0.34 * motion.size, WHITE, 0.9 * hit)
    pen.disk(0 - 0.25j, 0.05, ball, hit)
    stage.sparks(pen, 0 - 0.26j, 0.5, WHITE, count=11)


def _pin(pen: Pen, shown: Frames) -> None:
    pen.stroke(0 - 0.0j, 0 - 0.12j, 0.085, WHITE, 0.035, opacity=shown)
    pen.disk(0 - 0.15j, 0.032, WHITE, shown)
    pen.box(0 - 0.105j, 0.05, 0.022, np.array([0.85, 0.15, 0.15]), opacity=shown, edge=False)
