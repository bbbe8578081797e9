"""Scenes of things that hit: hammer, knuckles, keys, bell, shoes."""

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.synthesis.scenes.canvas import Colour
from audio_agent_zoo.synthesis.scenes.motion import smooth
from audio_agent_zoo.synthesis.scenes.stage import (
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


def hammering(stage: Stage) -> None:
    """A hammer swings down on an anvil or a nail in a block, and sparks fly."""
    pen, skin, steel, handle = stage.pen, stage.pick(SKIN), stage.pick(METAL), stage.pick(WOOD)
    if stage.rng.random() < 0.5:
        pen.box(-0.22 + 0.42j, 0.5, 0.24, lighter(steel, -0.35), corner=0.02)
        pen.box(-0.22 + 0.36j, 0.2, 0.2, lighter(steel, -0.4))
        pen.convex([-0.5 + 0.2j, 0.06 + 0.2j, -0.02 + 0.32j, -0.36 + 0.32j], lighter(steel, -0.25), corner=0.02)
    else:
        pen.box(-0.22 + 0.42j, 0.62, 0.28, stage.pick(WOOD), corner=0.02)
        pen.box(-0.22 + 0.24j, 0.035, 0.12, steel)
        pen.box(-0.22 + 0.19j, 0.09, 0.03, steel)
    turn = 1.15 * stage.motion.lift(fall_s=0.085, rise_s=0.25, rest=0.5)
    pen.glow(-0.22 + 0.16j, 0.34, LIGHT, 0.9 * stage.motion.burst(0.1))
    stage.sparks(pen, -0.22 + 0.18j, 0.3, LIGHT, count=8)
    arm = pen.posed(0.34 + 0.08j, turn)
    pen.stroke(0.75 + 0.5j, 0.36 + 0.1j, 0.17, stage.pick(CLOTH), 0.13)
    arm.stroke(0.02 + 0j, -0.56 + 0j, 0.055, handle)
    arm.box(-0.56 - 0.0j, 0.15, 0.24, steel, corner=0.03)
    arm.box(-0.56 + 0.075j, 0.17, 0.05, lighter(steel, 0.35), corner=0.01)
    arm.disk(0j, 0.085, skin)
    for k in range(3):
        arm.stroke((-0.06 + 0.045 * k) - 0.05j, (-0.06 + 0.045 * k) + 0.045j, 0.04, lighter(skin, -0.12), edge=False)


def door_knock(stage: Stage) -> None:
    """A fist raps at a panelled door, which trembles."""
    pen, wood, skin = stage.pen, stage.pick(WOOD if stage.rng.random() < 0.6 else CLOTH), stage.pick(SKIN)
    tremble = 0.012 * stage.motion.burst(0.06) * np.sin(90 * stage.motion.since)
    pen.box(-0.14 + 0j, 0.72, 1.3, lighter(wood, -0.45))
    door = pen.posed(tremble + 0j)
    door.box(-0.14 + 0j, 0.64, 1.24, wood, edge=False)
    for y in (-0.32, 0.26):
        for x in (-0.29, 0.01):
            door.box(x + 1j * y, 0.22, 0.44, lighter(wood, -0.28), corner=0.01, edge=False)
            door.box(x + 0.012 + 1j * (y + 0.012), 0.18, 0.4, lighter(wood, 0.12), corner=0.01, edge=False)
    door.disk(-0.4 + 0.03j, 0.04, stage.pick(BRASS))
    lift = stage.motion.lift(fall_s=0.1, rise_s=0.25, rest=0.6, ready_s=0.2)
    hit = 0.0 - 0.1j
    stage.sparks(pen, hit, 0.3, WHITE, count=9, upward=False)
    hand = pen.posed(hit + lift * (0.27 + 0.14j), 0.45 - 0.5 * lift, 1.0 + 0.25 * lift)
    hand.stroke(0.2 + 0.02j, 0.8 + 0.1j, 0.2, stage.pick(CLOTH), 0.26)
    hand.box(0.11 + 0j, 0.26, 0.15, skin, corner=0.06)
    hand.box(0.05 + 0j, 0.2, 0.21, skin, corner=0.07)
    for k in range(4):
        hand.box(-0.015 + 1j * (-0.075 + 0.05 * k), 0.1, 0.046, lighter(skin, -0.1), corner=0.02)
    hand.stroke(0.02 + 0.1j, 0.11 + 0.09j, 0.05, lighter(skin, 0.08))


def typing(stage: Stage) -> None:
    """A finger comes down on a key of a keyboard, and a letter appears on the screen."""
    pen, rng, motion = stage.pen, stage.rng, stage.motion
    case, skin = stage.pick(METAL), stage.pick(SKIN)
    dark = rng.random() < 0.5
    key_colour = lighter(case, -0.75) if dark else lighter(case, 0.75)
    pen.box(0 - 0.3j, 0.86, 0.46, lighter(case, -0.6), corner=0.03)
    pen.box(0 - 0.3j, 0.78, 0.37, np.array([0.1, 0.14, 0.2]) if dark else np.array([0.9, 0.93, 0.95]), edge=False)
    _text(stage, 7, lighter(stage.pick(BRIGHT), 0.2))
    pen.convex([-0.46 + 0.0j, 0.46 + 0.0j, 0.54 + 0.36j, -0.54 + 0.36j], case, corner=0.02)
    rows, columns = np.array([0.05, 0.145, 0.24]), 9
    for y in rows:
        for k in range(columns):
            pen.box((k - 4) * (0.098 + 0.03 * y) + 1j * y, 0.08, 0.075, key_colour, corner=0.015, edge=False)
    pen.box(0 + 0.325j, 0.45, 0.05, key_colour, corner=0.015, edge=False)
    order = rng.permutation(6)
    pressed = np.clip(1.5 - motion.since / 0.09, 0, 1) * (motion.since < 1)
    tips = [side * (0.13 + 0.1 * k) + 1j * rows[1] - 0.02j * (k == 1) for side in (-1, 1) for k in range(3)]
    for finger, tip in enumerate(tips):
        glow = pressed * (motion.each(1.0 * (order == finger), before=0.0) > 0)
        pen.box(tip - 0.01j, 0.15, 0.14, LIGHT, corner=0.03, opacity=glow)
    for side, first in ((-1, 0), (1, 3)):
        _typing_hand(stage, side, tips[first : first + 3], order, first, skin)


def _typing_hand(
    stage: Stage, side: int, tips: list[complex], order: NDArray[np.intp], first: int, skin: Colour
) -> None:
    """A hand over the keys whose finger for the next event is raised and comes down at its onset."""
    pen, motion = stage.pen, stage.motion
    lift = motion.lift(fall_s=0.09, rise_s=0.2, rest=0.25, ready_s=0.12)
    coming = motion.each(np.roll(order, -1), before=float(order[0]))
    used = motion.each(order, before=-1.0)
    mine = np.where((used >= first) & (used < first + 3), motion.burst(0.12), 0.0)
    hand = pen.posed(0.04j * mine)
    palm = side * 0.25 + 0.43j
    for k, tip in enumerate(tips):
        acting = (np.where(motion.until < 0.21, coming, used) == first + k) * 1.0
        up = (0.03 + 0.14 * lift * acting - 0.05 * acting * mine) * -1j
        hand.stroke(palm + side * 0.07 * (k - 1) - 0.05j, tip + up, 0.095, lighter(skin, 0.03 * k), 0.075)
        hand.disk(tip + up, 0.018, lighter(skin, 0.5), edge=False)
    hand.stroke(palm - side * 0.06, side * 0.06 + 0.34j, 0.085, skin, 0.07)
    hand.stroke(palm + 0.12j, palm + side * 0.05 + 0.4j, 0.22, stage.pick(CLOTH), 0.28)
    hand.ellipse(palm + 0.02j, 0.13, 0.12, skin)


def _text(stage: Stage, columns: int, colour: Colour) -> None:
    """Letters on the screen, one more with each event."""
    typed = (stage.motion.last + 1) % (2 * columns + 1)
    for line in range(2):
        for k in range(columns):
            shown = 1.0 * (typed > line * columns + k)
            at = -0.33 + 0.66 * k / (columns - 1) + 1j * (-0.39 + 0.17 * line)
            width, height = stage.rng.uniform(0.04, 0.09, 2)
            stage.pen.box(at, width, 0.11, colour, opacity=shown, edge=False)
            stage.pen.box(at + 0.3j * height, 0.5 * width, 0.03, lighter(colour, -0.6), opacity=shown, edge=False)


def church_bell(stage: Stage) -> None:
    """A bell in its frame: the clapper strikes the rim and the bell swings away, slower and slower."""
    pen, motion, wood = stage.pen, stage.motion, stage.pick(WOOD)
    bronze = stage.pick(BRASS if stage.rng.random() < 0.7 else METAL)
    for x in (-0.46, 0.46):
        pen.box(x + 0.06j, 0.1, 1.2, wood)
    pen.box(0 - 0.46j, 1.04, 0.11, lighter(wood, -0.15))
    age = np.maximum(motion.since, 0)
    side = motion.each([1.0, -1.0])
    swing = side * motion.size * 0.5 * np.sin(2 * np.pi * 0.9 * age) * np.exp(-age / 1.6) * (motion.last >= 0)
    ahead = motion.each([-1.0, 1.0], before=1.0)
    fling = smooth((0.32 - motion.until) / 0.2) - 2.0 * smooth((0.13 - motion.until) / 0.13)
    strike = -0.6 * side * np.exp(-age / 0.15) * (motion.last >= 0) - 0.55 * ahead * fling * motion.next_size
    bell = pen.posed(0 - 0.4j, swing)
    clapper = pen.posed(0 - 0.2j, -0.5 * swing - strike)
    clapper.stroke(0j, 0.5j, 0.03, lighter(bronze, -0.6))
    clapper.disk(0.54j, 0.075, lighter(bronze, -0.55))
    bell.box(0 + 0.02j, 0.12, 0.1, lighter(bronze, -0.4), corner=0.02)
    bell.ellipse(0 + 0.2j, 0.19, 0.17, bronze)
    bell.convex([-0.185 + 0.18j, 0.185 + 0.18j, 0.26 + 0.48j, -0.26 + 0.48j], bronze)
    bell.convex([-0.26 + 0.46j, 0.26 + 0.46j, 0.35 + 0.58j, -0.35 + 0.58j], bronze)
    bell.box(0.0 + 0.3j, 0.37, 0.025, lighter(bronze, -0.3), edge=False)
    bell.box(0.0 + 0.57j, 0.7, 0.035, lighter(bronze, -0.3), corner=0.015, edge=False)
    bell.stroke(-0.09 + 0.12j, -0.15 + 0.5j, 0.04, lighter(bronze, 0.45), edge=False)
    hum = np.clip(1 - age / 0.7, 0, 1) * (motion.last >= 0) * motion.size
    bell.ring(0.0 + 0.45j, 0.42 + 0.25 * np.minimum(age, 1), 0.012, lighter(bronze, 0.6), opacity=0.5 * hum)


def footsteps(stage: Stage) -> None:
    """Two legs walk: at each event a shoe comes down in front and dust puffs up."""
    pen, motion = stage.pen, stage.motion
    ground, trousers, shoe = stage.pick(WOOD), stage.pick(CLOTH), lighter(stage.pick(CLOTH), -0.45)
    step = motion.approach(0.6)
    stride = motion.last + step  # whole at each landing
    pen.box(0 + 0.62j, 1.6, 0.4, ground)
    for k in range(5):
        x = (k * 0.32 - 0.32 * stride) % 1.6 - 0.8
        pen.ellipse(x + 0.5j, 0.05, 0.018, lighter(ground, -0.3), edge=False)
    bob = 0.03 * np.sin(np.pi * step) * (motion.until < 5) - 0.05 * motion.burst(0.07)
    hip = 0.0 + 1j * (-0.42 - bob)
    dust = np.clip(1 - motion.since / 0.22, 0, 1) * (motion.since < 1)
    for foot in (1, 0):
        cloth = lighter(trousers, -0.3) if foot else trousers
        coming = (motion.last + 1) % 2 == foot
        reach = np.where(coming, step * 2 - 1, 1 - 2 * step) * 0.17
        high = np.where(coming, motion.next_size * 0.2 * np.sin(np.pi * step**2.5), 0.0)
        ankle = reach + 1j * (0.36 - high)
        knee = 0.5 * (hip + ankle) + 0.05 + 0.8 * high
        pen.stroke(hip, knee, 0.2, cloth, 0.16)
        pen.stroke(knee, ankle, 0.15, cloth, 0.11)
        shoe_pen = pen.posed(ankle, np.where(coming, 0.5 * np.cos(np.pi * step) * (step > 0) * (step < 1), 0.0))
        shoe_pen.ellipse(0.06 + 0.03j, 0.14, 0.055, shoe)
        shoe_pen.box(0.05 + 0.075j, 0.27, 0.03, lighter(shoe, 0.6), corner=0.012, edge=False)
    for k in (-1, 0, 1):
        at = 0.24 + k * (0.06 + 0.5 * np.minimum(motion.since, 0.3)) + 1j * (0.44 - 0.3 * np.minimum(motion.since, 0.3))
        pen.glow(at, 0.15 * motion.size, lighter(ground, 0.6), dust)
    pen.box(0 - 0.5j, 0.3, 0.2, lighter(trousers, -0.1), corner=0.05)
