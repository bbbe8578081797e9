"""`audio-agent chat` as it is typed: edits, takes, a plan by hand, export; and a conversation from its record."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from audio_agent_zoo import cli
from audio_agent_zoo.planner.openai_planner import BASE_URL_ENV, MODEL_ENV
from tests.loopback_chat_api import ChatServer

QUICK = ["--duration", "2", "--steps", "1"]


def test_a_conversation_in_the_terminal(tmp_path: Path) -> None:
    typed = f"""/help
A dog barks, then a church bell rings
make the bell 3 dB louder
remove the cat
/take e1
/take e1 0
undo
/turns
/export {tmp_path / "out"}
/nonsense
/edit {tmp_path / "none.json"}
/go 1
/quit
"""
    command = [sys.executable, "-m", "audio_agent_zoo.cli", "chat", "--session", "s", "--planner", "rules", *QUICK]
    done = subprocess.run(command, input=typed, capture_output=True, text=True, cwd=tmp_path, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    for words in (
        "is 3 dB louder",
        "I find no 'the cat'",
        "made     e1   kept e2",
        "made     nothing",
        "Undone",
        "cues.csv",
    ):
        assert words in done.stdout, words
    assert "no command /nonsense" in done.stderr and "none.json can't be read as text" in done.stderr
    assert "The timeline of turn 1 counts again." in done.stdout
    assert soundfile.info(tmp_path / "s" / "mix.wav").frames == 32_000
    assert (tmp_path / "s" / "mix.png").stat().st_size > 10_000 and (tmp_path / "out" / "mix.wav").exists()
    plan = json.loads((tmp_path / "s" / "plan.json").read_text())
    plan["steps"][0]["level_lufs"] = -30
    (tmp_path / "edited.json").write_text(json.dumps(plan))
    session = ["chat", "--session", str(tmp_path / "s"), "--planner", "rules", *QUICK]
    assert cli.main([*session, "--say", f"/edit {tmp_path / 'edited.json'}", "--say", "/turns"]) == 0
    log = [json.loads(line) for line in (tmp_path / "s" / "session.jsonl").read_text().splitlines()]
    assert log[-1]["windows"] == 0 and log[-1]["plan"]["steps"][0]["level_lufs"] == -30


def test_a_chat_is_recorded_and_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], chat_server: ChatServer
) -> None:
    record = tmp_path / "answers.jsonl"
    monkeypatch.setenv(BASE_URL_ENV, chat_server.url)
    monkeypatch.setenv(MODEL_ENV, "ok")
    live = ["chat", "--session", str(tmp_path / "live"), "--record", str(record), *QUICK]
    assert cli.main([*live, "--say", "rain, then a dog"]) == 0
    shown = capsys.readouterr().out
    monkeypatch.delenv(BASE_URL_ENV)
    again = ["chat", "--session", str(tmp_path / "again"), "--replay", str(record), *QUICK]
    assert cli.main([*again, "--say", "rain, then a dog"]) == 0
    replayed = capsys.readouterr().out
    assert replayed.splitlines()[:5] == shown.splitlines()[:5] and "planner  openai (ok), 8 s" in replayed
    assert (tmp_path / "live" / "mix.wav").read_bytes() == (tmp_path / "again" / "mix.wav").read_bytes()
    assert cli.main([*again, "--say", "and an owl"]) == cli.PLANNER
    assert "holds no answer to this" in capsys.readouterr().out
    rules = ["chat", "--session", str(tmp_path / "rules"), "--planner", "rules", "--record", str(record)]
    assert cli.main(rules) == 2 and "always answer alike" in capsys.readouterr().err
