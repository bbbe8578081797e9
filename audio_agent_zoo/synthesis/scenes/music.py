"""Scenes of musicians: bows that turn with every note, a slide that moves, cheeks, valves and bells."""

import numpy as np

from audio_agent_zoo.synthesis.scenes.canvas import Colour, Pen, Point
from audio_agent_zoo.synthesis.scenes.motion import Frames, smooth
from audio_agent_zoo.synthesis.scenes.stage import (
    BLACK,
    BRASS,
    CLOTH,
    HAIR,
    SKIN,
    VARNISH,
    WHITE,
    WOOD,
    Stage,
    lighter,
)


def _bow_travel(stage: Stage) -> Frames:
    """Place of the bow in [-1, 1]: from one side to the other in each note, then back in the next."""
    motion = stage.motion
    reach = 0.45 + 0.55 * motion.size
    way = motion.each([1.0, -1.0])
    eased = 1 - (1 - motion.share()) ** 1.5
    settled = -way * reach
    travel = np.where(motion.last < 0, -0.75, settled + 2 * way * reach * eased)
    coming = -motion.each([-1.0, 1.0], before=1.0) * (0.45 + 0.55 * motion.next_size)
    near = smooth((0.16 - motion.until) / 0.16)
    return np.asarray(travel + (coming - travel) * near)


def _bow(pen: Pen, travel: Frames, length: float, wood: Colour) -> None:
    stick = pen.posed(travel * 0.36 * length + 0j)
    stick.stroke(-0.5 * length - 0.035j, 0.5 * length - 0.035j, 0.028, lighter(wood, -0.3))
    stick.stroke(-0.5 * length + 0.012j, 0.5 * length + 0.0j, 0.022, WHITE, edge=False)
    stick.box(-0.5 * length - 0.01j, 0.05, 0.07, BLACK, edge=False)


def _body_of_strings(pen: Pen, varnish: Colour, long: float) -> None:
    """Belly, waist, f-holes, bridge, strings and neck of a bowed instrument; the neck points up."""
    pen.stroke(0 - 0.3j * long, 0 - 1.15j * long, 0.07 * long, lighter(varnish, -0.5))
    pen.stroke(0 - 1.15j * long, 0.03 - 1.25j * long, 0.1 * long, lighter(varnish, -0.35))
    pen.ellipse(0 - 0.24j * long, 0.28 * long, 0.25 * long, varnish)
    pen.ellipse(0 + 0.3j * long, 0.36 * long, 0.32 * long, varnish)
    pen.box(0 + 0.0j, 0.42 * long, 0.35 * long, varnish, edge=False)
    for side in (-1, 1):
        pen.disk(side * 0.3 * long + 0.01j * long, 0.085 * long, lighter(varnish, -0.4), edge=False)
        pen.path(
            [
                side * 0.15 * long + 0.02j * long,
                side * 0.12 * long + 0.12j * long,
                side * 0.16 * long + 0.24j * long,
            ],
            0.03 * long,
            BLACK,
            edge=False,
        )
    pen.convex(
        [
            -0.05 * long + 0.3j * long,
            0.05 * long + 0.3j * long,
            0.03 * long + 0.52j * long,
            -0.03 * long + 0.52j * long,
        ],
        BLACK,
        edge=False,
    )
    for x in (-0.03, 0.0, 0.03):
        pen.stroke(x * long + 0.3j * long, x * 0.6 * long - 1.1j * long, 0.008, lighter(varnish, 0.7), edge=False)
    pen.box(0 + 0.16j * long, 0.15 * long, 0.04 * long, lighter(varnish, 0.55), edge=False)


