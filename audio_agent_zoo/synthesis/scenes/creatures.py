"""Scenes of animals: the mouth, beak or throat opens with the call and shuts at its end."""

import numpy as np

from audio_agent_zoo.synthesis.scenes.canvas import Colour, Curve, Pen
from audio_agent_zoo.synthesis.scenes.stage import (
    BLACK,
    BRIGHT,
    CLOTH,
    FUR,
    MOUTH,
    TONGUE,
    WHITE,
    WOOD,
    Stage,
    lighter,
)

_MANES = ((0.45, 0.22, 0.08), (0.3, 0.16, 0.08), (0.62, 0.34, 0.12))
_LIONS = ((0.85, 0.65, 0.35), (0.78, 0.56, 0.3))
_FROGS = ((0.35, 0.65, 0.25), (0.25, 0.5, 0.3), (0.55, 0.62, 0.25))
_ROOSTERS = ((0.65, 0.25, 0.1), (0.85, 0.8, 0.7), (0.8, 0.5, 0.15), (0.35, 0.2, 0.15))
_BEAK = np.array([0.95, 0.7, 0.15])
_COMB = np.array([0.85, 0.12, 0.12])


def _eye(pen: Pen, at: complex, size: float, iris: Colour, lid: Curve = 1.0) -> None:
    pen.ellipse(at, size, size * lid, iris, edge=False)
    pen.disk(at, 0.5 * size, BLACK, edge=False)
    pen.disk(at - 0.3 * size * (1 + 1j), 0.2 * size, WHITE, edge=False)


def dog_barking(stage: Stage) -> None:
    """A dog from the side: with each bark the head jerks forward and up, and the jaws open wide."""
    motion, fur = stage.motion, stage.pick(FUR)
    dark, pen = lighter(fur, -0.35), stage.pen.posed(-0.06 - 0.02j, 0.0, 0.88)
    on = motion.on(attack_s=0.03, release_s=0.07)
    jerk = motion.burst(0.12)
    wag = 0.35 * np.sin(2 * np.pi * 2.2 * motion.t) * (0.3 + 0.7 * on)
    tail = pen.posed(-0.5 + 0.2j, wag)
    tail.stroke(0j, -0.12 - 0.22j, 0.09, fur, 0.05)
    pen.ellipse(-0.28 + 0.36j, 0.32, 0.21, fur)
    for x in (-0.5, -0.1):
        pen.stroke(x + 0.4j, x + 0.02 + 0.72j, 0.12, dark)
    pen.stroke(-0.12 + 0.3j, 0.06 - 0.06j + 0.04 * jerk, 0.3, fur, 0.24)
    pen.stroke(-0.03 + 0.16j, 0.13 + 0.12j, 0.07, stage.pick(BRIGHT))
    head = pen.posed(0.1 - 0.12j + (0.08 - 0.05j) * jerk, -0.28 * on - 0.1 * jerk)
    lower = head.posed(0.04 + 0.1j, 0.75 * on)
    lower.stroke(0j, 0.3 + 0.05j, 0.11, dark, 0.07)
    lower.stroke(0.08 - 0.035j, 0.27 - 0.005j, 0.055, TONGUE, edge=False)
    head.convex([0.05 + 0.05j, 0.3 + 0.06j, 0.05 + 0.15j + 0.1 * on], MOUTH, edge=False)
    lower.convex([0.24 - 0.02j, 0.28 - 0.02j, 0.26 - 0.075j], WHITE, edge=False)
    head.disk(0j, 0.21, fur)
    head.stroke(0.1 + 0.02j, 0.36 + 0.03j, 0.17, fur, 0.12)
    head.convex([0.28 + 0.08j, 0.33 + 0.08j, 0.305 + 0.15j], WHITE, opacity=1.0 * (on > 0.2), edge=False)
    head.ellipse(0.42 - 0.01j, 0.05, 0.04, BLACK, edge=False)
    _eye(head, 0.1 - 0.09j, 0.045, np.array([0.5, 0.3, 0.1]))
    ear = head.posed(-0.08 - 0.14j, 0.3 * jerk + 0.5 * on)
    ear.ellipse(-0.05 + 0.12j, 0.075, 0.17, dark, turn=0.25)


