"""Scenes of people: two who speak, a baby that cries, hands that clap."""

import numpy as np

from audio_agent_zoo.synthesis.scenes.canvas import Colour, Curve, Pen
from audio_agent_zoo.synthesis.scenes.motion import Frames
from audio_agent_zoo.synthesis.scenes.stage import (
    BLACK,
    BRIGHT,
    CLOTH,
    HAIR,
    MOUTH,
    SKIN,
    TONGUE,
    WHITE,
    Stage,
    lighter,
)

_LIPS = np.array([0.78, 0.2, 0.25])
_TEAR = np.array([0.6, 0.82, 0.98])


def _syllables(stage: Stage) -> Frames:
    """Opening of a mouth that speaks: at once at the onset, then open and nearly shut with each syllable."""
    on = stage.motion.on(attack_s=0.03, release_s=0.12)
    rate = stage.rng.uniform(4.2, 5.2)
    return np.asarray(on * (0.25 + 0.75 * np.abs(np.cos(np.pi * rate * np.maximum(stage.motion.since - 0.04, 0)))))


def _eyes(pen: Pen, y: float, gap: float, size: float, iris: Colour, blink: Curve = 1.0) -> None:
    for x in (-gap, gap):
        pen.ellipse(x + 1j * y, size, size * 0.8 * blink, WHITE, edge=False)
        pen.disk(x + 1j * y, size * 0.55 * blink, iris, edge=False)


def _head_pose(stage: Stage, nod: float) -> Pen:
    """Head of one who speaks: it nods as each phrase begins and moves while it lasts."""
    motion = stage.motion
    on = motion.on(0.05, 0.2)
    tilt = 0.03 * stage.idle() + 0.07 * on * np.sin(2 * np.pi * 1.3 * motion.since)
    drop = nod * motion.burst(0.2) - 0.03 * on
    return stage.pen.posed(0.02 * stage.idle(0.2) + 1j * drop, tilt)


def man_speaking(stage: Stage) -> None:
    """A man, short-haired and often bearded, whose jaw moves while he speaks."""
    rng, skin, hair, shirt = stage.rng, stage.pick(SKIN), stage.pick(HAIR), stage.pick(CLOTH)
    opening = _syllables(stage)
    body = stage.pen
    body.box(0 + 0.62j, 1.02, 0.5, shirt, corner=0.14)
    body.box(0 + 0.34j, 0.24, 0.26, lighter(skin, -0.12), corner=0.05)
    body.convex([-0.1 + 0.4j, 0.1 + 0.4j, 0 + 0.56j], WHITE)
    body.convex([-0.03 + 0.46j, 0.03 + 0.46j, 0.055 + 0.75j, -0.055 + 0.75j], stage.pick(BRIGHT))
    head = _head_pose(stage, 0.08)
    for x in (-0.27, 0.27):
        head.ellipse(x - 0.02j, 0.05, 0.08, skin)
    jaw = 0.09 * opening
    head.ellipse(0 - 0.16j, 0.28, 0.24, hair)
    head.box(0 + 1j * (0.02 + 0.5 * jaw), 0.5, 0.52 + jaw, skin, corner=0.17)
    if rng.random() < 0.6:
        head.box(0 + 1j * (0.2 + 0.7 * jaw), 0.48, 0.2 + 0.6 * jaw, hair, corner=0.1, edge=False)
        head.box(0 + 0.11j, 0.3, 0.05, hair, corner=0.02, edge=False)
    head.box(0 - 0.26j, 0.5, 0.12, hair, corner=0.05, edge=False)
    _eyes(head, -0.08, 0.115, 0.05, BLACK)
    for x in (-0.115, 0.115):
        head.stroke(x - 0.06 - 0.16j, x + 0.06 - 0.165j, 0.035, lighter(hair, -0.2), edge=False)
    head.convex([0 - 0.05j, 0.05 + 0.08j, -0.05 + 0.08j], lighter(skin, -0.18), edge=False)
    _speaking_mouth(head, 0.165, opening, 0.1, lighter(skin, -0.35))


def _speaking_mouth(head: Pen, y: float, opening: Frames, width: float, lips: Colour) -> None:
    at = 1j * (y + 0.05 * opening)
    head.ellipse(at, width + 0.02, 0.025 + 0.085 * opening, lips, edge=False)
    head.ellipse(at, width, 0.004 + 0.068 * opening, MOUTH, edge=False)
    head.box(
        at - 0.035j * opening,
        1.3 * width,
        0.028 * opening + 1e-3,
        WHITE,
        opacity=1.0 * (opening > 0.25),
        edge=False,
    )


def woman_speaking(stage: Stage) -> None:
    """A woman with long hair and painted lips that move while she speaks."""
    skin, hair, dress = stage.pick(SKIN), stage.pick(HAIR), stage.pick(BRIGHT)
    opening = _syllables(stage)
    body = stage.pen
    head = _head_pose(stage, 0.08)
    head.ellipse(0 - 0.02j, 0.36, 0.42, hair)
    head.box(0 + 0.3j, 0.68, 0.46, hair, corner=0.12)
    body.box(0 + 0.72j, 0.8, 0.44, dress, corner=0.16)
    body.box(0 + 0.36j, 0.16, 0.28, lighter(skin, -0.12), corner=0.05)
    body.convex([-0.15 + 0.5j, 0.15 + 0.5j, 0 + 0.62j], lighter(skin, -0.06), edge=False)
    jaw = 0.07 * opening
    head.ellipse(0 + 1j * (0.02 + 0.5 * jaw), 0.235, 0.3 + 0.5 * jaw, skin)
    head.ellipse(-0.15 - 0.25j, 0.17, 0.09, hair, turn=-0.5, edge=False)
    head.ellipse(0.15 - 0.25j, 0.17, 0.09, hair, turn=0.5, edge=False)
    _eyes(head, -0.05, 0.1, 0.05, BLACK)
    for x, slope in ((-0.1, 0.2), (0.1, -0.2)):
        head.stroke(
            x - 0.05 - 0.125j + 0.05j * slope,
            x + 0.05 - 0.125j - 0.05j * slope,
            0.018,
            lighter(hair, -0.3),
            edge=False,
        )
        head.disk(2.35 * x + 0.15j, 0.03, stage.pick(BRIGHT), edge=False)
        head.disk(1.4 * x + 0.07j, 0.05, lighter(skin, 0.1) * np.array([1, 0.8, 0.8]), opacity=0.6, edge=False)
    head.stroke(0 - 0.0j, 0.015 + 0.06j, 0.02, lighter(skin, -0.18), edge=False)
    _speaking_mouth(head, 0.155, opening, 0.065, _LIPS)


