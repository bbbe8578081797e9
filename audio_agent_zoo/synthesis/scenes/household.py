"""Scenes of devices and tools: a clock, a knife on its steel, a toilet, a car's horn."""

import numpy as np

from audio_agent_zoo.synthesis.scenes.motion import smooth
from audio_agent_zoo.synthesis.scenes.stage import (
    BLACK,
    BRASS,
    BRIGHT,
    CLOTH,
    LIGHT,
    METAL,
    SKIN,
    WHITE,
    WOOD,
    Stage,
    lighter,
)

_WATER = np.array([0.45, 0.7, 0.88])
_CERAMIC = ((0.95, 0.95, 0.94), (0.9, 0.85, 0.75), (0.75, 0.85, 0.85))


def clock_ticking(stage: Stage) -> None:
    """A pendulum clock: at every tick the hand jumps and the pendulum flies to its other side."""
    motion, pen, case = (
        stage.motion,
        stage.pen.posed(-0.1j, 0.0, 0.82),
        stage.pick(WOOD if stage.rng.random() < 0.7 else CLOTH),
    )
    brass = stage.pick(BRASS)
    pen.box(0 + 0.42j, 0.44, 0.6, lighter(case, -0.15), corner=0.03)
    pen.box(0 + 0.42j, 0.34, 0.5, lighter(case, -0.6), corner=0.02, edge=False)
    reach = 0.2 + 0.22 * motion.size
    side = np.where(motion.last < 0, -1.0, motion.each([1.0, -1.0]))
    turn = reach * side * (2 * smooth((motion.since + 0.02) / 0.14) - 1)
    pendulum = pen.posed(0 + 0.12j, -turn)
    pendulum.stroke(0j, 0.4j, 0.025, brass)
    pendulum.disk(0.43j, 0.085, brass)
    pendulum.disk(-0.02 + 0.41j, 0.04, lighter(brass, 0.5), edge=False)
    pen.disk(0 - 0.14j, 0.37, case)
    pen.disk(0 - 0.14j, 0.31, lighter(stage.pick(_CERAMIC), 0.4), edge=False)
    for k in range(12):
        way = np.exp(2j * np.pi * k / 12)
        pen.stroke(-0.14j + 0.25 * way, -0.14j + 0.285 * way, 0.03 if k % 3 == 0 else 0.018, BLACK, edge=False)
    hour, minute = stage.rng.uniform(0, 2 * np.pi, 2)
    pen.stroke(-0.14j, -0.14j + 0.14 * np.exp(1j * hour), 0.04, BLACK, edge=False)
    pen.stroke(-0.14j, -0.14j + 0.21 * np.exp(1j * minute), 0.03, BLACK, edge=False)
    steps = motion.last + smooth((motion.since + 0.02) / 0.06)
    hand = pen.posed(0 - 0.14j, 2 * np.pi / 10 * steps + stage.rng.uniform(0, 6))
    red = stage.pick(((0.85, 0.1, 0.1), (0.1, 0.2, 0.8)))
    hand.stroke(-0.06 + 0j, 0.25 + 0j, 0.03, red, 0.015, edge=False)
    hand.disk(0.2 + 0j, 0.035, red, edge=False)
    pen.disk(0 - 0.14j, 0.035, red, edge=False)


