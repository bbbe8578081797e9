"""The offline planner: what is said in sequence follows, what is said together overlaps, nothing is invented."""

import subprocess
import sys
from itertools import pairwise

import pytest

from audio_agent_zoo.planner.errors import LanguageError
from audio_agent_zoo.planner.plan import Plan, plan_problems
from audio_agent_zoo.planner.rule_planner import RulePlanner

SEQUENCE, TOGETHER = "sequence", "together"


def _plan(text: str, duration_s: float = 10.0) -> Plan:
    plan = RulePlanner().plan(text, duration_s)
    assert plan_problems(plan.steps, plan.duration_s, 2, "paper") == []
    assert plan.planner.name == "rules"
    return plan


@pytest.mark.parametrize(
    ("text", "count", "relation"),
    [
        ("hammering on metal", 1, ""),
        ("A dog barks three times", 1, ""),
        ("Wind", 1, ""),
        ("the sound of a church bell ringing", 1, ""),
        ("A dog barking followed by a cat meowing", 2, SEQUENCE),
        ("a dog barking and then a cat meowing", 2, SEQUENCE),
        ("A car horn honks, then glass shatters", 2, SEQUENCE),
        ("A baby cries; a woman speaks", 2, SEQUENCE),
        ("A gunshot before a siren wails", 2, SEQUENCE),
        ("A car drives away after a door slams", 2, SEQUENCE),
        ("A man talks and laughs", 2, SEQUENCE),
        ("A man enters his car and drives away", 2, SEQUENCE),
        ("Footsteps on gravel. A door creaks. A man says hello", 3, SEQUENCE),
        ("a trumpet playing, then a trombone playing, then a cello playing", 3, SEQUENCE),
        ("A dog barks while a cat meows", 2, TOGETHER),
        ("A man speaks as an engine idles", 2, TOGETHER),
        ("A woman speaking with a crowd cheering", 2, TOGETHER),
        ("Rain falls in the background while a man speaks", 2, TOGETHER),
        ("combine a machine gun with explosions", 2, TOGETHER),
        ("A bird sings and a horn honks", 2, TOGETHER),
        ("A helicopter flies during a thunderstorm", 2, TOGETHER),
        ("Someone types on a keyboard along with a clock ticking", 2, TOGETHER),
    ],
)
def test_count_and_relation(text: str, count: int, relation: str) -> None:
    steps = _plan(text).steps
    assert len(steps) == count, [step.prompt for step in steps]
    if relation == SEQUENCE:
        assert all(a.end_s <= b.start_s + 1e-6 for a, b in pairwise(steps))
    if relation == TOGETHER:
        assert any(a.start_s < b.end_s and b.start_s < a.end_s for a in steps for b in steps if a is not b)


def test_the_readme_sentence() -> None:
    steps = _plan("A clap of thunder while rain pours, followed by a dog barking").steps
    by_prompt = {step.prompt: step for step in steps}
    assert list(by_prompt) == ["A clap of thunder", "Rain pours", "A dog barking"]
    assert by_prompt["Rain pours"].layer == "background"
    assert (by_prompt["Rain pours"].start_s, by_prompt["Rain pours"].end_s) == (0.0, 10.0)
    assert by_prompt["A clap of thunder"].end_s <= by_prompt["A dog barking"].start_s


def test_times_lengths_and_exclusions() -> None:
    glass = next(
        s for s in _plan("Glass breaks from 2 to 5 seconds while music plays, no speech").steps if "Glass" in s.prompt
    )
    assert (glass.start_s, glass.end_s, glass.negative_prompt) == (2.0, 5.0, "speech")
    assert _plan("A dog barks at 3 seconds").steps[0].start_s == 3.0
    long = _plan("generation length is 20 seconds. A river flowing followed by typing on a keyboard")
    assert long.duration_s == 20.0 and any("20 s" in note for note in long.notes)


def test_quoted_speech_is_left_whole() -> None:
    steps = _plan('a woman says "stop, then go while you can"').steps
    assert [step.prompt for step in steps] == ['A woman says "stop, then go while you can"']


@pytest.mark.parametrize("text", ["", "   ", "\x00", "12 34", "x" * 10_000])
def test_text_that_cannot_be_planned(text: str) -> None:
    with pytest.raises(ValueError):
        RulePlanner().plan(text)


def test_another_language_is_refused_with_a_way_out() -> None:
    with pytest.raises(LanguageError, match="English"):
        RulePlanner().plan("雷が鳴って犬が吠える")


@pytest.mark.parametrize("duration_s", [float("nan"), -1.0, 0.0, 601.0])
def test_unusable_durations(duration_s: float) -> None:
    with pytest.raises(ValueError, match="duration_s"):
        RulePlanner().plan("rain", duration_s)


def test_planning_needs_no_torch() -> None:
    code = "import sys; from audio_agent_zoo.planner import make_planner;"
    code += "make_planner('rules').plan('rain'); print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )
