"""The procedural Foley world: exact labels, disjoint splits, captions that tell the truth."""

import numpy as np
import pytest

from audio_agent_zoo.rates import SAMPLE_RATE
from audio_agent_zoo.synthesis.captions import SPLITS, split_of
from audio_agent_zoo.synthesis.catalogue import CATALOGUE, CLASS_NAMES
from audio_agent_zoo.synthesis.clips import PEAK, make_clip, make_pair


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_every_class_sounds_in_every_split_and_length(name: str) -> None:
    for split in SPLITS:
        for duration_s in (0.5, 1.28, 4.0):
            clip = make_clip(5, split, duration_s, class_name=name)
            assert clip.audio.shape == (round(duration_s * SAMPLE_RATE),)
            assert clip.audio.dtype == np.float32
            assert np.isfinite(clip.audio).all()
            assert np.abs(clip.audio).max() == pytest.approx(PEAK, abs=1e-6)
            assert clip.captions and all(split_of(caption) == split for caption in clip.captions)
            assert all(0 <= event.start_s < event.end_s <= duration_s for event in clip.events)


def test_a_clip_depends_on_its_seed_alone() -> None:
    first, again, other = make_clip(3), make_clip(3), make_clip(4)
    assert np.array_equal(first.audio, again.audio) and first.captions == again.captions
    assert first.audio.shape == other.audio.shape and not np.array_equal(first.audio, other.audio)


def test_splits_share_no_caption() -> None:
    seen = {split: {c for seed in range(120) for c in make_clip(seed, split, 0.6).captions} for split in SPLITS}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]


@pytest.mark.parametrize(("words", "count"), [("once", 1), ("twice", 2), ("three times", 3)])
def test_counts_in_captions_are_the_counts_in_the_sound(words: str, count: int) -> None:
    found = [
        clip
        for seed in range(150)
        for clip in [make_clip(seed, "train", 4.0, class_name="dog_barking")]
        if clip.caption.endswith(words)
    ]
    assert found, f"no caption ends in {words!r}"
    assert {len(clip.events) for clip in found} == {count}


@pytest.mark.parametrize("name", ["hammering", "dog_barking", "clapping", "cap_gun", "glass_breaking", "door_knock"])
def test_labelled_onsets_are_where_the_energy_jumps(name: str) -> None:
    """Within 20 ms after each labelled onset the sound is much louder than just before it."""
    louder = []
    for seed in range(12):
        clip = make_clip(seed, "train", 3.0, class_name=name)
        for event in clip.events:
            at = round(event.start_s * SAMPLE_RATE)
            before, after = clip.audio[max(0, at - 320) : at], clip.audio[at : at + 480]
            louder.append(np.sqrt(np.mean(after**2)) > 2 * np.sqrt(np.mean(before**2) if len(before) else 0.0))
    assert np.mean(louder) > 0.8


def test_pairs_hold_two_classes_under_one_sentence() -> None:
    for seed in range(6):
        clip = make_pair(seed, "test", 5.12, together=seed % 2 == 0)
        assert clip.class_name != clip.second_class
        assert clip.audio.shape == (81_920,) and np.abs(clip.audio).max() <= PEAK + 1e-6
        assert len(clip.captions) == 1 and split_of(clip.caption) == "test"


@pytest.mark.parametrize(
    "arguments",
    [{"class_name": "unicorn"}, {"split": "exam"}, {"duration_s": float("nan")}, {"duration_s": -1.0}],
)
def test_bad_arguments_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        make_clip(0, **arguments)  # type: ignore[arg-type]


def test_each_class_has_one_source_of_sound() -> None:
    for name, sound in CATALOGUE.items():
        assert (sound.strike is None) != (sound.texture is None), name
