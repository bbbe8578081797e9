"""Antialiased drawing of moving shapes: signed distances over the pixel grid, all frames of a clip at once.

The picture is the unit square, x to the right and y down; a point is the complex number `x + 1j * y`.
Wherever a number or a point is asked for, an array `(frames,)` of them makes the shape move.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Curve = float | NDArray[np.floating[Any]]
"""A number, or one per frame."""

Point = complex | NDArray[np.complexfloating[Any, Any]] | NDArray[np.floating[Any]]
"""A place or a direction in the picture, or one per frame."""

Colour = NDArray[np.floating[Any]]
"""Red, green and blue in [0, 1]: `(3,)`, or `(frames, 3)` for a colour that changes."""

Grid = NDArray[np.float32]
Distance = Callable[..., Grid]

_INVISIBLE = 0.004  # one grey level in 255


def _disk(x: Grid, y: Grid, at: Grid, radius: Grid) -> Grid:
    dx, dy = x - at.real, y - at.imag
    return np.asarray(np.sqrt(dx * dx + dy * dy) - radius)


def _ring(x: Grid, y: Grid, at: Grid, radius: Grid, half_width: Grid) -> Grid:
    return np.asarray(np.abs(_disk(x, y, at, radius)) - half_width)


def _ellipse(x: Grid, y: Grid, at: Grid, axis: Grid, rx: Grid, ry: Grid) -> Grid:
    dx, dy = x - at.real, y - at.imag
    if np.any(axis.imag):
        dx, dy = dx * axis.real + dy * axis.imag, dy * axis.real - dx * axis.imag
    u, v = (dx / rx) ** 2, (dy / ry) ** 2
    k = np.sqrt(u + v)
    return np.asarray(k * (k - 1) / np.maximum(np.sqrt(u / rx**2 + v / ry**2), 1e-6))


def _box(x: Grid, y: Grid, at: Grid, axis: Grid, half_width: Grid, half_height: Grid, corner: Grid) -> Grid:
    dx, dy = x - at.real, y - at.imag
    if np.any(axis.imag):
        dx, dy = dx * axis.real + dy * axis.imag, dy * axis.real - dx * axis.imag
    u, v = np.abs(dx) - (half_width - corner), np.abs(dy) - (half_height - corner)
    inside = np.minimum(np.maximum(u, v), 0)
    u, v = np.maximum(u, 0), np.maximum(v, 0)
    return np.asarray(np.sqrt(u * u + v * v) + inside - corner)


def _capsule(x: Grid, y: Grid, a: Grid, b: Grid, ra: Grid, rb: Grid) -> Grid:
    px, py, along = x - a.real, y - a.imag, b - a
    length2 = np.maximum(along.real**2 + along.imag**2, 1e-9)
    h = np.clip(px * (along.real / length2) + py * (along.imag / length2), 0, 1)
    dx, dy = px - h * along.real, py - h * along.imag
    return np.asarray(np.sqrt(dx * dx + dy * dy) - (ra + h * (rb - ra)))


def _path(x: Grid, y: Grid, half_width: Grid, *points: Grid) -> Grid:
    distance = _capsule(x, y, points[0], points[1], half_width, half_width)
    for a, b in pairwise(points[1:]):
        distance = np.minimum(distance, _capsule(x, y, a, b, half_width, half_width))
    return distance


def _convex(x: Grid, y: Grid, corner: Grid, *points: Grid) -> Grid:
    ends = [*points[1:], points[0]]
    area = sum((a.real * b.imag - a.imag * b.real) for a, b in zip(points, ends, strict=True))
    side = np.where(area >= 0, 1.0, -1.0).astype(np.float32)

    def edge(a: Grid, b: Grid) -> Grid:
        normal = -1j * (b - a) * side / np.maximum(np.abs(b - a), 1e-6)
        return np.asarray((x - a.real) * normal.real + (y - a.imag) * normal.imag)

    edges = (edge(a, b) for a, b in zip(points, ends, strict=True))
    return np.asarray(reduce(np.maximum, edges) - corner)


class Film:
    """Pixels of a clip while it is being drawn.

    As long as nothing moves there is one frame only: a still background costs what one picture costs.

    Args:
        n_frames: Length of the clip.
        size: Pixels along each side of the picture.
        margin: Pixels drawn beyond each side, for a camera that moves.
        ink_width: Width of outlines as a share of the picture, 0 for none.
        ink_colour: Their colour.
    """

    def __init__(self, n_frames: int, size: int, margin: int, ink_width: float, ink_colour: Colour) -> None:
        """Start with one black picture."""
        self.n_frames, self.size, self.margin = n_frames, size, margin
        self.ink_width, self.ink_colour = ink_width, ink_colour
        side = size + 2 * margin
        self.pixels: Grid = np.zeros((3, 1, side, side), np.float32)
        self.axis: Grid = ((np.arange(side) - margin + 0.5) / size).astype(np.float32)

    def unfold(self) -> Grid:
        """Give every frame its own pixels; returns them, `(3, frames, side, side)`."""
        if self.pixels.shape[1] != self.n_frames:
            self.pixels = np.repeat(self.pixels, self.n_frames, axis=1)
        return self.pixels

    def _span(self, low: float, high: float) -> slice:
        first = int(np.floor(low * self.size)) + self.margin
        last = int(np.ceil(high * self.size)) + self.margin
        return slice(max(first, 0), min(last, len(self.axis)))

    def paint(
        self,
        distance: Distance,
        numbers: Sequence[Curve | Point],
        hull: Sequence[Point],
        reach: Curve,
        colour: Colour,
        opacity: Curve,
        soft: float,
        edge: bool,
    ) -> None:
        """Lay one shape over the picture.

        Args:
            distance: Signed distance of pixels from the shape, negative inside, in picture sides.
            numbers: Its arguments after the pixel coordinates.
            hull: Points whose bounding box, widened by `reach`, holds the shape.
            reach: See `hull`.
            colour: Fill.
            opacity: In [0, 1].
            soft: Width of the edge ramp in picture sides (0: one pixel).
            edge: Whether to draw the outline.
        """
        frames: slice | NDArray[np.intp] = slice(None)
        alpha = np.asarray(opacity, np.float32)
        if alpha.ndim:
            shown = np.flatnonzero(alpha > _INVISIBLE)
            if not len(shown):
                return
            dense = shown[-1] - shown[0] + 1 == len(shown)
            frames = slice(int(shown[0]), int(shown[-1]) + 1) if dense else shown
        elif alpha <= _INVISIBLE:
            return
        arrays = [_per_frame(n, frames) for n in numbers]
        fill = np.asarray(colour, np.float32)
        channels = fill[frames].T[:, :, None, None] if fill.ndim == 2 else fill[:, None, None, None]
        if alpha.ndim or fill.ndim == 2 or any(a.ndim for a in arrays):
            self.unfold()
        corners = np.concatenate([np.ravel(_per_frame(p, frames)) for p in hull])
        pad = float(np.max(reach)) + 0.5 * soft + 1.5 / self.size
        columns = self._span(float(corners.real.min()) - pad, float(corners.real.max()) + pad)
        rows = self._span(float(corners.imag.min()) - pad, float(corners.imag.max()) + pad)
        if columns.start >= columns.stop or rows.start >= rows.stop:
            return
        d = distance(self.axis[None, None, columns], self.axis[None, rows, None], *arrays)
        slope = np.float32(self.size / max(1.0, soft * self.size))
        cover = np.clip(0.5 - d * slope, 0, 1)
        cover = cover * (alpha[frames][:, None, None] if alpha.ndim else alpha)
        target = self.pixels[:, frames, rows, columns]
        if edge and self.ink_width > 0:
            inner = np.clip(0.5 - (d + np.float32(self.ink_width)) * slope, 0, 1)
            ink = self.ink_colour.astype(np.float32)[:, None, None, None]
            change = ink + (channels - ink) * inner - target
        else:
            change = channels - target
        change *= cover
        if isinstance(frames, slice):
            target += change
        else:
            self.pixels[:, frames, rows, columns] = target + change


def _per_frame(value: Curve | Point, frames: slice | NDArray[np.intp]) -> Grid:
    array = np.asarray(value)
    array = array.astype(np.complex64 if np.iscomplexobj(array) else np.float32)
    return array[frames][:, None, None] if array.ndim else array


@dataclass(frozen=True)
class Pen:
    """Draws on a film in coordinates of its own, which may turn, grow and move.

    A shape takes a `colour`, an `opacity` in [0, 1], `soft` (width of its blurred edge) and `edge` (whether
    the film's outline is drawn). Later shapes lie over earlier ones.

    Attributes:
        film: What is drawn on.
        at: Where its origin lies in the picture.
        turn: Direction and length of its x axis in the picture.
    """

    film: Film
    at: Point = 0j
    turn: Point = 1 + 0j

    def posed(self, at: Point = 0j, turn: Curve = 0.0, scale: Curve = 1.0) -> "Pen":
        """A pen whose origin is `at`, turned clockwise by `turn` radians and scaled."""
        return Pen(self.film, self.at + self.turn * at, self.turn * scale * np.exp(1j * np.asarray(turn)))

    def world(self, point: Point) -> Point:
        """Where a point of this pen lies in the picture."""
        return self.at + self.turn * point

    @property
    def _scale(self) -> Curve:
        return np.abs(self.turn)

    def disk(
        self,
        at: Point,
        radius: Curve,
        colour: Colour,
        opacity: Curve = 1.0,
        soft: float = 0.0,
        edge: bool = True,
    ) -> None:
        """A filled circle."""
        centre, r = self.world(at), radius * self._scale
        self.film.paint(_disk, (centre, r), (centre,), r, colour, opacity, soft, edge and not soft)

    def glow(self, at: Point, radius: Curve, colour: Colour, opacity: Curve = 1.0) -> None:
        """Light or smoke that fades to nothing at `radius`."""
        self.disk(at, 0.5 * radius, colour, opacity, soft=float(np.max(radius * self._scale)), edge=False)

    def ring(
        self, at: Point, radius: Curve, width: Curve, colour: Colour, opacity: Curve = 1.0, edge: bool = False
    ) -> None:
        """A circle line of the given width."""
        centre, r, w = self.world(at), radius * self._scale, 0.5 * width * self._scale
        self.film.paint(_ring, (centre, r, w), (centre,), r + w, colour, opacity, 0.0, edge)

    def ellipse(
        self, at: Point, rx: Curve, ry: Curve, colour: Colour, turn: Curve = 0.0, opacity: Curve = 1.0,
        soft: float = 0.0, edge: bool = True,
    ) -> None:  # fmt: skip
        """A filled ellipse with radii `rx` and `ry`."""
        centre, s = self.world(at), self._scale
        axis = np.asarray(self.turn / s * np.exp(1j * np.asarray(turn)), complex)
        a, b = np.maximum(rx, 1e-3) * s, np.maximum(ry, 1e-3) * s
        numbers = (centre, axis, a, b)
        self.film.paint(_ellipse, numbers, (centre,), np.maximum(a, b), colour, opacity, soft, edge and not soft)

    def box(
        self, at: Point, width: Curve, height: Curve, colour: Colour, turn: Curve = 0.0, corner: float = 0.0,
        opacity: Curve = 1.0, edge: bool = True,
    ) -> None:  # fmt: skip
        """A rectangle around `at`, its corners rounded by `corner`."""
        centre, s = self.world(at), self._scale
        axis = np.asarray(self.turn / s * np.exp(1j * np.asarray(turn)), complex)
        w, h = 0.5 * width * s, 0.5 * height * s
        round_off = np.minimum(corner * s, np.minimum(w, h))
        numbers = (centre, axis, w, h, round_off)
        self.film.paint(_box, numbers, (centre,), np.hypot(w, h), colour, opacity, 0.0, edge)

    def stroke(
        self, a: Point, b: Point, width: Curve, colour: Colour, end_width: Curve | None = None,
        opacity: Curve = 1.0, edge: bool = True,
    ) -> None:  # fmt: skip
        """A straight limb with round ends, tapering to `end_width`."""
        start, stop, s = self.world(a), self.world(b), self._scale
        ra = 0.5 * width * s
        rb = ra if end_width is None else 0.5 * end_width * s
        self.film.paint(_capsule, (start, stop, ra, rb), (start, stop), np.maximum(ra, rb), colour, opacity, 0.0, edge)

    def path(
        self, points: Sequence[Point], width: Curve, colour: Colour, opacity: Curve = 1.0, edge: bool = True
    ) -> None:
        """A line through points."""
        places, w = [self.world(p) for p in points], 0.5 * width * self._scale
        self.film.paint(_path, (w, *places), places, w, colour, opacity, 0.0, edge)

    def convex(
        self,
        points: Sequence[Point],
        colour: Colour,
        corner: float = 0.0,
        opacity: Curve = 1.0,
        edge: bool = True,
    ) -> None:
        """A convex polygon, grown by `corner`."""
        places, c = [self.world(p) for p in points], corner * self._scale
        self.film.paint(_convex, (c, *places), places, c, colour, opacity, 0.0, edge)
