"""Every kind of edit with a chat planner over the wire; then the same conversation from its record."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio_agent_zoo.planner.errors import NotRecordedError
from audio_agent_zoo.planner.openai_planner import OpenAIPlanner
from audio_agent_zoo.planner.recorded_planner import RecordedPlanner
from audio_agent_zoo.planner.rule_planner import RulePlanner
from audio_agent_zoo.studio.session import Session
from audio_agent_zoo.studio.step_sounds import RenderSettings
from audio_agent_zoo.studio.turn import Turn
from tests.loopback_chat_api import KEY, ChatServer
from tests.studio.sessions import tiny_agent

QUICK = RenderSettings(num_inference_steps=2)


def _event(name: str, prompt: str, start: float, end: float, level: float = -18, **more: Any) -> dict[str, Any]:
    event = {"id": name, "prompt": prompt, "start": start, "end": end, "level": level}
    return {**event, "layer": "foreground", "kind": "sfx", **more}


def _answer(*events: dict[str, Any], mode: str = "edit", reply: str = "Done.", duration: float = 4) -> str:
    return json.dumps({"reply": reply, "mode": mode, "duration": duration, "events": list(events)})


@dataclass(frozen=True)
class Exchange:
    """What is said, what the language model answers (None where it must not be asked), and what comes of it."""

    said: str
    answer: str | None
    steps: dict[str, tuple[str, float, float]]
    made: tuple[str, ...] = ()
    status: str = "ok"


ENGINE, DRIVES = ("A car engine starts", 0.0, 2.0), ("The car drives away", 2.0, 4.0)
MAN, AWAY, TRAIN = ("A man talks", 2.0, 3.0), ("The car drives away", 3.0, 4.0), ("A train passes by", 3.0, 4.0)
SOONER, LONGER, WIND = ("A man talks", 1.5, 2.5), ("A train passes by", 3.0, 8.0), ("Wind blows", 0.0, 8.0)
BELL, GUN = ("A church bell rings", 0.0, 4.0), ("A machine gun fires", 1.0, 4.0)
OTHERS = [_event("e1", *ENGINE), _event("e3", *SOONER, -12)]

TALK = [
    # The conversation of the paper's Figure 4, and every other kind of edit between its turns.
    Exchange(
        "A car engine starts, then the car drives away",
        _answer(_event("", *ENGINE), _event("", *DRIVES), mode="new"),
        {"e1": ENGINE, "e2": DRIVES},
        ("e1", "e2"),
    ),
    Exchange(
        "Add a man talking before it drives away",
        _answer(_event("e1", *ENGINE), _event("", *MAN), _event("e2", *AWAY)),
        {"e1": ENGINE, "e3": MAN, "e2": AWAY},
        ("e3",),
    ),
    Exchange(
        "Change the driving away to a train passing by",
        _answer(_event("e1", *ENGINE), _event("e3", *MAN), _event("e2", *TRAIN)),
        {"e1": ENGINE, "e3": MAN, "e2": TRAIN},
        ("e2",),
    ),
    Exchange("make the man 6 dB louder", None, {"e1": ENGINE, "e3": MAN, "e2": TRAIN}),
    Exchange(
        "let the man come in half a second sooner",
        _answer(_event("e1", *ENGINE), _event("e3", *SOONER, -12), _event("e2", *TRAIN)),
        {"e1": ENGINE, "e3": SOONER, "e2": TRAIN},
    ),
    Exchange("another take of the train", None, {"e1": ENGINE, "e3": SOONER, "e2": TRAIN}, ("e2",)),
    Exchange("undo", None, {"e1": ENGINE, "e3": SOONER, "e2": TRAIN}),
    Exchange("redo", None, {"e1": ENGINE, "e3": SOONER, "e2": TRAIN}),
    Exchange(
        "The generation length is 8 seconds",
        _answer(*OTHERS, _event("e2", *LONGER), duration=8),
        {"e1": ENGINE, "e3": SOONER, "e2": LONGER},
        ("e2",),
    ),
    Exchange(
        "put some wind under all of it",
        _answer(
            _event("", *WIND, -26, layer="background"),
            *OTHERS,
            _event("e2", *LONGER),
            duration=8,
        ),
        {"e1": ENGINE, "e4": WIND, "e3": SOONER, "e2": LONGER},
        ("e4",),
    ),
    Exchange(
        "I do not need the man",
        _answer(
            _event("e1", *ENGINE),
            _event("e4", *WIND, -26, layer="background"),
            _event("e2", *LONGER),
            duration=8,
        ),
        {"e1": ENGINE, "e4": WIND, "e2": LONGER},
    ),
    Exchange(
        "make the thing louder, you know which",
        _answer(mode="ask", reply="Which sound do you mean?"),
        {"e1": ENGINE, "e4": WIND, "e2": LONGER},
        status="ask",
    ),
    Exchange(
        "say something I can be sued for",
        _answer(mode="refuse", reply="Not this."),
        {"e1": ENGINE, "e4": WIND, "e2": LONGER},
        status="refused",
    ),
    Exchange(
        "Now something else: a church bell", _answer(_event("", *BELL), mode="new"), {"e5": BELL}, ("e5",)
    ),
    Exchange(
        "Combine the first result with machine gun fire to make a battlefield. The generation length is 4 seconds.",
        _answer(_event("", *ENGINE), _event("", *DRIVES), _event("", *GUN), mode="new"),
        {"e6": ENGINE, "e7": GUN, "e8": DRIVES},
        ("e7",),
    ),
]  # fmt: skip


def _steps(turn: Turn) -> dict[str, tuple[str, float, float]]:
    assert turn.plan is not None
    return {step.id: (step.prompt, step.start_s, step.end_s) for step in turn.plan.steps}


def test_every_kind_of_edit_over_the_wire_and_again_from_its_record(chat_server: ChatServer, tmp_path: Path) -> None:
    record = tmp_path / "answers.jsonl"
    agent = tiny_agent(OpenAIPlanner("says", base_url=chat_server.url, deadline_s=20, record=record))
    with agent.session(tmp_path / "live", QUICK) as live:
        for exchange in TALK:
            asked = len(chat_server.requests)
            chat_server.says = exchange.answer or "The planner must not be asked for this."
            turn = live.say(exchange.said, duration_s=4.0)
            assert (turn.status, _steps(turn), turn.regenerated) == (
                exchange.status,
                exchange.steps,
                exchange.made,
            ), f"{exchange.said}: {turn.reply}"
            assert len(chat_server.requests) - asked == (exchange.answer is not None), exchange.said
            assert (turn.status == "ok") or turn.reply.count("?") <= 1
        levels = {step.id: step.level_lufs for turn in live.turns[3:4] if turn.plan for step in turn.plan.steps}
        assert levels == {"e1": -18, "e3": -12, "e2": -18}
    _check_replay(live, record, chat_server, tmp_path / "again")


def _check_replay(live: Session, record: Path, chat_server: ChatServer, folder: Path) -> None:
    text = record.read_text(encoding="utf-8")
    assert KEY not in text and "127.0.0.1" not in text and len(text.splitlines()) == len(chat_server.requests)
    planner = RecordedPlanner(record)
    asked = len(chat_server.requests)
    with tiny_agent(planner).session(folder, QUICK) as again:
        for turn in live.turns:
            same = again.say(turn.user, duration_s=4.0)
            assert (same.status, same.reply, same.plan) == (turn.status, turn.reply, turn.plan)
        assert np.array_equal(again.turns[-1].audio, live.turns[-1].audio)
        elsewhere = again.say("and now a flock of geese")
        assert elsewhere.status == "failed" and "answers.jsonl holds no answer" in elsewhere.reply
        assert again.plan == live.plan
    assert len(chat_server.requests) == asked, "nothing was asked"
    assert repr(planner) == f"RecordedPlanner({str(record)!r}, model='says')"


def test_an_answer_that_had_to_be_asked_for_twice_and_a_refusal_of_the_api(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    record = tmp_path / "r" / "answers.jsonl"
    for model in ("prose-once", "refusal"):
        live = OpenAIPlanner(model, base_url=chat_server.url, record=record)
        if model == "refusal":
            with pytest.raises(Exception, match="I will not") as refused:
                live.plan("a riot")
        else:
            made = live.plan("rain, then a dog", 8)
    again = RecordedPlanner(record)
    assert again.plan("rain, then a dog", 8).steps == made.steps
    with pytest.raises(type(refused.value), match="declined: I will not"):
        again.plan("a riot")
    with pytest.raises(NotRecordedError):
        again.plan("rain, then a dog", 9)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no answer"),
        (b"\xff\xfe", "no text"),
        (b"{}\n", "line 1 can't be read"),
        (b"nonsense\n", "line 1 can't be read"),
        (b'{"prompt_version": "0", "asked": "", "answer": "", "refused": false, "model": ""}\n', "record it again"),
    ],
)
def test_a_file_that_is_no_recording(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        RecordedPlanner(path)


def test_the_rules_answer_every_kind_of_edit_or_ask_once(tmp_path: Path) -> None:
    """The same sentences without a language model: what the rules don't settle is a question that changes nothing."""
    with tiny_agent(RulePlanner()).session(tmp_path / "s", QUICK) as session:
        for exchange in TALK:
            before = session.plan
            turn = session.say(exchange.said, duration_s=4.0)
            if turn.status == "ask":
                assert session.plan == before and turn.reply.count("?") == 1, turn.reply
        statuses = [turn.status for turn in session.turns]
    assert statuses.count("ask") <= 4, [f"{t.user}: {t.reply}" for t in session.turns if t.status == "ask"]
