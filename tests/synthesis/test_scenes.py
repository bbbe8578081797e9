"""Scenes show their events: frame counts, seeds, motion at the onsets, every class with any events."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from audio_agent_zoo.synthesis.events import SoundEvent
from audio_agent_zoo.synthesis.scenes import VISIBLE_CLASSES, n_scene_frames, render_scene

IMPACTS = (
    "bowling",
    "cap_gun",
    "church_bell",
    "clapping",
    "clock_ticking",
    "door_knock",
    "explosion",
    "footsteps",
    "glass_breaking",
    "hammering",
    "machine_gun",
    "typing",
)
OPENINGS = ("baby_crying", "cat_meowing", "frog_croaking", "lion_roaring", "rooster_crowing")


def motion_energy(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean change from the frame before, per frame; the first has none."""
    return np.concatenate([[0.0], np.abs(np.diff(frames.astype(int), axis=0)).mean(axis=(1, 2, 3))])


def test_the_visible_classes_are_those_of_the_world() -> None:
    assert len(VISIBLE_CLASSES) == len(set(VISIBLE_CLASSES)) == 28
    assert set(IMPACTS) | set(OPENINGS) <= set(VISIBLE_CLASSES)


@pytest.mark.parametrize(
    ("duration_s", "fps", "expected"),
    [
        (2.0, 21.5, 43),
        (1.0, 21.5, 22),
        (10.0, 21.5, 215),
        (0.01, 21.5, 1),
        (0.1, 10.0, 1),
        (0.7, 10.0, 7),
        (1.5, 25.0, 38),
    ],
)
def test_frames_cover_the_duration(duration_s: float, fps: float, expected: int) -> None:
    assert n_scene_frames(duration_s, fps) == expected
    frames = render_scene("typing", [], duration_s, seed=0, fps=fps, size=16)
    assert frames.shape == (expected, 16, 16, 3)
    assert frames.dtype == np.uint8


@pytest.mark.parametrize("class_name", VISIBLE_CLASSES)
def test_the_seed_decides_the_picture(class_name: str) -> None:
    events = [SoundEvent(0.2, 0.4, 0.8)]
    first = render_scene(class_name, events, 0.5, seed=3, size=32)
    assert np.array_equal(first, render_scene(class_name, events, 0.5, seed=3, size=32))
    assert np.abs(first.astype(int) - render_scene(class_name, events, 0.5, seed=4, size=32)).mean() > 5


@pytest.mark.parametrize("class_name", VISIBLE_CLASSES)
def test_every_class_shows_any_events(class_name: str) -> None:
    duration_s = 1.0
    many = [SoundEvent(0.02 * k, 0.02 * k + 0.3, (k % 5) / 4) for k in range(50)]
    for events in (
        [],
        [SoundEvent(0.5, 0.7)],
        [SoundEvent(0.0, 0.1), SoundEvent(duration_s, duration_s)],
        [SoundEvent(0.0, 0.0), SoundEvent(0.0, 0.5)],
        [SoundEvent(-0.5, 0.2), SoundEvent(3.0, 4.0)],
        many[::-1],
    ):
        frames = render_scene(class_name, events, duration_s, seed=1, size=24)
        assert frames.shape == (22, 24, 24, 3)
        assert frames.std() > 10  # a picture, not a flat field


@pytest.mark.parametrize("class_name", VISIBLE_CLASSES)
def test_an_event_moves_more_than_its_absence(class_name: str) -> None:
    event = SoundEvent(0.62, 0.95, 1.0)
    still = motion_energy(render_scene(class_name, [], 1.2, seed=7))
    moved = motion_energy(render_scene(class_name, [event], 1.2, seed=7))
    onset = math.ceil(event.start_s * 21.5)
    assert moved[onset - 1 : onset + 3].max() > 1.5 * still.max()


@pytest.mark.parametrize("class_name", IMPACTS)
def test_impacts_peak_within_a_frame_of_the_onset(class_name: str) -> None:
    for seed, start_s in enumerate((0.5, 0.73, 0.98, 1.21)):
        frames = render_scene(class_name, [SoundEvent(start_s, start_s + 0.1, 1.0)], 2.0, seed=seed)
        first_frame = math.ceil(start_s * 21.5)
        assert abs(int(motion_energy(frames).argmax()) - first_frame) <= 1, (seed, start_s)


@pytest.mark.parametrize("class_name", OPENINGS)
def test_what_opens_stays_open_until_the_end(class_name: str) -> None:
    idle = render_scene(class_name, [], 2.0, seed=2).astype(int)
    frames = render_scene(class_name, [SoundEvent(0.5, 1.5, 1.0)], 2.0, seed=2).astype(int)
    change = np.abs(frames - idle).mean(axis=(1, 2, 3))
    assert change[:11].max() == 0  # nothing before the onset at frame 10.75
    assert change[13:27].min() > 0.5 * change.max()
    assert change[33:].max() < 0.5 * change[13:27].min()


@pytest.mark.parametrize("class_name", ["hammering", "clapping", "frog_croaking", "machine_gun", "church_bell"])
def test_a_stronger_event_moves_further(class_name: str) -> None:
    def total(strength: float) -> float:
        frames = render_scene(class_name, [SoundEvent(0.6, 0.9, strength)], 1.2, seed=5)
        return float(motion_energy(frames).sum())

    assert total(1.0) > 1.1 * total(0.1)


def test_a_longer_clip_begins_with_the_shorter_one() -> None:
    """The parts a long clip is drawn in can't be seen: same background, grain and camera path."""
    events = [SoundEvent(0.5 * k, 0.5 * k + 0.1, 1.0) for k in range(10)]
    short = render_scene("hammering", events, 2.0, seed=6, size=24)
    long = render_scene("hammering", events, 5.0, seed=6, size=24)
    assert np.array_equal(long[:43], short)
    seam = motion_energy(render_scene("hammering", [], 5.0, seed=6, size=24))
    assert seam[64] < 1.5 * np.median(seam[1:])


@pytest.mark.parametrize("class_name", ["violin", "dog_barking", "glass_breaking"])
def test_drawing_does_not_depend_on_the_resolution(class_name: str) -> None:
    events = [SoundEvent(0.1, 0.3, 1.0)]
    small = render_scene(class_name, events, 0.4, seed=8, size=56).astype(float)
    large = render_scene(class_name, events, 0.4, seed=8, size=224).astype(float)
    pooled = large.reshape(len(large), 56, 4, 56, 4, 3).mean(axis=(2, 4))
    assert np.corrcoef(small.ravel(), pooled.ravel())[0, 1] > 0.97


def test_a_class_without_visible_cause_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'rain'; choose one of baby_crying, .*woman_speaking"):
        render_scene("rain", [], 1.0, seed=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"duration_s": 0.0}, "duration_s is 0.0"),
        ({"duration_s": math.nan}, "duration_s is nan"),
        ({"fps": 0.0}, "fps is 0.0"),
        ({"size": 8}, "size is 8"),
        ({"seed": -1}, "seed is -1"),
        ({"events": [SoundEvent(1.0, 0.5)]}, "start_s <= end_s"),
        ({"events": [SoundEvent(math.nan, 0.5)]}, "finite times"),
        ({"events": [SoundEvent(0.0, 0.5, 1.5)]}, "strength in"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    given: dict[str, object] = {
        "events": [],
        "duration_s": 1.0,
        "seed": 0,
        "fps": 21.5,
        "size": 16,
        **arguments,
    }
    with pytest.raises(ValueError, match=message):
        render_scene("clapping", **given)  # type: ignore[arg-type]
