"""What surrounds the thing that sounds: background, colours, bystanders, camera and light, all random."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.synthesis.scenes.canvas import Colour, Film, Pen, Point
from audio_agent_zoo.synthesis.scenes.motion import Frames, Motion, smooth

Palette = Sequence[tuple[float, float, float]]

SKIN: Palette = ((0.96, 0.8, 0.69), (0.87, 0.67, 0.5), (0.68, 0.46, 0.32), (0.45, 0.29, 0.2))
HAIR: Palette = ((0.12, 0.09, 0.08), (0.35, 0.2, 0.1), (0.7, 0.5, 0.22), (0.55, 0.25, 0.1), (0.6, 0.6, 0.6))
FUR: Palette = (
    (0.55, 0.35, 0.18),
    (0.8, 0.62, 0.38),
    (0.25, 0.2, 0.18),
    (0.88, 0.85, 0.8),
    (0.55, 0.53, 0.52),
)
WOOD: Palette = ((0.55, 0.34, 0.17), (0.7, 0.48, 0.26), (0.4, 0.23, 0.13))
METAL: Palette = ((0.62, 0.65, 0.7), (0.45, 0.48, 0.53), (0.75, 0.75, 0.78))
BRASS: Palette = ((0.88, 0.7, 0.25), (0.8, 0.6, 0.22), (0.93, 0.8, 0.42))
VARNISH: Palette = ((0.62, 0.27, 0.1), (0.72, 0.4, 0.14), (0.48, 0.18, 0.08))
CLOTH: Palette = (
    (0.75, 0.2, 0.2), (0.2, 0.35, 0.7), (0.2, 0.55, 0.35), (0.55, 0.3, 0.6), (0.85, 0.6, 0.2),
    (0.25, 0.25, 0.3), (0.85, 0.85, 0.88),
)  # fmt: skip
BRIGHT: Palette = ((0.9, 0.25, 0.2), (0.2, 0.5, 0.9), (0.95, 0.75, 0.15), (0.25, 0.7, 0.35), (0.65, 0.3, 0.8))
_WALLS: Palette = (
    (0.85, 0.8, 0.7), (0.7, 0.78, 0.82), (0.78, 0.72, 0.8), (0.6, 0.66, 0.6),
    (0.5, 0.48, 0.5), (0.9, 0.88, 0.85),
)  # fmt: skip
_SKIES: Palette = ((0.55, 0.75, 0.95), (0.75, 0.82, 0.88), (0.95, 0.75, 0.6), (0.4, 0.5, 0.7))
_GROUNDS: Palette = ((0.4, 0.55, 0.3), (0.6, 0.55, 0.4), (0.5, 0.5, 0.5), (0.75, 0.7, 0.55))

BLACK: Colour = np.array([0.06, 0.05, 0.06])
WHITE: Colour = np.array([0.97, 0.97, 0.95])
MOUTH: Colour = np.array([0.35, 0.05, 0.07])
TONGUE: Colour = np.array([0.88, 0.4, 0.42])
FLAME: Colour = np.array([1.0, 0.65, 0.15])
LIGHT: Colour = np.array([1.0, 0.95, 0.65])


@dataclass(frozen=True)
class Stage:
    """What a scene is given to draw with.

    Attributes:
        pen: Draws the object: origin at its middle, about one unit from side to side.
        backdrop: Draws in coordinates of the whole picture, the unit square.
        motion: The events.
        rng: The clip's randomness.
    """

    pen: Pen
    backdrop: Pen
    motion: Motion
    rng: np.random.Generator

    def pick(self, palette: Palette, spread: float = 0.07) -> Colour:
        """A colour of the palette, a little off."""
        base = np.array(palette[int(self.rng.integers(len(palette)))])
        return np.clip(
            base * self.rng.uniform(1 - 2 * spread, 1 + spread) * self.rng.normal(1, 0.6 * spread, 3), 0.03, 1
        )

    def idle(self, rate_hz: float = 0.3) -> Frames:
        """A slow sway in [-1, 1]: what lives is never quite still."""
        return np.sin(2 * np.pi * (rate_hz * self.motion.t + self.rng.random()))

    def sparks(self, pen: Pen, at: Point, reach: float, colour: Colour, count: int = 7, upward: bool = True) -> None:
        """Short lines that fly off `at` from each onset on, for a few frames."""
        since, size = self.motion.since, self.motion.size
        go = smooth((since + 0.05) / 0.16) * reach * size
        opacity = np.clip(1.3 - since / 0.13, 0, 1) * (since < 1)
        spread = np.pi if upward else 2 * np.pi
        for k in range(count):
            way = np.exp(1j * (-spread * (k + self.rng.uniform(0.2, 0.8)) / count))
            pen.stroke(at + 0.45 * go * way, at + go * way, 0.025, colour, 0.008, opacity, edge=False)


def lighter(colour: Colour, by: float) -> Colour:
    """The colour moved towards white (`by` in [0, 1]) or towards black (`by` in [-1, 0])."""
    return np.asarray(colour + (1 - colour) * by if by > 0 else colour * (1 + by))


def furnish(stage: Stage, outdoors: bool) -> None:
    """Paint a background: wall and floor or sky and ground, with a few things that have nothing to say."""
    rng, pen = stage.rng, stage.backdrop
    if rng.random() < 0.2:
        outdoors = not outdoors
    horizon = rng.uniform(0.55, 0.85)
    top = stage.pick(_SKIES if outdoors else _WALLS)
    bottom = stage.pick(_GROUNDS) if outdoors else stage.pick(WOOD if rng.random() < 0.5 else _WALLS)
    gradient = np.linspace(0.25, -0.15, 6) * rng.uniform(-1, 1)
    for k, shift in enumerate(gradient):
        height = horizon / 6
        pen.box(0.5 + 1j * (k + 0.5) * height, 1.4, 1.1 * height, lighter(top, float(shift)), edge=False)
    pen.box(0.5 - 0.1j, 1.4, 0.2, lighter(top, float(gradient[0])), edge=False)
    if outdoors and rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 4))):
            at = rng.uniform(0, 1) + 1j * (horizon + 0.05)
            pen.ellipse(
                at,
                rng.uniform(0.2, 0.45),
                rng.uniform(0.05, 0.25),
                lighter(bottom, rng.uniform(-0.35, 0.2)),
                edge=False,
            )
    pen.box(0.5 + 1j * (horizon + 0.5), 1.4, 1.0, bottom, edge=False)
    if not outdoors and rng.random() < 0.6:
        pen.box(0.5 + 1j * horizon, 1.4, 0.02, lighter(bottom, -0.3), edge=False)
    _bystanders(stage, horizon)


def _bystanders(stage: Stage, horizon: float) -> None:
    rng, pen = stage.rng, stage.backdrop
    for _ in range(int(rng.integers(0, 5))):
        x = rng.choice([rng.uniform(-0.02, 0.25), rng.uniform(0.75, 1.02)])
        at = x + 1j * rng.uniform(0.05, 0.95)
        colour = lighter(stage.pick(BRIGHT if rng.random() < 0.5 else _WALLS), rng.uniform(-0.5, 0.3))
        size = rng.uniform(0.02, 0.07)
        match rng.integers(3):
            case 0:
                pen.disk(at, size, colour, edge=False)
            case 1:
                pen.box(at, 2 * size, size * rng.uniform(1, 4), colour, edge=False)
            case _:
                pen.convex([at - 1j * size, at + size + 1j * size, at - size + 1j * size], colour, edge=False)
    if rng.random() < 0.35:  # something passes by slowly, without a sound
        x = rng.uniform(-0.1, 1.1) + rng.uniform(-0.12, 0.12) * stage.motion.t
        colour = lighter(stage.pick(_WALLS), rng.uniform(-0.4, 0.4))
        pen.ellipse(
            x + 1j * rng.uniform(0.05, horizon),
            rng.uniform(0.04, 0.1),
            rng.uniform(0.02, 0.05),
            colour,
            edge=False,
        )


def camera_path(rng: np.random.Generator, t: Frames, reach: float) -> NDArray[np.complex128]:
    """Slow wandering of a hand-held camera, at most `reach` picture sides from the middle."""
    rates, phases = rng.uniform(0.15, 1.1, (2, 3)), rng.uniform(0, 2 * np.pi, (2, 3))
    wander = np.sin(2 * np.pi * rates[:, :, None] * t + phases[:, :, None]).mean(axis=1)
    return np.asarray(rng.uniform(0.1, 1.0) * reach * (wander[0] + 1j * wander[1]))


def develop(
    film: Film,
    camera: NDArray[np.complex128],
    index: NDArray[np.intp],
    rng: np.random.Generator,
    out: NDArray[np.uint8],
) -> None:
    """Move the camera, light the scene, add grain.

    Args:
        film: The drawn pixels.
        camera: Where it looks, relative to the middle, in picture sides, `(frames,)`.
        index: Numbers of the frames within the clip.
        rng: The clip's randomness.
        out: Receives the picture, `(frames, size, size, 3)`.
    """
    size, margin = film.size, film.margin
    x, y = film.axis[None, margin : margin + size], film.axis[margin : margin + size, None]
    way = np.exp(2j * np.pi * rng.random()) * rng.uniform(0.0, 0.22)
    light = 1 + (x - 0.5) * way.real + (y - 0.5) * way.imag - rng.uniform(0, 0.35) * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    tint = rng.uniform(0.78, 1.06) * rng.normal(1, 0.035, 3)
    gain = (255 * light * tint[:, None, None]).astype(np.float32)
    grain = rng.normal(0, rng.uniform(0.3, 2.2), (size + 16, size + 16)).astype(np.float32)
    pixels = film.unfold()
    for i, shift in enumerate(camera * size):
        left, above = math.floor(shift.real), math.floor(shift.imag)
        fx, fy = np.float32(shift.real - left), np.float32(shift.imag - above)
        view = pixels[:, i, margin + above : margin + above + size + 1, margin + left : margin + left + size + 1]
        row = view[:, :-1] + (view[:, 1:] - view[:, :-1]) * fy
        picture = (row[:, :, :-1] + (row[:, :, 1:] - row[:, :, :-1]) * fx) * gain
        r, c = 7 * index[i] % 16, (5 * index[i] + index[i] // 16) % 16  # never the same grain twice in a row
        picture += grain[r : r + size, c : c + size]
        out[i] = np.clip(picture, 0, 255).transpose(1, 2, 0)