def cat_meowing(stage: Stage) -> None:
    """A cat's face from the front: pointed ears, whiskers, and a mouth that opens and rounds to a meow."""
    motion, fur, rng = stage.motion, stage.pick(FUR), stage.rng
    on = motion.on(attack_s=0.08, release_s=0.25)
    pen, dark = stage.pen, lighter(fur, -0.35)
    tail = pen.posed(0.26 + 0.66j, 0.3 * stage.idle(0.6))
    tail.path([0j, 0.2 - 0.1j, 0.22 - 0.35j], 0.09, dark)
    pen.ellipse(0 + 0.6j, 0.3, 0.32, fur)
    pen.ellipse(0 + 0.62j, 0.14, 0.24, lighter(fur, 0.4), edge=False)
    head = pen.posed(1j * (-0.05 - 0.08 * on + 0.03 * motion.burst(0.1)), 0.05 * stage.idle() - 0.08 * on)
    for side in (-1, 1):
        back = 0.05 * on * side
        head.convex([side * 0.34 - 0.08j, side * 0.07 - 0.26j, side * 0.3 + back - 0.5j], fur, corner=0.01)
        head.convex([side * 0.29 - 0.16j, side * 0.14 - 0.26j, side * 0.275 + back - 0.42j], TONGUE, edge=False)
    head.ellipse(0j, 0.38, 0.31, fur)
    for x in (-0.09, 0.0, 0.09):
        head.stroke(x - 0.28j, 0.7 * x - 0.17j, 0.03, dark, edge=False)
    iris = stage.pick(((0.5, 0.75, 0.25), (0.9, 0.7, 0.2), (0.4, 0.65, 0.85)))
    for x in (-0.16, 0.16):
        head.ellipse(x - 0.05j, 0.078, 0.07 * (1 - 0.75 * on), iris, edge=False)
        head.ellipse(x - 0.05j, 0.022, 0.062 * (1 - 0.75 * on), BLACK, edge=False)
    for x in (-0.075, 0.075):
        head.ellipse(x + 0.115j, 0.095, 0.07, lighter(fur, 0.45), edge=False)
    head.ellipse(1j * (0.16 + 0.05 * on), 0.035 + 0.065 * on, 0.012 + 0.115 * on, MOUTH, edge=False)
    head.ellipse(1j * (0.19 + 0.09 * on), 0.05 * on, 0.04 * on, TONGUE, opacity=1.0 * (on > 0.25), edge=False)
    for x in (-0.045, 0.045):
        head.convex([x - 0.012 + 0.12j, x + 0.012 + 0.12j, x + 0.165j], WHITE, opacity=1.0 * (on > 0.25), edge=False)
    head.convex([-0.045 + 0.05j, 0.045 + 0.05j, 0 + 0.1j], np.array([0.85, 0.45, 0.45]), edge=False)
    whisker = WHITE if rng.random() < 0.6 and fur.mean() < 0.7 else BLACK
    for side in (-1, 1):
        for slope in (-0.05, 0.0, 0.05):
            head.stroke(side * 0.14 + 0.11j, side * 0.45 + 1j * (0.1 + slope - 0.05 * on), 0.012, whisker, edge=False)


