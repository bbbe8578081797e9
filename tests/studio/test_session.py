"""What a turn makes again, what it leaves alone to the bit, and what is still there afterwards."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from audio_agent_zoo.errors import MediaError, RenderError, SessionError
from audio_agent_zoo.pipelines.audio_agent import AudioAgent
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.planner.plan import Plan
from audio_agent_zoo.planner.rule_planner import RulePlanner
from audio_agent_zoo.studio.session import Session
from audio_agent_zoo.studio.step_sounds import RenderSettings
from audio_agent_zoo.studio.turn import Turn
from tests import tiny
from tests.studio.sessions import BARK, BELL, RAIN, plan, step, tiny_agent, tiny_video_file


@pytest.fixture(scope="module")
def agent() -> AudioAgent:
    return tiny_agent()


@pytest.fixture
def session(agent: AudioAgent, tmp_path: Path) -> Iterator[Session]:
    with agent.session(tmp_path / "session") as opened:
        yield opened


def _same(a: dict[str, np.ndarray], b: dict[str, np.ndarray], *names: str) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in names)


def test_the_first_turn_makes_everything(session: Session) -> None:
    turn = session.edit(plan(RAIN, BARK))
    assert (turn.number, turn.status, turn.regenerated, turn.kept, turn.windows) == (1, "ok", ("e1", "e2"), (), 2)
    assert turn.audio is not None and turn.audio.shape == (32_000,) and np.isfinite(turn.audio).all()
    assert set(turn.stems) == {"e1", "e2"}
    assert session.plan == turn.plan


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        ({"start_s": 0.9, "end_s": 1.4}, True),
        ({"level_lufs": -30.0}, True),
        ({"fade_out_s": 0.2}, True),
        ({"muted": True}, True),
        ({"locked": True}, False),
        ({"end_s": 0.9}, True),
        ({"end_s": 1.1}, True),
    ],
)
def test_what_the_mixer_does_costs_no_generation(session: Session, values: dict[str, object], changed: bool) -> None:
    before = session.edit(plan(RAIN, BARK)).stems
    turn = session.change("e2", **values)
    assert turn.regenerated == () and turn.windows == 0
    assert _same(before, turn.stems, "e1")
    assert ("e2" not in turn.stems or not np.array_equal(before["e2"], turn.stems["e2"])) is changed


def test_pan_makes_stereo_and_keeps_the_sound(session: Session) -> None:
    before = session.edit(plan(RAIN, BARK))
    turn = session.change("e2", pan=-1.0)
    assert turn.regenerated == () and turn.audio is not None and turn.audio.shape == (32_000, 2)
    assert np.allclose(turn.stems["e2"][:, 1], 0) and np.allclose(turn.stems["e2"][:, 0], before.stems["e2"])


@pytest.mark.parametrize("values", [{"prompt": "a cat meows"}, {"negative_prompt": "music"}, {"seed": 5}, {"take": 1}])
def test_what_changes_the_sound_makes_that_step_alone(session: Session, values: dict[str, object]) -> None:
    before = session.edit(plan(RAIN, BARK)).stems
    turn = session.change("e2", **values)
    assert turn.regenerated == ("e2",) and turn.kept == ("e1",) and turn.windows == 1
    assert _same(before, turn.stems, "e1") and not np.array_equal(before["e2"], turn.stems["e2"])


def test_the_same_words_under_another_id_are_not_made_again(session: Session) -> None:
    session.edit(plan(RAIN, BARK))
    turn = session.edit(plan(RAIN, step(3, "A dog barks.", 1.0, 1.5)))
    assert turn.regenerated == () and turn.kept == ("e1", "e3")


def test_a_longer_sound_costs_the_windows_it_lacks(session: Session) -> None:
    first = session.edit(plan(step(1, "rain on a roof", 0.0, 0.64)))
    longer = session.change("e1", end_s=1.6)
    assert first.windows == 1 and longer.windows == 2, "64 columns at a time, 16 of them shared: 160 need three"
    assert session.change("e1", end_s=1.0).windows == 0


def test_a_sound_that_is_cut_or_goes_on_begins_as_it_was_heard(agent: AudioAgent, tmp_path: Path) -> None:
    def heard(turn: Turn, name: str = "e1") -> np.ndarray:
        assert turn.sound is not None
        return turn.sound.renders[name].audio

    with agent.session(tmp_path / "s") as session:
        first = session.edit(plan(step(1, "rain on a roof", 0.0, 0.6), step(2, "rain on a roof", 1.0, 1.25)))
        assert first.windows == 2, "one sound at two lengths"
        cut = session.change("e1", end_s=0.3)
        assert cut.windows == 0 and np.array_equal(heard(cut), heard(first))
        assert np.array_equal(heard(cut, "e2"), heard(first, "e2")), "its namesake keeps its own"
        longer = session.change("e1", end_s=0.9)
        assert longer.windows == 1 and longer.regenerated == ("e1",)
        before_the_crossfade = slice((64 - 16) * 160)
        now, was = heard(longer)[before_the_crossfade], heard(first)[before_the_crossfade]
        scale = np.max(np.abs(was)) / np.max(np.abs(now))  # the whole is lowered where a cross-fade is too loud
        assert np.allclose(now * scale, was, atol=1e-6)
        assert session.undo().windows == 0
        assert session.change("e1", end_s=0.9).windows == 0
    with agent.session(tmp_path / "s") as again:
        assert np.array_equal(heard(again.turns[1]), heard(cut)) and np.array_equal(
            heard(again.turns[2]), heard(longer)
        )


def test_a_log_that_asks_for_endless_windows_is_refused(agent: AudioAgent, tmp_path: Path) -> None:
    with agent.session(tmp_path / "s") as session:
        session.edit(plan(RAIN))
    log = tmp_path / "s" / "session.jsonl"
    log.write_text(log.read_text().replace('"e1": [64]', '"e1": [99999999]'))
    with pytest.raises(SessionError, match="not 1 to 8192 columns"):
        agent.session(tmp_path / "s")


def test_undo_and_redo_cost_nothing_and_bring_back_every_bit(session: Session) -> None:
    one = session.edit(plan(RAIN, BARK))
    two = session.change("e2", prompt="a cat meows")
    back = session.undo()
    assert back.action == "undo" and back.plan == one.plan and np.array_equal(back.audio, one.audio)
    assert session.plan == one.plan
    again = session.redo()
    assert again.plan == two.plan and np.array_equal(again.audio, two.audio)
    assert session.redo().status == "ask"
    session.undo()
    session.undo()
    assert session.plan is None and session.undo().status == "ask"
    assert session.redo().plan == one.plan


def test_an_edit_after_undo_is_a_branch_and_the_other_stays(session: Session) -> None:
    session.edit(plan(RAIN, BARK))
    left = session.change("e2", prompt="a cat meows")
    session.undo()
    session.change("e1", level_lufs=-40.0)
    assert session.redo().status == "ask", "the newest edit has nothing after it"
    session.go_to(left.number)
    assert session.plan == left.plan
    session.undo()
    assert session.redo().plan == left.plan
    with pytest.raises(ValueError, match="turn 99 made no timeline"):
        session.go_to(99)


def test_takes_can_be_compared(session: Session) -> None:
    first = session.edit(plan(RAIN, BARK)).stems
    second = session.retake("e2")
    assert second.regenerated == ("e2",) and session.takes("e2") == [0, 1]
    back = session.retake("e2", take=0)
    assert back.regenerated == () and _same(first, back.stems, "e1", "e2")
    assert session.retake("e2").plan.steps[1].take == 2  # type: ignore[union-attr]


def test_the_cost_is_known_before(session: Session) -> None:
    assert session.cost(plan(RAIN, BARK)) == {"e1": 1, "e2": 1}
    session.edit(plan(RAIN, BARK))
    assert session.cost(plan(RAIN, BARK, BELL)) == {"e3": 1}
    assert session.cost(plan(RAIN, step(2, "a dog barks", 0.0, 0.5))) == {}


def test_a_session_is_gone_on_with_after_it_was_closed(agent: AudioAgent, tmp_path: Path) -> None:
    with agent.session(tmp_path / "s") as first:
        one = first.edit(plan(RAIN, BARK))
        two = first.change("e2", take=1)
        first.undo()
    with agent.session(tmp_path / "s") as again:
        assert [turn.user for turn in again.turns] == [turn.user for turn in first.turns]
        assert again.plan == one.plan and again.cost(one.plan) == {}  # type: ignore[arg-type]
        assert np.array_equal(again.turns[1].audio, two.audio)
        assert again.redo().plan == two.plan
        assert again.change("e1", pan=0.5).windows == 0


def test_only_one_writes(agent: AudioAgent, session: Session) -> None:
    with pytest.raises(SessionError, match="open elsewhere"):
        agent.session(session.folder)
    session.close()
    with pytest.raises(SessionError, match="is closed"):
        session.edit(plan(RAIN))
    agent.session(session.folder).close()


def test_another_process_is_kept_out_until_this_one_is_done(session: Session) -> None:
    session.edit(plan(RAIN))
    opens = "from pathlib import Path; from audio_agent_zoo.studio.log import SessionLog; SessionLog(Path({!r}))"
    code = opens.format(str(session.folder))
    before = (session.folder / "session.jsonl").read_bytes()
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert other.returncode == 1 and "open elsewhere" in other.stderr
    assert (session.folder / "session.jsonl").read_bytes() == before
    session.close()
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_other_settings_need_another_session(agent: AudioAgent, session: Session) -> None:
    session.close()
    with pytest.raises(SessionError, match="was begun with"):
        agent.session(session.folder, RenderSettings(seed=9))
    agent.session(session.folder, RenderSettings()).close()


def test_settings_reach_the_sound(agent: AudioAgent, tmp_path: Path) -> None:
    sounds = []
    for name, settings in {
        "plain": RenderSettings(),
        "seed": RenderSettings(seed=1),
        "steps": RenderSettings(num_inference_steps=2),
        "negative": RenderSettings(negative_prompt="music, speech"),
    }.items():
        with agent.session(tmp_path / name, settings) as session:
            sounds.append(session.edit(plan(RAIN)).stems["e1"])
    assert len({sound.tobytes() for sound in sounds}) == 4


def test_sound_effects_steer_away_from_what_the_weights_say(tmp_path: Path) -> None:
    parts = tiny.parts()
    usual = replace(parts, generation=replace(parts.generation, negative_prompt="music, speech"))
    own = step(2, "a dog barks", 0.5, 1.0, negative_prompt="howling")
    song, talk = step(3, "a violin", 1.0, 1.5, kind="music"), step(4, "a man talks", 1.4, 1.9, kind="speech")
    with AudioAgent(TextToAudioPipeline(usual), RulePlanner()).session(tmp_path / "s") as session:
        session.edit(plan(RAIN, own, song, talk))
    made = [json.loads(path.read_text())["made_of"] for path in (tmp_path / "s" / "renders").rglob("*.json")]
    assert {one["prompt"]: one["negative_prompt"] for one in made} == {
        "rain on a roof": "music, speech", "a dog barks": "howling", "a violin": "", "a man talks": "",
    }  # fmt: skip


@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "json"])
def test_a_damaged_sound_is_made_again_never_played(agent: AudioAgent, tmp_path: Path, damage: str) -> None:
    with agent.session(tmp_path / "s") as session:
        whole = session.edit(plan(RAIN)).audio
    path = next((tmp_path / "s" / "renders").rglob("*.wav"))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "flip":
        data = bytearray(path.read_bytes())
        data[-50] ^= 0xFF
        path.write_bytes(bytes(data))
    elif damage == "gone":
        path.unlink()
    else:
        path.with_suffix(".json").write_text("{")
    with agent.session(tmp_path / "s") as again:
        assert again.cost(plan(RAIN)) == {"e1": 1}
        audio = again.turns[0].audio
        assert audio is not None and whole is not None and np.allclose(audio, whole, atol=1e-4)
        assert again.cost(plan(RAIN)) == {}


def test_the_log_holds_no_path_and_no_key(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-never-to-be-seen-4711")
    session.edit(plan(RAIN, BARK), "from /srv/someone/private/notes.txt")
    text = (session.folder / "session.jsonl").read_text()
    assert "someone" not in text and "notes.txt" in text
    for path in session.folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert b"sk-never" not in data and str(session.folder).encode() not in data


def test_a_cancelled_turn_is_not_kept_but_its_finished_sounds_are(session: Session) -> None:
    calls = 0

    def stop(stage: str, done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise KeyboardInterrupt

    wide = step(2, "a dog barks", 0.5, 1.1)
    with pytest.raises(KeyboardInterrupt):
        session.edit(plan(step(1, "rain", 0.0, 0.3), wide), callback=stop)
    assert session.turns == () and session.plan is None
    assert session.edit(plan(step(1, "rain", 0.0, 0.3), wide)).windows == 1, "one width was finished"


def test_a_step_that_breaks_is_silent_and_says_so(
    agent: AudioAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = type(agent.text_to_audio).make_windows

    def breaks(self: object, windows: object, request: object, *more: object) -> object:
        if "a dog barks" in request.prompts:  # type: ignore[attr-defined]
            raise RenderError("'a dog barks' came out with values that are no numbers.")
        return whole(self, windows, request, *more)  # type: ignore[arg-type]

    with agent.session(tmp_path / "s") as session:
        monkeypatch.setattr(type(agent.text_to_audio), "make_windows", breaks)
        turn = session.edit(plan(RAIN, BARK))
        assert turn.regenerated == ("e1",) and set(turn.failed) == {"e2"} and set(turn.stems) == {"e1"}
        assert any("e2 is silent" in note for note in turn.notes)
        monkeypatch.undo()
        assert set(session.turns[0].stems) == {"e1", "e2"}, "heard again, it is tried again"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"end_s": 9.0}, "after the plan's"),
        ({"levl": -3}, "levl"),
        ({"prompt": "  "}, "empty"),
        ({"id": "e9"}, "keeps its id"),
        ({"level_lufs": float("nan")}, "level_lufs"),
    ],
)
def test_what_is_no_valid_change_changes_nothing(session: Session, values: dict[str, object], message: str) -> None:
    session.edit(plan(RAIN, BARK))
    before = (session.folder / "session.jsonl").read_bytes()
    with pytest.raises(ValueError, match=message):
        session.change("e2", **values)
    with pytest.raises(ValueError, match="no step e7"):
        session.change("e7", pan=0)
    with pytest.raises(ValueError, match="no valid plan"):
        session.edit("{")
    assert (session.folder / "session.jsonl").read_bytes() == before


def test_a_video_and_texts_on_one_timeline(session: Session, tmp_path: Path) -> None:
    video = tiny_video_file(tmp_path / "my clip.mp4", 1.2)
    session.edit(plan(step(1, "rain on a roof", 0.0, 0.6), duration_s=0.6))
    turn = session.attach_video(video, "hammering")
    assert turn.regenerated == ("e2",) and turn.kept == ("e1",) and turn.plan is not None
    assert turn.plan.duration_s == pytest.approx(1.2, abs=0.05)
    video.unlink()
    trimmed = session.change("e2", start_s=0.5)
    assert trimmed.windows == 0
    heard = trimmed.stems["e2"]
    assert not heard[:8000].any()
    render = session.turns[1].sound.renders["e2"].audio  # type: ignore[union-attr]
    inside = render[9000:16000]
    assert np.corrcoef(heard[9000:16000], inside)[0, 1] > 0.999, "the picture's clock is kept"
    session.close()
    with session.agent.session(session.folder) as again:
        assert again.video is not None and np.array_equal(again.turns[-1].stems["e2"], heard)
        assert again.undo().video is not None
        again.undo()
        assert again.video is None
    with pytest.raises(MediaError):
        session.attach_video(tmp_path / "none.mp4")


def test_export_of_a_session(session: Session, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no timeline yet"):
        session.export(tmp_path / "out")
    session.edit(plan(RAIN, BARK))
    names = {path.name for path in session.export(tmp_path / "out", ("master", "stems", "handles", "reaper"))}
    assert {"mix.wav", "plan.json", "provenance.json"} <= names
    about = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert about["weights"] == "tiny" and about["settings"]["seed"] == 0
    assert Plan.from_json((tmp_path / "out" / "plan.json").read_text()).steps == session.plan.steps  # type: ignore[union-attr]


def test_space_is_freed_of_what_no_turn_needs(session: Session) -> None:
    one = session.edit(plan(RAIN, BARK))
    stray = session.folder / "renders" / "ab" / f"{'ab' * 32}.wav"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"x" * 1000)
    assert session.free_space() == 1000
    assert session.cost(one.plan) == {}  # type: ignore[arg-type]