def knife_sharpening(stage: Stage) -> None:
    """A knife is laid on a sharpening steel and drawn from its guard to its tip with each stroke."""
    motion, skin, steel = stage.motion, stage.pick(SKIN), stage.pick(METAL)
    grip = stage.pick(WOOD if stage.rng.random() < 0.5 else CLOTH)
    pen, cloth = stage.pen, stage.pick(CLOTH)
    rod = pen.posed(-0.1 + 0.38j, 0.18 + 0.015 * stage.idle())
    rod.stroke(-0.1 + 0.1j, -0.45 + 0.5j, 0.18, cloth, 0.24)
    rod.stroke(0 - 0.06j, 0 - 0.88j, 0.05, lighter(steel, -0.25), 0.03)
    rod.stroke(0.004 - 0.1j, 0.004 - 0.84j, 0.012, lighter(steel, 0.4), edge=False)
    rod.stroke(0 + 0.0j, 0 + 0.2j, 0.09, grip)
    rod.box(0 - 0.03j, 0.17, 0.035, lighter(steel, -0.4), corner=0.01)
    rod.ellipse(0 + 0.1j, 0.1, 0.085, skin)
    for k in range(3):
        rod.stroke(-0.07 + 0.06j + 0.05j * k, 0.07 + 0.05j + 0.05j * k, 0.045, lighter(skin, -0.06 * k))
    share = np.where(motion.last < 0, 0.0, 1 - (1 - motion.share()) ** 3.5)
    reach = 0.3 + 0.28 * motion.size
    slide = np.where(motion.last < 0, 0.1, 0.02 + reach * share)
    pause = np.clip(motion.since + motion.until - 0.3, 0.12, 0.4)
    back = smooth((pause - motion.until) / (pause - 0.03))
    slide = slide + (0.02 - slide) * back
    touching = np.clip(1.8 * motion.on(0.03, 0.15), 0, 1)
    knife = rod.posed(0.12 - 0.1 * touching - 1j * (0.15 + slide), -0.5 + 0.4 * touching)
    drawn = knife.posed(0.22 - 0.26 * share * (1 - back) + 0j)
    drawn.convex([-0.36 - 0.01j, -0.28 + 0.06j, 0.2 + 0.075j, 0.2 - 0.055j, -0.22 - 0.05j], lighter(steel, 0.25))
    drawn.stroke(-0.3 - 0.02j, 0.18 - 0.035j, 0.015, WHITE, edge=False)
    drawn.stroke(0.22 + 0.01j, 0.44 + 0.02j, 0.085, grip)
    drawn.stroke(0.4 + 0.04j, 0.9 + 0.3j, 0.18, cloth, 0.24)
    drawn.ellipse(0.35 + 0.02j, 0.11, 0.085, skin)
    glint = np.clip(1.1 - motion.since / 0.12, 0, 1) * (motion.since < 1)
    rod.glow(0 - 1j * (0.13 + slide), 0.1 * motion.size, LIGHT, glint)


def toilet_flushing(stage: Stage) -> None:
    """The lever goes down, water streams along the bowl, swirls and sinks, and stands again at the end."""
    motion, pen, white = stage.motion, stage.pen, stage.pick(_CERAMIC, 0.03)
    on = motion.on(attack_s=0.12, release_s=0.5)
    skin, metal = stage.pick(SKIN), stage.pick(METAL)
    pen.box(0 - 0.3j, 0.78, 0.36, lighter(white, -0.06), corner=0.04)
    pen.box(0 - 0.49j, 0.84, 0.07, white, corner=0.02)
    pen.box(0 + 0.52j, 0.5, 0.4, lighter(white, -0.15), corner=0.08)
    pen.ellipse(0 + 0.24j, 0.46, 0.37, white)
    pen.ellipse(0 + 0.24j, 0.37, 0.28, lighter(white, -0.22))
    swirl = 9.0 * np.clip(motion.since, 0, 60)
    level = 1 - 0.5 * on
    water = pen.posed(0 + 0.27j)
    water.ellipse(0j, 0.31 * level, 0.215 * level, _WATER, edge=False)
    water.ellipse(0j, 0.1, 0.07, lighter(_WATER, -0.6), opacity=on, edge=False)
    for k in range(3):
        arm = 2 * np.pi * k / 3 + swirl
        curve = [
            r * level * (np.cos(arm + bend) + 0.7j * np.sin(arm + bend))
            for r, bend in ((0.29, 0.0), (0.2, 0.7), (0.07, 1.5))
        ]
        water.path(curve, 0.045, WHITE, opacity=np.clip(1.6 * on, 0, 1), edge=False)
    for k in range(7):
        x = 0.1 * (k - 3)
        foot = x * 0.85 + 1j * (0.02 + 0.1 * ((3.0 * motion.t + 0.37 * k) % 1))
        pen.stroke(
            x - 0.0j + 0.02j * abs(k - 3),
            foot + 0.08j,
            0.03,
            lighter(_WATER, 0.6),
            opacity=np.clip(1.4 * on, 0, 1),
            edge=False,
        )
    press = smooth((0.12 - motion.until) / 0.1) + smooth((motion.since + 0.06) / 0.08) * (
        1 - smooth((motion.since - 0.45) / 0.3)
    )
    press = np.clip(press, 0, 1)
    lever = pen.posed(-0.3 - 0.36j, 0.65 * press)
    lever.stroke(0j, 0.22 + 0j, 0.06, metal)
    pen.disk(-0.3 - 0.36j, 0.05, lighter(metal, -0.2))
    near = smooth((0.45 - motion.until) / 0.3) + 1 - smooth((motion.since - 0.4) / 0.5)
    reach = 1 - np.clip(near, 0, 1)
    finger = lever.posed(0.2 - 0.06j - 0.45j * reach - 0.2 * reach)
    finger.stroke(-0.2 - 0.5j, -0.02 - 0.16j, 0.2, stage.pick(CLOTH), 0.14)
    finger.stroke(-0.03 - 0.14j, 0j, 0.1, skin, 0.07)


