"""Twelve turns in words: each makes the least it can, and leaves alone what it does not concern."""

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.planner.plan import Plan, canonical
from audio_agent_zoo.studio.session import Session
from audio_agent_zoo.studio.step_sounds import RenderSettings
from audio_agent_zoo.studio.turn import Turn
from tests.studio.sessions import tiny_agent

RATE, COLUMNS_PER_S = 16_000, 100
WIDEST, OVERLAP = 64, 16  # of the tiny weights, in columns

# What is said, and how many windows that must make.
TALK = [
    ("A car engine starts, then the car drives away", 12),
    ("Add a man talking before it drives away", 3),
    ("Change the driving away to a train passing by", 3),
    ("Make the man 6 dB louder", 0),
    ("Move the man half a second earlier", 0),
    ("Another take of the train", 3),
    ("undo", 0),
    ("The generation length is 7 seconds", 2),
    ("Add rain in the background", 15),
    ("Remove the man", 0),
    ("Put the train in the background", 0),
    ("Combine the first result with machine gun fire. The generation length is still 6 seconds", 13),
]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Windows of each call of the pipeline, counted where they are made."""
    counts: list[int] = []
    whole = TextToAudioPipeline.make_windows

    def counted(self: Any, windows: Any, *more: Any) -> Any:
        counts.append(len(windows))
        return whole(self, windows, *more)

    monkeypatch.setattr(TextToAudioPipeline, "make_windows", counted)
    yield counts


class Heard:
    """How far every sound of a session was ever heard, and so what a plan lacks at least."""

    def __init__(self) -> None:
        self.windows: dict[tuple[str, int], int] = {}

    def lacks(self, plan: Plan) -> int:
        least = 0
        for step in plan.steps:
            columns = round(step.duration_s * COLUMNS_PER_S)
            needed = 1 if columns <= WIDEST else ceil((columns - OVERLAP) / (WIDEST - OVERLAP))
            sound = (canonical(step.prompt), step.take)
            least += max(0, needed - self.windows.get(sound, 0))
            self.windows[sound] = max(needed, self.windows.get(sound, 0))
        return least


def _untouched(before: Turn, after: Turn) -> np.ndarray:
    """Samples of the present mix where nothing that changed sounds, or did before."""
    assert before.plan is not None and after.plan is not None
    old, new = ({step.id: step for step in turn.plan.steps} for turn in (before, after))  # type: ignore[union-attr]
    same = np.ones(round(after.plan.duration_s * RATE), bool)
    same[round(before.plan.duration_s * RATE) :] = False
    for name in old.keys() | new.keys():
        if old.get(name) != new.get(name):
            for step in (one for one in (old.get(name), new.get(name)) if one is not None):
                same[round(step.start_s * RATE) : round(step.end_s * RATE)] = False
    return same


def _unlimited(turn: Turn, length: int) -> np.ndarray:
    total = np.zeros(length)
    for stem in turn.stems.values():
        total[: len(stem)] += stem[:length]
    return total


def test_every_turn_makes_the_least_it_can(tmp_path: Path, made: list[int]) -> None:
    heard, before = Heard(), None
    untouched = []
    with tiny_agent().session(tmp_path / "session", RenderSettings(num_inference_steps=2)) as session:
        for said, count in TALK:
            made.clear()
            turn = session.say(said, duration_s=6.0)
            assert (turn.status, turn.plan is not None) == ("ok", True), turn.reply
            assert turn.plan is not None
            assert sum(made) == turn.windows == count == heard.lacks(turn.plan), said
            if before is not None and before.plan is not None:
                _same_where_nothing_changed(session, before, turn, untouched)
            before = turn
    share = sum(untouched) / len(untouched)
    print(f"\nwindows made: {[count for _, count in TALK]}; {share:.0%} of a timeline untouched, to the bit")


def _same_where_nothing_changed(session: Session, before: Turn, turn: Turn, untouched: list[float]) -> None:
    assert before.plan is not None and turn.plan is not None
    old = {step.id: step for step in before.plan.steps}
    for step in turn.plan.steps:
        if old.get(step.id) == step:
            now, was = turn.stems[step.id], before.stems[step.id]
            length = min(len(now), len(was))
            assert np.array_equal(now[:length], was[:length]), f"{turn.user}: {step.id} is another"
    same = _untouched(before, turn)
    untouched.append(float(same.mean()))
    assert np.array_equal(_unlimited(turn, len(same))[same], _unlimited(before, len(same))[same]), turn.user