def cello(stage: Stage) -> None:
    """A cellist: the bow draws across the upright cello and turns at each note; the left hand shifts."""
    motion, rng = stage.motion, stage.rng
    skin, varnish, cloth = stage.pick(SKIN), stage.pick(VARNISH), stage.pick(CLOTH)
    travel, pen = _bow_travel(stage), stage.pen
    sway = 0.035 * travel
    accent = motion.burst(0.1)
    pen.box(0.1 + 0.3j, 0.62, 0.7, cloth, corner=0.15)
    head = pen.posed(0.17 - 0.24j + 0.5 * sway - (0.05 - 0.04j) * accent, 2 * sway - 0.2 * accent)
    head.ellipse(0 - 0.02j, 0.15, 0.18, stage.pick(HAIR))
    head.ellipse(-0.025 + 0.025j, 0.12, 0.14, skin)
    for side in (-1, 1):
        pen.stroke(side * 0.3 + 0.1 + 0.45j, side * 0.34 + 0.08 + 0.75j, 0.2, lighter(cloth, -0.35))
    body = pen.posed(-0.06 + 0.25j, 0.1 + 0.6 * sway - 0.06 * accent)
    body.stroke(0.5j, 0.75j, 0.025, BLACK, edge=False)
    _body_of_strings(body, varnish, 0.62)
    finger = motion.snap(rng.permutation(np.linspace(-0.62, -0.3, 5)), before=-0.45)
    body.stroke(0.36 - 0.15j, 0.03 + 1j * finger, 0.11, cloth, 0.08)
    body.ellipse(0.02 + 1j * finger, 0.065, 0.05, skin)
    bow = body.posed(0.03j, 0.1 + motion.snap(rng.uniform(-0.16, 0.16, 5)))
    _bow(bow, travel, 0.75, stage.pick(WOOD))
    hand = bow.posed(travel * 0.27 - 0.375 + 0j)
    hand.stroke(-0.12 - 0.3j - 0.2 * travel, 0j, 0.13, cloth, 0.09)
    hand.disk(0j, 0.06, skin)


def violin(stage: Stage) -> None:
    """A violinist: chin on the violin, the bow goes up and down and turns at each note."""
    motion, rng = stage.motion, stage.rng
    skin, varnish, cloth = stage.pick(SKIN), stage.pick(VARNISH), stage.pick(CLOTH)
    travel, accent = _bow_travel(stage), motion.burst(0.1)
    pen = stage.pen.posed(0.06j * accent)
    pen.box(-0.3 + 0.56j, 0.6, 0.6, cloth, corner=0.18)
    head = pen.posed(-0.26 - 0.06j + 0.015 * travel + 0.03j * accent, 0.2 + 0.05 * travel + 0.12 * accent)
    head.ellipse(-0.03 - 0.04j, 0.22, 0.25, stage.pick(HAIR))
    head.ellipse(0.03 + 0.03j, 0.17, 0.2, skin)
    for x in (0.01, 0.12):
        head.stroke(x - 0.03 + 0.0j, x + 0.03 + 0.0j, 0.02, BLACK, edge=False)
    body = pen.posed(0.06 + 0.17j + 0.015j * travel, 1.38 + 0.16 * accent)
    finger = motion.snap(rng.permutation(np.linspace(-0.53, -0.32, 5)), before=-0.5)
    _body_of_strings(body, varnish, 0.5)
    body.stroke(0.3 - 0.1j, 0.05 + 1j * finger, 0.1, cloth, 0.07)
    body.ellipse(0.02 + 1j * finger, 0.055, 0.045, skin)
    bow = pen.posed(0.1 + 0.15j, -1.2 + motion.snap(rng.uniform(-0.2, 0.2, 5)))
    _bow(bow, travel, 0.85, stage.pick(WOOD))
    hand = bow.posed(travel * 0.306 - 0.425 + 0j)
    hand.disk(0j, 0.06, skin)
    pen.path([-0.45 + 0.45j, -0.2 + 0.7j, _inside(pen, hand)], 0.12, lighter(cloth, 0.1))


def _inside(pen: Pen, other: Pen) -> Point:
    """Origin of another pen in the coordinates of `pen`."""
    return np.asarray((other.at - pen.at) / pen.turn)


def _blower(stage: Stage, on: Frames, dark: float) -> tuple[Pen, Colour]:
    """Head and shoulders of one who blows, from the side, facing right; the mouth is the pen's origin."""
    skin, hair, cloth = stage.pick(SKIN), stage.pick(HAIR), stage.pick(CLOTH)
    stage.pen.ellipse(-0.5 + 0.6j, 0.34, 0.42, lighter(cloth, dark))
    face = stage.pen.posed(-0.28 + 0.02j, -0.1 * on)
    face.ellipse(-0.2 - 0.1j, 0.2, 0.22, hair)
    face.ellipse(-0.14 - 0.05j, 0.17, 0.2, skin)
    face.convex([-0.0 - 0.09j, 0.05 - 0.02j, -0.02 + 0.0j], skin, corner=0.015)
    face.ellipse(-0.17 - 0.21j, 0.19, 0.09, hair, edge=False)
    face.ellipse(-0.04 - 0.1j, 0.028, 0.03 * (1 - 0.7 * on), BLACK, edge=False)
    face.disk(-0.06 + 0.02j, 0.05 + 0.07 * on, lighter(skin, -0.08))
    return face, skin