def car_horn(stage: Stage) -> None:
    """Behind a steering wheel: a hand leaves the rim and presses the horn for as long as it sounds."""
    motion, pen, skin = stage.motion, stage.pen, stage.pick(SKIN)
    dash, cloth = lighter(stage.pick(METAL), -0.65), stage.pick(CLOTH)
    on = motion.on(attack_s=0.03, release_s=0.07)
    room = stage.backdrop
    pen.convex([-0.16 - 0.12j, 0.16 - 0.12j, 0.5 + 0.2j, -0.5 + 0.2j], np.array([0.35, 0.35, 0.37]), edge=False)
    car = pen.posed(0 - 0.24j + 0.01j * stage.idle(1.0))
    paint = stage.pick(BRIGHT)
    car.box(0 - 0.07j, 0.28, 0.16, lighter(paint, -0.1), corner=0.05)
    car.box(0 - 0.08j, 0.22, 0.09, np.array([0.25, 0.32, 0.4]), corner=0.02, edge=False)
    car.box(0 + 0.06j, 0.4, 0.16, paint, corner=0.04)
    for x in (-0.15, 0.15):
        car.box(x + 0.05j, 0.07, 0.05, np.array([0.9, 0.1, 0.1]), corner=0.01, edge=False)
        car.box(x + 0.15j, 0.08, 0.06, BLACK, corner=0.01, edge=False)
    for x in (0.0, 1.0):
        room.stroke(
            x - 0.1 + 0.6j,
            x + (0.12 if x < 0.5 else -0.12) - 0.1j - 0.1 * (1 - 2 * x),
            0.07,
            lighter(dash, -0.2),
            edge=False,
        )
    room.box(0.5 + 0.05j - 0.06j, 1.4, 0.1, lighter(dash, -0.2), edge=False)
    room.ellipse(0.5 + 0.98j, 0.95, 0.4, dash, edge=False)
    push = 0.02 * on
    wheel = pen.posed(0 + 0.33j, 0.05 * stage.idle(0.25) + 0.02 * on * np.sin(40 * motion.t))
    wheel.ring(0j, 0.38, 0.085, lighter(dash, 0.25), edge=True)
    for way in (0.0, np.pi, np.pi / 2):
        wheel.stroke(0j, 0.36 * np.exp(1j * way), 0.09, lighter(dash, 0.1), 0.06)
    wheel.disk(1j * push, 0.15 - 0.02 * on, lighter(dash, 0.3))
    wheel.disk(1j * push, 0.085 - 0.015 * on, lighter(paint, 0.1) * 0.6 + 0.4 * LIGHT * on[:, None] + 0.0, edge=False)
    for side in (-1,):
        rim = side * 0.36 - 0.1j
        wheel.stroke(side * 0.62 + 0.5j, rim, 0.17, cloth, 0.12)
        wheel.disk(rim, 0.085, skin)
    hit = motion.lift(fall_s=0.1, rise_s=0.12, rest=1.0, ready_s=0.2)
    out = np.where(on > 0, 0.0, hit)
    palm = wheel.posed(0.04 + 0.02j + out * (0.34 - 0.2j), 0.5 * out, 1 + 0.12 * out)
    palm.stroke(0.12 + 0.12j, 0.6 + 0.6j, 0.15, cloth, 0.22)
    for k in range(4):
        palm.stroke(0j, -0.16 + 0.05 * k - 1j * (0.07 + 0.03 * k), 0.06, lighter(skin, -0.03 * k), 0.05)
    palm.ellipse(0.03 + 0.03j, 0.1, 0.1, skin)
