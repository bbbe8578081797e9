"""The log and the store under kills, full disks and hands that meddle."""

import errno
import hashlib
import json
import os
import random
import signal
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch

from audio_agent_zoo.errors import MediaError, SessionError
from audio_agent_zoo.studio.log import SessionLog
from audio_agent_zoo.studio.renders import RenderStore, render_key
from tests.studio.sessions import plan, step, tiny_agent


def test_a_torn_last_line_is_cut_off_and_the_rest_stays(tmp_path: Path) -> None:
    log = SessionLog(tmp_path)
    log.append({"version": 1, "kind": "session"})
    log.append({"turn": 1, "user": "Regen, ein Vogel – наконец"})
    log.close()
    whole = log.path.read_bytes()
    for cut in range(len(whole) - 40, len(whole)):
        log.path.write_bytes(whole[:cut])
        again = SessionLog(tmp_path)
        assert len(again.records) == 1
        again.append({"turn": 1, "user": "again"})
        again.close()
        assert [json.loads(line)["user"] for line in log.path.read_text().splitlines()[1:]] == ["again"]
        log.path.write_bytes(whole)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"version": 99}\n', "upgrade with"),
        ('{"kind": "session"}\n', "damaged in line 1"),
        ('{"version": 1}\nnot json\n{"turn": 2}\n', "damaged in line 2"),
        ('{"version": 1}\n[]\n{"turn": 2}\n', ""),
    ],
)
def test_a_log_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "session.jsonl").write_text(text)
    if not message:
        with pytest.raises(SessionError, match=r"does not begin|can't be read"):
            tiny_agent().session(tmp_path)
        return
    with pytest.raises(SessionError, match=message):
        SessionLog(tmp_path)
    (tmp_path / "session.jsonl").write_text('{"version": 1}\n')
    SessionLog(tmp_path).close()  # the refused one let go of the lock


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = SessionLog(tmp_path)
    log.append({"version": 1})
    before = log.path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MediaError, match="No space left"):
        log.append({"turn": 1})
    monkeypatch.undo()
    assert log.path.read_bytes() == before and len(log.records) == 1
    log.append({"turn": 1})
    log.close()
    again = SessionLog(tmp_path)
    assert len(again.records) == 2
    again.close()


def test_a_number_that_is_none_is_not_written(tmp_path: Path) -> None:
    log = SessionLog(tmp_path)
    with pytest.raises(ValueError, match=r"Out of range|not JSON"):
        log.append({"version": 1, "level": float("nan")})
    assert not log.path.exists()
    log.close()


def test_a_sound_comes_back_to_the_bit(tmp_path: Path) -> None:
    store = RenderStore(tmp_path / "renders")
    audio = np.random.default_rng(0).standard_normal(999).astype(np.float32) * 3
    key = render_key({"b": 1, "a": [1, 2]})
    assert key == render_key({"a": [1, 2], "b": 1}) and store.get(key) is None
    store.put(key, audio, {"b": 1, "a": [1, 2]})
    found = store.get(key)
    assert found is not None and np.array_equal(found, audio) and found.dtype == np.float32
    assert json.loads(next((tmp_path / "renders").rglob("*.json")).read_text())["made_of"] == {"b": 1, "a": [1, 2]}


def test_another_key_or_rate_is_another_sound(tmp_path: Path) -> None:
    store = RenderStore(tmp_path)
    store.put("ab" * 32, np.zeros(10), {})
    assert store.get("ac" * 32) is None
    assert RenderStore(tmp_path, 8000).get("ab" * 32) is None


def _kill_at_random(folder: Path, rng: random.Random) -> dict[int, str]:
    """Let a child write turns until it is killed; digest of each turn that it had been told was kept."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        torch.set_num_threads(1)  # the threads of the parent are not there after a fork, and would be waited for
        try:
            with tiny_agent().session(folder) as session:
                os.write(writing, b"ready\n")
                for i in range(1000):
                    number = 1000 * os.getpid() + i
                    turn = session.edit(
                        plan(
                            step(1, "rain on a roof", 0.0, 0.3),
                            step(2, f"bark {number}", 0.5, 0.8),
                            duration_s=1.0,
                        )
                    )
                    if i % 3 == 2:
                        session.undo()
                    audio = turn.audio
                    assert audio is not None
                    digest = hashlib.sha256(audio.tobytes()).hexdigest()
                    os.write(writing, f"{turn.number} {digest}\n".encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        lines = [pipe.readline() for _ in range(rng.randint(1, 4))]
        time.sleep(rng.uniform(0.0, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        lines += pipe.read().splitlines()
    return {int(number): digest for number, digest in (line.split() for line in lines if len(line.split()) == 2)}


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_killed_at_any_moment_every_turn_reloads(tmp_path: Path, kills: int) -> None:
    rng, promised, agent = random.Random(kills), dict[int, str](), tiny_agent()
    for _ in range(kills):
        promised |= _kill_at_random(tmp_path / "s", rng)
    with agent.session(tmp_path / "s") as session:
        assert set(promised) <= {turn.number for turn in session.turns}
        assert [turn.number for turn in session.turns] == list(range(1, len(session.turns) + 1))
        for number, digest in promised.items():
            audio = session.turns[number - 1].audio
            assert audio is not None and hashlib.sha256(audio.tobytes()).hexdigest() == digest
        assert session.edit(plan(step(1, "rain on a roof", 0.0, 0.3), duration_s=1.0)).windows == 0
    print(f"{kills} kills, {len(promised)} turns promised, all reload to the bit")
    assert len(promised) >= kills
