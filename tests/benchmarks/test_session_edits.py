"""Wall time of an edit against making everything again, over twelve turns of a session with the bundled weights.

Run with `pytest -m benchmark tests/benchmarks -s`.
"""

from pathlib import Path
from time import perf_counter

import pytest

from audio_agent_zoo.pipelines.audio_agent import AudioAgent

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

TALK = [
    "Rain falls while a dog barks, then a church bell rings, then a car drives away",
    "Make the rain quieter",
    "Replace the dog with a cat meowing",
    "Move the bell half a second later",
    "Another take of the car",
    "undo",
    "Add footsteps at 2 seconds",
    "The generation length is 14 seconds",
    "Pan the car left",
    "Remove the footsteps",
    "Mute the rain",
    "Add a door knock before the bell rings",
]


def test_an_edit_against_a_full_regeneration(tmp_path: Path) -> None:
    agent = AudioAgent.from_pretrained("foley-mini", planner="rules")
    agent.render(agent.plan("a dog barks", 1.0))
    edits = wholes = 0.0
    print("\nedit (s)  whole (s)  made")
    with agent.session(tmp_path / "session") as session:
        session.say(TALK[0])
        for said in TALK[1:]:
            started = perf_counter()
            turn = session.say(said)
            edit = perf_counter() - started
            assert turn.status == "ok" and turn.plan is not None, turn.reply
            started = perf_counter()
            agent.render(turn.plan)
            whole = perf_counter() - started
            edits, wholes = edits + edit, wholes + whole
            print(f"{edit:8.2f}  {whole:9.2f}  {len(turn.regenerated)}  {said}")
            if not turn.regenerated:
                assert edit < 0.5 * whole, said
    print(f"eleven edits / everything again: {edits / wholes:.2f} of its time")
    assert edits < 0.5 * wholes
