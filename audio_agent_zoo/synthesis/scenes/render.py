"""A class name and its sound events to a video: the one entry to the scenes."""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.rates import FRAME_RATE, check_duration
from audio_agent_zoo.synthesis.events import SoundEvent
from audio_agent_zoo.synthesis.scenes import blasts, creatures, household, music, people, strikes
from audio_agent_zoo.synthesis.scenes.canvas import Film, Pen
from audio_agent_zoo.synthesis.scenes.motion import Motion
from audio_agent_zoo.synthesis.scenes.stage import Stage, camera_path, develop, furnish

_CAMERA_REACH = 0.02
_FRAMES_AT_ONCE = 64  # bounds the memory of a long clip

Scene = Callable[[Stage], None]

_INDOORS: Mapping[str, Scene] = {
    "baby_crying": people.baby_crying,
    "man_speaking": people.man_speaking,
    "woman_speaking": people.woman_speaking,
    "clapping": people.clapping,
    "hammering": strikes.hammering,
    "door_knock": strikes.door_knock,
    "typing": strikes.typing,
    "clock_ticking": household.clock_ticking,
    "knife_sharpening": household.knife_sharpening,
    "toilet_flushing": household.toilet_flushing,
    "glass_breaking": blasts.glass_breaking,
    "bowling": blasts.bowling,
    "cap_gun": blasts.cap_gun,
    "cello": music.cello,
    "violin": music.violin,
    "trumpet": music.trumpet,
    "trombone": music.trombone,
    "cat_meowing": creatures.cat_meowing,
}
_OUTDOORS: Mapping[str, Scene] = {
    "dog_barking": creatures.dog_barking,
    "rooster_crowing": creatures.rooster_crowing,
    "frog_croaking": creatures.frog_croaking,
    "lion_roaring": creatures.lion_roaring,
    "bird_chirping": creatures.bird_chirping,
    "machine_gun": blasts.machine_gun,
    "explosion": blasts.explosion,
    "church_bell": strikes.church_bell,
    "footsteps": strikes.footsteps,
    "car_horn": household.car_horn,
}

VISIBLE_CLASSES: tuple[str, ...] = tuple(sorted({**_INDOORS, **_OUTDOORS}))
"""Classes of the procedural world whose sound has a visible cause."""


def n_scene_frames(duration_s: float, fps: float = FRAME_RATE) -> int:
    """Frames of a clip: those whose instants `i / fps` lie before its end (rounded up)."""
    return max(1, math.ceil(duration_s * fps - 1e-6))


def render_scene(
    class_name: str,
    events: Sequence[SoundEvent],
    duration_s: float,
    *,
    seed: int,
    fps: float = FRAME_RATE,
    size: int = 64,
) -> NDArray[np.uint8]:
    """Draw a clip whose motion causes the sound events.

    Frame `i` shows the instant `i / fps`. What strikes makes contact at an event's start, what opens stays
    open until its end, and a stronger event moves further. Everything else (colours, place, background,
    camera, light) follows from the seed; the same arguments give the same bytes on the same machine.

    Args:
        class_name: One of `VISIBLE_CLASSES`.
        events: Sound events in seconds from the start of the clip, in any order, none for an idle scene.
            Those outside of the clip move what can be seen of them.
        duration_s: Length in seconds, in (0, 600].
        seed: Not negative.
        fps: Frames per second.
        size: Pixels along each side, at least 16.

    Returns:
        `(frames, size, size, 3)` RGB bytes, `frames = ceil(duration_s * fps)`.

    Raises:
        ValueError: If an argument is outside of its range, or the class has no visible cause.
    """
    _check(class_name, events, seed, fps, size)
    n_frames = n_scene_frames(check_duration(duration_s), fps)
    frames = np.empty((n_frames, size, size, 3), np.uint8)
    for first in range(0, n_frames, _FRAMES_AT_ONCE):
        part = frames[first : first + _FRAMES_AT_ONCE]
        _render_part(part, class_name, events, np.arange(first, first + len(part)), seed, fps)
    return frames


def _render_part(
    out: NDArray[np.uint8],
    class_name: str,
    events: Sequence[SoundEvent],
    index: NDArray[np.intp],
    seed: int,
    fps: float,
) -> None:
    """Draw the frames numbered `index` into `out`; every part of a clip draws the same random numbers."""
    rng = np.random.default_rng([seed, zlib.crc32(class_name.encode())])
    size, t = out.shape[1], index / fps
    margin = math.ceil(_CAMERA_REACH * size) + 1
    mirrored = rng.random() < 0.5
    film = Film(len(t), size, margin, float(rng.choice([0.0, 0.008, 0.014])), rng.uniform(0.02, 0.2, 3))
    backdrop = Pen(film)
    place = rng.uniform(0.44, 0.56) + 1j * rng.uniform(0.45, 0.55)
    pen = backdrop.posed(place, float(rng.normal(0, 0.04)), float(rng.uniform(0.8, 1.05)))
    stage = Stage(pen, backdrop, Motion.of(events, t), rng)
    outdoors = class_name in _OUTDOORS
    furnish(stage, outdoors)
    (_OUTDOORS if outdoors else _INDOORS)[class_name](stage)
    develop(film, camera_path(rng, t, _CAMERA_REACH), index, rng, out[:, :, ::-1] if mirrored else out)


def _check(class_name: str, events: Sequence[SoundEvent], seed: int, fps: float, size: int) -> None:
    if class_name not in VISIBLE_CLASSES:
        raise ValueError(f"No scene shows {class_name!r}; choose one of {', '.join(VISIBLE_CLASSES)}.")
    if not (math.isfinite(fps) and 0 < fps <= 240):
        raise ValueError(f"fps is {fps!r}; give frames per second above 0 and at most 240.")
    if not 16 <= size <= 2048:
        raise ValueError(f"size is {size!r}; give 16 to 2048 pixels.")
    if seed < 0:
        raise ValueError(f"seed is {seed!r}; give a whole number from 0 on.")
    for event in events:
        known = all(math.isfinite(v) for v in (event.start_s, event.end_s, event.strength))
        if not (known and event.start_s <= event.end_s and 0 <= event.strength <= 1):
            raise ValueError(
                f"{event!r} can't be shown; give finite times with start_s <= end_s and a strength in [0, 1]."
            )