def trumpet(stage: Stage) -> None:
    """A trumpeter: cheeks fill and the bell lifts for every note, and fingers press the valves."""
    motion, metal = stage.motion, stage.pick(BRASS)
    on = motion.on(attack_s=0.05, release_s=0.12)
    face, skin = _blower(stage, on, 0.0)
    horn = face.posed(0.04 + 0.02j, 0.22 - 0.42 * on - 0.06 * motion.burst(0.08))
    horn.stroke(0j, 0.62 + 0j, 0.035, metal)
    horn.path([0.2 + 0.01j, 0.2 + 0.12j, 0.5 + 0.12j, 0.5 + 0.01j], 0.035, lighter(metal, -0.15))
    horn.convex([0.52 - 0.015j, 0.52 + 0.015j, 0.76 + 0.14j, 0.76 - 0.14j], metal, corner=0.01)
    horn.ellipse(0.77 + 0j, 0.035, 0.155, lighter(metal, -0.45))
    horn.box(0.01 + 0j, 0.04, 0.07, lighter(metal, 0.4))
    sleeve = stage.pick(CLOTH)
    hand = _inside(stage.pen, horn.posed(0.34 + 0.1j))
    stage.pen.path([-0.5 + 0.5j, -0.16 + 0.55j, hand], 0.13, sleeve)
    stage.pen.stroke(-0.42 + 0.38j, _inside(stage.pen, horn.posed(0.27 - 0.2j)), 0.13, lighter(sleeve, -0.2), 0.1)
    codes = stage.rng.permutation(np.arange(7))
    for k in range(3):
        pressed = motion.on(0.03, 0.05) * motion.each((codes >> k) & 1)
        x = 0.28 + 0.07 * k
        horn.box(x + 0.05j, 0.05, 0.17, lighter(metal, 0.2), corner=0.01)
        horn.box(x - 1j * (0.08 - 0.05 * pressed), 0.03, 0.05, lighter(metal, 0.5))
        horn.stroke(x + 0.03 - 1j * (0.17 - 0.05 * pressed), x - 1j * (0.11 - 0.05 * pressed), 0.05, skin)
    horn.ellipse(0.36 - 0.19j, 0.13, 0.06, lighter(skin, -0.06))
    horn.ellipse(0.34 + 0.1j, 0.07, 0.06, skin)


def trombone(stage: Stage) -> None:
    """A trombonist: the slide shoots to a new place at each note; cheeks and bell rise with the breath."""
    motion, metal = stage.motion, stage.pick(BRASS)
    on = motion.on(attack_s=0.06, release_s=0.15)
    face, skin = _blower(stage, on, -0.3)
    horn = face.posed(0.03 + 0.02j, 0.2 - 0.16 * on - 0.05 * motion.burst(0.1))
    places = stage.rng.permutation(np.linspace(0.0, 0.34, 5))
    slide = motion.snap(places, move_s=0.12, before=0.04)
    far = 0.46 + slide
    horn.stroke(0.02 + 0.14j, far + 0.14j, 0.03, lighter(metal, 0.25))
    horn.stroke(0.02 + 0j, far + 0j, 0.03, lighter(metal, 0.25))
    horn.path([far + 0j, far + 0.04 + 0.03j, far + 0.04 + 0.11j, far + 0.14j], 0.035, metal)
    horn.path([0.02 + 0.14j, -0.34 + 0.13j, -0.42 + 0.02j, -0.42 - 0.2j, -0.34 - 0.29j, 0.1 - 0.27j], 0.045, metal)
    horn.convex([0.05 - 0.295j, 0.05 - 0.245j, 0.34 - 0.1j, 0.34 - 0.44j], metal, corner=0.01)
    horn.ellipse(0.35 - 0.27j, 0.045, 0.19, lighter(metal, -0.45))
    horn.box(0.0 + 0j, 0.05, 0.075, lighter(metal, 0.4))
    sleeve = stage.pick(CLOTH)
    hand = horn.posed(0.22 + slide + 0.07j)
    horn.path([-0.05 + 0.6j, 0.12 + 0.6 * slide + 0.42j, 0.22 + slide + 0.1j], 0.11, sleeve)
    hand.box(0j, 0.025, 0.15, lighter(metal, -0.2))
    hand.ellipse(0 + 0.02j, 0.06, 0.075, skin)
    horn.ellipse(0.06 + 0.1j, 0.055, 0.075, skin)
