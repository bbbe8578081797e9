"""Whatever a planner answers becomes a valid plan or a typed error."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_agent_zoo.planner.errors import MalformedPlanError
from audio_agent_zoo.planner.plan import Plan, Step, plan_problems
from audio_agent_zoo.planner.repair import repair_plan
from audio_agent_zoo.planner.reply_parser import parse_calls, parse_reply

_ANY = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20) | st.just("7.5 s")
_EVENT = st.dictionaries(
    st.sampled_from(
        [
            "id",
            "prompt",
            "caption",
            "start",
            "end",
            "start_s",
            "level",
            "layer",
            "kind",
            "pan",
            "seed",
            "take",
            "negative_prompt",
        ]
    ),
    _ANY | st.floats(-5, 20) | st.sampled_from(["e1", "e2", "rain", "a dog barks", "background", "music"]),
    max_size=9,
)
_PLAUSIBLE = st.fixed_dictionaries(
    {
        "prompt": st.sampled_from(["rain", "a dog barks", "bell", "wind", "glass breaks"]),
        "start": st.floats(-2, 12),
        "end": st.floats(-2, 14),
    },
    optional={"layer": st.sampled_from(["foreground", "background"]), "level": st.floats(-90, 20)},
)
_REPLY = st.fixed_dictionaries(
    {"events": st.lists(_EVENT | _PLAUSIBLE, max_size=12) | _ANY}, optional={"duration": _ANY | st.floats(0.1, 700)}
)


@settings(max_examples=2500, deadline=None)
@given(_REPLY, st.integers(1, 4))
def test_any_reply_becomes_a_valid_plan_or_a_typed_error(reply: dict[str, Any], most: int) -> None:
    try:
        plan = repair_plan(reply, max_polyphony=most)
    except MalformedPlanError:
        return
    assert plan_problems(plan.steps, plan.duration_s, most, "paper") == []
    again = repair_plan(json.loads(plan.to_json()), max_polyphony=most)
    assert again.steps == plan.steps, "a repaired plan needs no repair"
    assert Plan.from_json(plan.to_json()) == plan


@settings(max_examples=1500, deadline=None)
@given(st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "replace")) | st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(MalformedPlanError):
        repair_plan(parse_reply(text))


@pytest.mark.parametrize(
    "wrapped",
    ["{}", "```json\n{}\n```", '<think>maybe {{"events": [1]}}</think>Sure!\n{}\nEnjoy.', "Here you go: {} -- done"],
)
def test_json_is_found_in_any_wrapping(wrapped: str) -> None:
    reply = '{"duration": 8, "events": [{"prompt": "rain", "start": 0, "end": 8,},],}'
    plan = repair_plan(parse_reply(wrapped.replace("{}", reply).replace("{{", "{").replace("}}", "}")))
    assert [step.prompt for step in plan.steps] == ["rain"] and plan.duration_s == 8


def test_the_papers_grammar() -> None:
    text = (
        "{\"plan\": \"1. Auffusion.generate('A ship's engine, (idling), starts',start_time=0,end_time=4); "
        '2. Auffusion.generate(‘Rain’, end_time=10, start_time=3.5, volume=-20);"}'
    )
    steps = repair_plan(parse_reply(text)).steps
    assert [(s.prompt, s.start_s, s.end_s) for s in steps] == [
        ("A ship's engine, (idling), starts", 0, 4),
        ("Rain", 3.5, 10),
    ]
    assert steps[1].level_lufs == -20
    assert parse_calls("no calls here") == []


def test_nan_is_no_number() -> None:
    with pytest.raises(MalformedPlanError):
        parse_reply('{"events": [{"prompt": "rain", "start": NaN, "end": 3}]}')


def test_each_repair_leaves_a_note() -> None:
    events = [{"prompt": "rain", "start": 5, "end": 1}, {"prompt": "", "start": 0, "end": 1}]
    plan = repair_plan({"events": events, "duration": 9000})
    assert len(plan.notes) >= 4
    assert plan.duration_s == 10


def test_render_key_ignores_the_mixer() -> None:
    step = Step(id="e1", prompt="Rain falls", start_s=0, end_s=4)
    same = Step(
        id="e2", prompt="rain falls.", start_s=2, end_s=9, level_lufs=-30, pan=0.5, muted=True, layer="background"
    )
    assert step.render_key == same.render_key
    for change in ({"prompt": "hail"}, {"seed": 3}, {"take": 1}, {"negative_prompt": "music"}):
        assert step.model_copy(update=change).render_key != step.render_key


def test_frozen_and_closed() -> None:
    step = Step(id="e1", prompt="rain", start_s=0, end_s=1)
    with pytest.raises(ValueError):
        step.prompt = "hail"  # type: ignore[misc]
    with pytest.raises(ValueError, match="no valid plan"):
        Plan.from_json('{"duration_s": 10, "steps": [], "surprise": 1}')