def lion_roaring(stage: Stage) -> None:
    """A lion's head in its mane, thrown back with the roar; the mouth gapes and shows its fangs."""
    motion, rng = stage.motion, stage.rng
    mane, fur = stage.pick(_MANES), stage.pick(_LIONS)
    on = motion.on(attack_s=0.06, release_s=0.4)
    shake = on * 0.01 * np.sin(2 * np.pi * 4.0 * motion.since)
    stage.pen.ellipse(0 + 0.62j, 0.46, 0.34, lighter(fur, -0.15))
    head = stage.pen.posed(shake + 1j * (-0.02 - 0.05 * on), 0.04 * stage.idle() + shake, 1 + 0.12 * on)
    tufts = 13
    for k in range(tufts):
        way = np.exp(2j * np.pi * (k + 0.3 * rng.random()) / tufts)
        head.ellipse(0.36 * way, 0.17, 0.1, lighter(mane, rng.uniform(-0.25, 0.2)), turn=float(np.angle(way)))
    head.disk(0j, 0.38, mane, edge=False)
    for x in (-0.24, 0.24):
        head.disk(x - 0.25j, 0.085, fur)
        head.disk(x - 0.25j, 0.045, lighter(mane, 0.1), edge=False)
    head.ellipse(0 - 0.03j, 0.27, 0.29, fur)
    head.ellipse(1j * (0.2 + 0.08 * on), 0.15 + 0.03 * on, 0.08 + 0.11 * on, lighter(fur, 0.35))
    for x in (-0.125, 0.125):
        head.ellipse(x - 0.1j, 0.055, 0.05 * (1 - 0.6 * on), np.array([0.95, 0.75, 0.2]), edge=False)
        head.ellipse(x - 0.1j, 0.024, 0.045 * (1 - 0.6 * on), BLACK, edge=False)
        head.stroke(
            1.7 * x - 1j * (0.17 + 0.02 * on),
            0.5 * x - 1j * (0.17 - 0.06 * on),
            0.03,
            lighter(mane, -0.2),
            edge=False,
        )
    head.box(0 - 0.02j, 0.11, 0.2, lighter(fur, 0.12), corner=0.04, edge=False)
    head.ellipse(1j * (0.17 + 0.09 * on), 0.07 + 0.06 * on, 0.01 + 0.145 * on, MOUTH, edge=False)
    head.ellipse(1j * (0.22 + 0.13 * on), 0.075 * on, 0.05 * on, TONGUE, opacity=1.0 * (on > 0.25), edge=False)
    for x in (-0.06, 0.06):
        head.convex(
            [x - 0.022 + 0.145j, x + 0.022 + 0.145j, x + 0.145j + 0.1j * on],
            WHITE,
            opacity=1.0 * (on > 0.25),
            edge=False,
        )
        low = 1j * (0.2 + 0.17 * on)
        head.convex(
            [x - 0.018 + low, x + 0.018 + low, x + low - 0.06j * on],
            WHITE,
            opacity=1.0 * (on > 0.3),
            edge=False,
        )
    head.convex([-0.08 + 0.07j, 0.08 + 0.07j, 0 + 0.15j], lighter(mane, -0.5), corner=0.01)


def rooster_crowing(stage: Stage) -> None:
    """A rooster stretches its neck, throws back its head and opens its beak for as long as it crows."""
    motion, rng, body = stage.motion, stage.rng, stage.pick(_ROOSTERS)
    on = motion.on(attack_s=0.07, release_s=0.2)
    quiver = on * 0.015 * np.sin(2 * np.pi * 7 * motion.since)
    pen, tail = stage.pen, lighter(stage.pick(CLOTH), -0.45)
    for k in range(5):
        bend = 0.13 * k
        tip = -0.5 + 0.05 * k - 1j * (0.02 + 0.095 * k) + 0.02 * stage.idle(0.5)
        pen.path(
            [-0.22 + 0.25j, -0.4 + 0.02 * k + 1j * (0.1 - bend), tip],
            0.085,
            lighter(tail, 0.07 * k * rng.random()),
        )
    for x in (-0.12, 0.05):
        pen.stroke(x + 0.4j, x + 0.03 + 0.68j, 0.04, _BEAK, 0.03)
        pen.stroke(x + 0.03 + 0.68j, x + 0.15 + 0.69j, 0.035, _BEAK)
    pen.ellipse(-0.05 + 0.27j, 0.3, 0.2, body, turn=-0.25)
    wing = pen.posed(-0.02 + 0.22j, 0.2 * on + quiver * 8)
    wing.ellipse(-0.12 + 0.05j, 0.18, 0.1, lighter(body, -0.3), turn=-0.1)
    nape = 0.2 + 0.1 * on - 1j * (0.12 + 0.17 * on) + quiver
    pen.stroke(0.12 + 0.22j, nape, 0.27, lighter(body, 0.15), 0.17)
    head = pen.posed(nape, -0.55 * on)
    for k, x in enumerate((-0.07, 0.0, 0.07)):
        head.disk(x - 1j * (0.13 + 0.03 * (k == 1)), 0.055, _COMB)
    head.convex([0.07 - 0.06j, 0.07 + 0.03j, 0.25 - 0.0j - 0.08j * on], _BEAK)
    jaw = head.posed(0.07 + 0.02j, 0.75 * on)
    jaw.convex([0j, -0.01 + 0.05j, 0.15 + 0.01j], lighter(_BEAK, -0.2))
    head.disk(0j, 0.115, lighter(body, 0.15))
    jaw.ellipse(0.02 + 0.11j, 0.04, 0.075, _COMB)
    _eye(head, 0.035 - 0.03j, 0.035, np.array([0.98, 0.8, 0.3]))