def baby_crying(stage: Stage) -> None:
    """A baby screws up its eyes, opens its mouth wide and wails; tears run, fists shake."""
    motion, skin, suit = stage.motion, stage.pick(SKIN[:3]), lighter(stage.pick(BRIGHT), 0.45)
    on = motion.on(attack_s=0.06, release_s=0.18)
    shake = on * np.sin(2 * np.pi * 3.3 * motion.since)
    pen = stage.pen
    pen.ellipse(0 + 0.55j, 0.36, 0.26, suit)
    for side in (-1, 1):
        fist = side * 0.44 + 1j * (0.38 - 0.2 * on - 0.05 * side * shake)
        pen.stroke(side * 0.24 + 0.48j, fist, 0.15, suit)
        pen.disk(fist, 0.085, skin)
    head = pen.posed(1j * (0.03 * motion.burst(0.15) - 0.04 * on), 0.06 * shake + 0.03 * stage.idle())
    red = skin + 0.6 * on[:, None] * (np.array([0.92, 0.45, 0.42]) * skin.max() - skin) * 0.7
    for x in (-0.35, 0.35):
        head.disk(x - 0.02j, 0.075, red)
    head.ellipse(0 - 0.06j, 0.36, 0.38, red)
    head.path(
        [0.0 - 0.44j, 0.05 - 0.5j, 0.1 - 0.46j, 0.06 - 0.42j],
        0.025,
        lighter(stage.pick(HAIR), -0.1),
        edge=False,
    )
    for x in (-0.15, 0.15):
        squeeze = np.maximum(1 - 1.3 * on, 0)
        head.ellipse(x - 0.12j, 0.06, 0.06 * squeeze, WHITE, opacity=1.0 * (squeeze > 0.1), edge=False)
        head.disk(x - 0.12j, 0.045 * squeeze, BLACK, opacity=1.0 * (squeeze > 0.1), edge=False)
        inner, outer = x * 0.45 - 0.1j, x * 1.5 - 0.13j
        head.path([outer, x - 0.09j, inner], 0.025, lighter(skin, -0.6), opacity=1.0 * (on > 0.3), edge=False)
        head.stroke(x * 1.4 - 0.2j, x * 0.5 - 1j * (0.21 - 0.06 * on), 0.025, lighter(skin, -0.45), edge=False)
        run = (1.3 * motion.t + stage.rng.random()) % 1
        tear = x * 1.45 + 1j * (-0.05 + 0.28 * run)
        head.ellipse(tear, 0.025, 0.04, _TEAR, opacity=np.clip(2 * on, 0, 1), edge=False)
    gape = 0.012 + 0.17 * on
    head.ellipse(1j * (0.12 + 0.03 * on), 0.1 + 0.08 * on, gape, MOUTH)
    head.ellipse(1j * (0.15 + 0.1 * on), 0.09 * on, 0.06 * on, TONGUE, opacity=1.0 * (on > 0.3), edge=False)
    head.disk(0 + 0.0j, 0.035, lighter(skin, -0.12), edge=False)


def clapping(stage: Stage) -> None:
    """Two hands swing together and meet flat at each clap."""
    skin, cloth, motion = stage.pick(SKIN), stage.pick(CLOTH), stage.motion
    apart = motion.lift(fall_s=0.11, rise_s=0.26, rest=0.6, ready_s=0.18)
    nudge = 1j * 0.02 * stage.idle(0.4)
    flash = np.clip(1 - motion.since / 0.12, 0, 1) * (motion.since < 1)
    stage.pen.glow(nudge - 0.08j, 0.4 * motion.size, WHITE, 0.55 * flash)
    for side in (-1, 1):
        tone = skin if side < 0 else lighter(skin, -0.1)
        hand = stage.pen.posed(side * (0.055 + 0.36 * apart) + nudge, side * (0.1 + 0.35 * apart))
        hand.stroke(side * 0.04 + 0.26j, side * 0.22 + 0.78j, 0.19, cloth, 0.26)
        hand.stroke(side * 0.02 + 0.12j, side * 0.05 + 0.28j, 0.15, tone)
        for k, length in enumerate((0.36, 0.42, 0.4, 0.33)):
            x = side * (0.045 * k - 0.035)
            hand.stroke(x + 0j, x - 1j * length + 0.06 * side * (k - 1.5) * 0.5, 0.07, lighter(tone, -0.05 * k), 0.055)
        hand.box(side * 0.035 + 0.04j, 0.2, 0.3, tone, corner=0.07)
        hand.stroke(side * 0.03 + 0.08j, side * -0.04 - 0.14j, 0.07, lighter(tone, 0.1), 0.055)
    stage.sparks(stage.pen, -0.3j + nudge, 0.26, WHITE, count=7)
