"""What sentences change: a table of edits, what is asked about, and what no sentence may break."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_agent_zoo.planner.conversation import Answer, respond
from audio_agent_zoo.planner.edit_grammar import parse_edits
from audio_agent_zoo.planner.errors import PlannerError
from audio_agent_zoo.planner.plan import Plan, Step
from audio_agent_zoo.planner.rule_planner import RulePlanner

GONE: dict[str, Any] = {}


def _step(number: int, prompt: str, start_s: float, end_s: float, **more: Any) -> Step:
    return Step.model_validate({"id": f"e{number}", "prompt": prompt, "start_s": start_s, "end_s": end_s, **more})


DOG = _step(1, "A dog barks", 0, 4)
RAIN = _step(2, "Rain falls on a roof", 0, 10, layer="background", level_lufs=-26)
MAN = _step(3, "A man talks", 4, 7, kind="speech")
CAR = _step(4, "A car drives away", 7, 10)
SCENE = Plan(duration_s=10, steps=(DOG, RAIN, MAN, CAR))


def _say(text: str, plan: Plan = SCENE, recent: Sequence[str] = (), **more: Any) -> Answer:
    return respond(RulePlanner(), text, plan=plan, recent=recent, next_id=5, **more)


def _changes(before: Plan, after: Plan) -> dict[str, dict[str, Any]]:
    """Id -> the fields that changed; a new step has all that differ from the defaults, one that is gone has none."""
    old = {step.id: step for step in before.steps}
    changes: dict[str, dict[str, Any]] = {}
    for step in after.steps:
        was = old.pop(step.id, None)
        if was is None:
            changes[step.id] = {"prompt": step.prompt, "start_s": step.start_s, "end_s": step.end_s}
        elif was != step:
            new = step.model_dump()
            changes[step.id] = {key: new[key] for key, value in was.model_dump().items() if new[key] != value}
        else:
            assert step is was, "a step that does not change is the same object"
    return changes | dict.fromkeys(old, GONE)


def _new(prompt: str, start_s: float, end_s: float) -> dict[str, Any]:
    return {"prompt": prompt, "start_s": start_s, "end_s": end_s}


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        # Levels.
        ("make the rain louder", {"e2": {"level_lufs": -22}}),
        ("make the dog a bit louder", {"e1": {"level_lufs": -16}}),
        ("Please make the dog much quieter.", {"e1": {"level_lufs": -26}}),
        ("the dog is too loud", {"e1": {"level_lufs": -22}}),
        ("turn the rain down by 6 dB", {"e2": {"level_lufs": -32}}),
        ("turn up the man", {"e3": {"level_lufs": -14}}),
        ("make the man loud", {"e3": {"level_lufs": -14}}),
        ("raise the volume of the car by three dB", {"e4": {"level_lufs": -15}}),
        ("make the barking half as loud", {"e1": {"level_lufs": -28}}),
        ("set the rain to -40 LUFS", {"e2": {"level_lufs": -40}}),
        ("make the rain louder and the dog 3 dB quieter", {"e1": {"level_lufs": -21}, "e2": {"level_lufs": -22}}),
        ("make everything but the rain quieter", {i: {"level_lufs": -22} for i in ("e1", "e3", "e4")}),
        ("make it 4 dB louder", {"e3": {"level_lufs": -14}}),
        ("louder", {"e3": {"level_lufs": -14}}),
        # Side, depth, fades.
        ("pan the dog hard left", {"e1": {"pan": -1}}),
        ("pan e1 30% right", {"e1": {"pan": 0.3}}),
        ("move the car to the right", {"e4": {"pan": 0.6}}),
        ("put the dog in the background", {"e1": {"layer": "background", "level_lufs": -26}}),
        ("bring the rain to the foreground", {"e2": {"layer": "foreground", "level_lufs": -18}}),
        ("fade out the car over 2 seconds", {"e4": {"fade_out_s": 2}}),
        ("fade the rain in over 1.5 s", {"e2": {"fade_in_s": 1.5}}),
        ("I'd like the man to be louder", {"e3": {"level_lufs": -14}}),
        ("fade out at the end over 2 s", {"e2": {"fade_out_s": 2}, "e4": {"fade_out_s": 2}}),
        ("fade in the man", {"e3": {"fade_in_s": 1}}),
        ("let the car fade out", {"e4": {"fade_out_s": 1}}),
        ("add a 2 second fade-out to the rain", {"e2": {"fade_out_s": 2}}),
        # Mute, lock, takes, seeds, what a sound must not hold.
        ("mute the rain", {"e2": {"muted": True}}),
        ("mute the dog and the man", {"e1": {"muted": True}, "e3": {"muted": True}}),
        ("solo the dog", {i: {"muted": True} for i in ("e2", "e3", "e4")}),
        ("let me hear only the rain", {i: {"muted": True} for i in ("e1", "e3", "e4")}),
        ("lock the rain", {"e2": {"locked": True}}),
        ("another take of the dog", {"e1": {"take": 1}}),
        ("try the car again", {"e4": {"take": 1}}),
        ("redo the dog", {"e1": {"take": 1}}),
        ("use take 3 of the dog", {"e1": {"take": 3}}),
        ("set the seed of the dog to 7", {"e1": {"seed": 7}}),
        ("use seed 11 for the rain", {"e2": {"seed": 11}}),
        ("without music", {f"e{i}": {"negative_prompt": "music"} for i in range(1, 5)}),
        ("no speech in the rain", {"e2": {"negative_prompt": "speech"}}),
        # Time and length.
        ("move the man to 5 seconds", {"e3": {"start_s": 5, "end_s": 8}}),
        ("move the man 2 seconds later", {"e3": {"start_s": 6, "end_s": 9}}),
        ("start the man one second earlier", {"e3": {"start_s": 3, "end_s": 6}}),
        ("make the dog start at 3 s", {"e1": {"start_s": 3, "end_s": 7}}),
        ("let the man come in half a second sooner", {"e3": {"start_s": 3.5, "end_s": 6.5}}),
        ("the man should come later", {"e3": {"start_s": 5, "end_s": 8}}),
        ("could the man start at 2 seconds?", {"e3": {"start_s": 2, "end_s": 5}}),
        ("let the dog start right after the man", {"e1": {"start_s": 7, "end_s": 10}}),
        ("move the dog to the end", {"e1": {"start_s": 6, "end_s": 10}}),
        ("delay the dog by 1.5 seconds", {"e1": {"start_s": 1.5, "end_s": 5.5}}),
        ("put the man from 2 to 9 seconds", {"e3": {"start_s": 2, "end_s": 9}}),
        ("move the dog after the man", {"e1": {"start_s": 7, "end_s": 10}}),
        ("extend the dog by 2 seconds", {"e1": {"end_s": 6}}),
        ("shorten the rain to 6 seconds", {"e2": {"end_s": 6}}),
        ("make the dog last 2.5 seconds", {"e1": {"end_s": 2.5}}),
        ("make the man 1 second shorter", {"e3": {"end_s": 6}}),
        ("let the man play until 9 seconds", {"e3": {"end_s": 9}}),
        ("extend the man to the end", {"e3": {"end_s": 10}}),
        # Which sounds there are.
        ("remove the dog", {"e1": GONE}),
        ("get rid of the dog and the man", {"e1": GONE, "e3": GONE}),
        ("take the man out", {"e3": GONE}),
        ("I don't need the man anymore", {"e3": GONE}),
        ("remove the last sound", {"e4": GONE}),
        ("remove the sound at 5 seconds", {"e3": GONE}),
        ("delete the speech", {"e3": GONE}),
        ("replace the dog with a cat meowing", {"e1": {"prompt": "A cat meowing"}}),
        ("change 'A dog barks' to an explosion", {"e1": {"prompt": "An explosion"}}),
        ("use thunder instead of the car", {"e4": {"prompt": "Thunder"}}),
        ("replace the dog with a cat and the car with a train",
         {"e1": {"prompt": "A cat"}, "e4": {"prompt": "A train"}}),
        ("add a bell ringing at 2 seconds", {"e5": _new("A bell ringing", 2, 5)}),
        ("add a bell ringing for 1 second at 2 seconds", {"e5": _new("A bell ringing", 2, 3)}),
        ("insert a gunshot from 3 to 4 s", {"e5": _new("A gunshot", 3, 4)}),
        ("add a woman laughing before the man talks",
         {"e5": _new("A woman laughing", 4, 5.5), "e3": {"start_s": 5.5}}),
        ("add a door slamming between the man and the car",
         {"e5": _new("A door slamming", 7, 8.5), "e4": {"start_s": 8.5}}),
        ("add a bell ringing after the man talks and before it drives away",
         {"e5": _new("A bell ringing", 7, 8.5), "e4": {"start_s": 8.5}}),
        ("before it drives away, add a horn honking", {"e5": _new("A horn honking", 7, 8.5), "e4": {"start_s": 8.5}}),
        ("add footsteps while the man talks", {"e5": _new("Footsteps", 4, 7)}),
        ("add wind blowing in the background", {"e5": _new("Wind blowing", 0, 10)}),
        ("add a cat meowing at the end", {"e5": _new("A cat meowing", 7, 10)}),
        ("put a siren under everything", {"e5": _new("A siren", 0, 10)}),
        ("put the dog between the man and the car", {"e1": {"start_s": 7, "end_s": 8.5}, "e4": {"start_s": 8.5}}),
        ("repeat the man at 8 seconds", {"e5": _new("A man talks", 8, 10)}),
        ("also a cat meowing at 2 seconds", {"e5": _new("A cat meowing", 2, 5)}),
        ("add birds chirping from 4 to 7 seconds, quietly", {"e5": _new("Birds chirping quietly", 4, 7)}),
        ("can you add thunder at 4 s and make it loud", {"e5": _new("Thunder", 4, 7)}),
        # Several at once.
        ("remove the dog and add a cat meowing at 1 second", {"e1": GONE, "e5": _new("A cat meowing", 1, 4)}),
        ("mute the rain, then pan the dog left, and make the man louder",
         {"e1": {"pan": -0.6}, "e2": {"muted": True}, "e3": {"level_lufs": -14}}),
        ("Lock the dog. Move the man to 5 s; make it quieter.",
         {"e1": {"locked": True}, "e3": {"start_s": 5, "end_s": 8, "level_lufs": -22}}),
    ],
)  # fmt: skip
def test_a_sentence_changes_what_it_says_and_nothing_else(text: str, changes: dict[str, Any]) -> None:
    answer = _say(text, recent=["e3"])
    assert answer.status == "ok" and answer.plan is not None, answer.reply
    assert _changes(SCENE, answer.plan) == changes
    assert answer.plan.duration_s == 10
    assert len(answer.reply) < 400 and answer.reply.endswith(".")


@pytest.mark.parametrize(
    ("text", "length", "rain_end"),
    [
        ("make it 20 seconds long", 20, 20),
        ("The generation length is 20 seconds.", 20, 20),
        ("extend the clip to 12 s", 12, 12),
        ("make the whole thing 8 seconds", 8, 8),
        ("make it 3 seconds longer", 13, 13),
        ("set the length to 5 s", 5, 5),
    ],
)
def test_the_length_of_the_clip(text: str, length: float, rain_end: float) -> None:
    plan = _say(text).plan
    assert plan is not None and plan.duration_s == length
    assert {step.id for step in plan.steps} == {"e1", "e2", "e3", "e4"}, "no sound is lost"
    assert next(step for step in plan.steps if step.id == "e2").end_s == rain_end
    if length > 10:
        assert [step for step in plan.steps if step.id != "e2"] == [DOG, MAN, CAR]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("remove the cat", "no 'the cat'"),
        ("remove e9", "There is no e9"),
        ("make it louder", "'it'"),
        ("remove the fifth sound", "only 4"),
        ("remove everything", "nothing is left"),
        ("a dog barks", "Shall I add 'a dog barks'"),
        ("what do you think?", "I did not understand"),
        ("what sounds are there?", "I did not understand"),
        ("no dog", "Shall I remove e1 'A dog barks'"),
        ("add a bell before the cat meows", "no 'the cat meows'"),
        ("remove the angry white dog", "Do you mean e1"),
        ("make it longer", "How long"),
        ("add a dog barking, undo", "by itself"),
        ("go back to the seventh result", "result"),
        ("make it 5000 seconds long", "600 s"),
        ("...", "change?"),
    ],
)
def test_what_is_unclear_is_asked_about(text: str, words: str) -> None:
    answer = _say(text, earlier=[SCENE])
    assert (answer.status, answer.action, answer.plan) == ("ask", "none", None)
    assert words in answer.reply and answer.reply.count("?") == 1


def test_two_sounds_that_fit_are_both_offered_unless_one_was_touched_last() -> None:
    second = _step(5, "A dog growls", 4, 7)
    plan = SCENE.model_copy(update={"steps": (DOG, RAIN, second, CAR)})
    asked = _say("make the dog louder", plan)
    assert asked.status == "ask" and "e1 'A dog barks' or e5 'A dog growls'" in asked.reply
    answer = _say("make the dog louder", plan, recent=["e5"])
    assert answer.plan is not None and _changes(plan, answer.plan) == {"e5": {"level_lufs": -14}}


def test_locked_steps_stay() -> None:
    locked = SCENE.model_copy(update={"steps": (DOG, RAIN, MAN.model_copy(update={"locked": True}), CAR)})
    for text in ("remove the man", "make the man louder", "add a bell before the man talks", "something new: a cat"):
        answer = _say(text, locked)
        assert answer.status == "ask" and "e3 'A man talks' is locked" in answer.reply, text
    answer = _say("make everything quieter", locked)
    assert answer.plan is not None and set(_changes(locked, answer.plan)) == {"e1", "e2", "e4"}
    assert any("locked" in note for note in answer.notes)
    unlocked = _say("unlock the man and make it louder", locked)
    assert unlocked.plan is not None
    assert _changes(locked, unlocked.plan) == {"e3": {"locked": False, "level_lufs": -14}}


def test_the_sound_of_a_video_keeps_its_time() -> None:
    own = _step(1, "the sound of the picture", 0, 10, source="video")
    plan = Plan(duration_s=10, steps=(own, MAN), profile="free")
    for text in ("move e1 to 3 seconds", "make it 20 seconds long", "extend e1 by 2 s"):
        assert _say(text, plan).status == "ask", text
    answer = _say("make e1 quieter", plan)
    assert answer.plan is not None and answer.plan.steps[0].level_lufs == -22


def test_where_there_is_no_room_the_clip_grows_and_says_so() -> None:
    short = Plan(duration_s=2, steps=(_step(1, "A dog barks", 0, 1), _step(2, "A car starts", 1, 2)))
    answer = _say("add a bell before the car starts", short)
    assert answer.plan is not None and answer.plan.duration_s == 4
    assert _changes(short, answer.plan) == {"e5": _new("A bell", 1, 3), "e2": {"start_s": 3, "end_s": 4}}
    assert any("lasts 4 s" in note for note in answer.notes)


def test_more_at_once_and_a_silent_end_are_said() -> None:
    over = _say("add a siren from 0 to 3 s")
    assert over.plan is not None and (over.plan.max_polyphony, over.plan.profile) == (3, "free")
    assert any("3 sounds now overlap" in note for note in over.notes)
    plan = Plan(duration_s=10, steps=(DOG, CAR))
    gone = _say("remove the car", plan)
    assert gone.plan is not None and gone.plan.profile == "free" and gone.plan.duration_s == 10
    assert any("Nothing sounds after 4 s" in note for note in gone.notes)


def test_another_take_is_one_that_was_not_heard() -> None:
    heard = SCENE.model_copy(update={"steps": (DOG.model_copy(update={"take": 4}), RAIN, MAN, CAR)})
    answer = _say("another take of the dog", earlier=[SCENE, heard])
    assert answer.plan is not None and answer.plan.steps[0].take == 5


def test_quoted_captions_are_left_whole() -> None:
    edits = parse_edits("replace e1 with 'a man says stop, then mute the rain' and remove e2")
    assert edits is not None and [edit.kind for edit in edits] == ["replace", "remove"]
    assert edits[0].content == "'a man says stop, then mute the rain'"


_WORDS = st.sampled_from(
    re.findall(
        r"\S+",
        "add remove replace make move mute solo lock unlock pan fade the a dog rain man car it everything louder "
        "quieter by 3 dB seconds to 5 20 -4 99999 before after while between and then with in out left at end from "
        "until another take of without music seed undo redo combine first third result this under something different: "
        "long last extend 0 e1 e9 'A dog barks' repeat put play behind over \" ' ( ) . , ; ? é 你好 \x00 <b> second "
        "half as background generate length is shorten earlier later go back start swap too loud no",
    )
)
_ANYTHING = st.one_of(st.text(max_size=60), st.lists(_WORDS, min_size=1, max_size=14).map(" ".join))


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(_ANYTHING, min_size=1, max_size=4))
def test_no_words_break_a_conversation(texts: list[str]) -> None:
    plan, earlier, recent, next_id = SCENE, [SCENE], ["e3"], 5
    for text in texts:
        before = {step.id: step for step in plan.steps}
        try:
            answer = respond(
                RulePlanner(), text, plan=plan, earlier=earlier, recent=recent, next_id=next_id, duration_s=10
            )
        except (PlannerError, ValueError) as error:
            assert type(error) in (ValueError, *PlannerError.__subclasses__()), repr(error)
            continue
        assert answer.reply and (answer.plan is not None) == (answer.action == "plan")
        if answer.plan is None:
            continue
        Plan.model_validate(answer.plan.model_dump())
        known = {step.id for one in earlier for step in one.steps}
        assert all(int(step.id[1:]) >= next_id for step in answer.plan.steps if step.id not in known), "no id twice"
        assert all(not step.locked or before.get(step.id) in (None, step) or "unlock" in text or "lock" in text
                   for step in before.values())  # fmt: skip
        plan, recent = answer.plan, [s.id for s in answer.plan.steps if before.get(s.id) != s]
        earlier = [*earlier, plan]
        next_id = max(next_id, 1 + max(int(step.id[1:]) for step in plan.steps))
