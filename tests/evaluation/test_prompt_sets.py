"""Captions that systems are asked for: drawn by seed, joined as the paper joins them, scenes of our own."""

from pathlib import Path

import pytest

from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.evaluation.prompt_sets import COMPLEX_CAPTIONS, audiocaps_captions, joined_pairs, sampled

CAPTIONS = [f"Sound number {i}." for i in range(12)]


def test_a_seed_draws_the_same_captions_without_repetition() -> None:
    first = sampled([*CAPTIONS, *CAPTIONS], 12, seed=3)
    assert first == sampled(CAPTIONS, 12, seed=3) and sorted(first) == sorted(CAPTIONS)
    assert sampled(CAPTIONS, 5, seed=3) != sampled(CAPTIONS, 5, seed=4)
    for n in (0, 13):
        with pytest.raises(ValueError, match="ask for 1 to 12"):
            sampled(CAPTIONS, n, seed=0)


def test_pairs_are_joined_as_one_sentence() -> None:
    pairs = joined_pairs(CAPTIONS, 6, seed=1)
    assert len(pairs) == 6
    used = [half for pair in pairs for half in pair.split(" followed by ")]
    assert len({half.lower() for half in used}) == 12
    assert all(pair.startswith("Sound") and " followed by sound" in pair and not pair.endswith(".") for pair in pairs)


def test_scenes_are_enough_distinct_and_name_no_sound_outright() -> None:
    assert len(COMPLEX_CAPTIONS) >= 40 and len({text.lower() for text in COMPLEX_CAPTIONS}) == len(COMPLEX_CAPTIONS)
    for text in COMPLEX_CAPTIONS:
        assert 5 <= len(text.split()) <= 16 and not text.endswith(".")
        assert not {"sound", "noise", "hear", "loud"} & set(text.lower().split())


def test_captions_of_audiocaps_table(tmp_path: Path) -> None:
    table = tmp_path / "test.csv"
    table.write_text('audiocap_id,youtube_id,start_time,caption\n1,abc,10,"A dog barks, then rests"\n2,abd,20,Rain\n')
    assert audiocaps_captions(table) == ["A dog barks, then rests", "Rain"]
    table.write_text("audiocap_id,caption\n1,\n")
    with pytest.raises(MediaError, match="no captions"):
        audiocaps_captions(table)
    table.write_text("a,b\n1,2\n")
    with pytest.raises(MediaError, match="needs caption"):
        audiocaps_captions(table)