def frog_croaking(stage: Stage) -> None:
    """A frog from the front: the pale throat sac swells with every croak."""
    motion, skin = stage.motion, stage.pick(_FROGS)
    on = motion.on(attack_s=0.06, release_s=0.14)
    flutter = on * (1 + 0.12 * np.sin(2 * np.pi * 9 * motion.since))
    pen, belly = stage.pen, lighter(skin, 0.55)
    pen.ellipse(0 + 0.55j, 0.66, 0.13, lighter(stage.pick(_FROGS), -0.35))
    for side in (-1, 1):
        pen.ellipse(side * 0.34 + 0.36j, 0.2, 0.13, lighter(skin, -0.2), turn=side * -0.6)
        pen.stroke(side * 0.22 + 0.26j, side * 0.26 + 0.5j, 0.11, lighter(skin, -0.1))
        for toe in (-0.09, 0, 0.09):
            pen.stroke(side * 0.26 + 0.5j, side * 0.3 + toe + 0.56j, 0.04, lighter(skin, -0.1))
    rise = pen.posed(-0.04j * on, 0.0, 1 + 0.03 * on)
    rise.ellipse(0 + 0.22j, 0.34, 0.28, skin)
    for x in (-0.21, 0.21):
        rise.disk(x - 0.2j, 0.12, skin)
        _eye(rise, x - 0.21j, 0.085, np.array([0.95, 0.85, 0.3]), 1 - 0.45 * on)
    rise.ellipse(0 - 0.03j, 0.38, 0.21, skin)
    rise.path([-0.31 - 0.0j, -0.15 + 0.06j, 0.15 + 0.06j, 0.31 - 0.0j], 0.025, lighter(skin, -0.65), edge=False)
    rise.ellipse(1j * (0.2 + 0.07 * flutter), 0.12 + 0.21 * flutter, 0.06 + 0.19 * flutter, belly)
    rise.ellipse(-0.06 + 1j * (0.16 + 0.02 * flutter), 0.02 + 0.06 * flutter, 0.012 + 0.05 * flutter, WHITE, edge=False)
    for x in (-0.035, 0.035):
        rise.disk(x - 0.09j, 0.014, lighter(skin, -0.6), edge=False)


def bird_chirping(stage: Stage) -> None:
    """A small bird on a twig: the beak flickers open, the head bobs and the tail flicks with each phrase."""
    motion, feathers = stage.motion, stage.pick(BRIGHT)
    on = motion.on(attack_s=0.03, release_s=0.06)
    trill = on * (0.35 + 0.65 * np.abs(np.cos(2 * np.pi * 4.0 * motion.since)))
    hop, pen, wood = motion.burst(0.1), stage.pen, lighter(stage.pick(WOOD), -0.2)
    pen.stroke(-0.75 + 0.36j, 0.75 + 0.3j, 0.06, wood, 0.04)
    for x, y in ((-0.45, 0.25), (0.42, 0.22), (-0.55, 0.42)):
        pen.ellipse(x + 1j * y, 0.1, 0.045, np.array([0.3, 0.55, 0.2]), turn=stage.rng.uniform(-1, 1))
    body = pen.posed(-0.05j * hop, -0.08 * on)
    tail = body.posed(-0.2 + 0.16j, 0.5 * hop - 0.1)
    tail.stroke(0j, -0.3 + 0.12j, 0.1, lighter(feathers, -0.4), 0.07)
    for x in (-0.02, 0.07):
        pen.stroke(x + 0.22j, x + 0.02 + 0.34j, 0.022, lighter(wood, -0.3), edge=False)
    body.ellipse(0.0 + 0.09j, 0.26, 0.19, feathers, turn=-0.45)
    body.ellipse(0.08 + 0.13j, 0.16, 0.13, lighter(feathers, 0.6), turn=-0.7, edge=False)
    wing = body.posed(-0.02 + 0.06j, 0.25 * hop)
    wing.ellipse(-0.1 + 0.05j, 0.19, 0.085, lighter(feathers, -0.3), turn=-0.3)
    head = body.posed(0.15 - 0.13j, -0.3 * trill)
    jaw = head.posed(0.11 + 0.02j, 0.8 * trill)
    head.convex([0.1 - 0.045j, 0.1 + 0.03j, 0.3 - 0.01j - 0.03j * trill], _BEAK)
    jaw.convex([-0.01 - 0.01j, -0.01 + 0.04j, 0.16 + 0.0j], lighter(_BEAK, -0.25))
    head.disk(0j, 0.155, feathers)
    _eye(head, 0.05 - 0.035j, 0.036, BLACK)
