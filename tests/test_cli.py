"""The command line as a user meets it: the first sound, and every way to go wrong."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_agent_zoo import cli
from audio_agent_zoo.planner.plan import Plan


def _run(*words: str, cwd: Path | None = None, **kwargs: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "audio_agent_zoo.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, **kwargs)  # type: ignore[call-overload, no-any-return]


def test_the_first_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "storm.wav"
    words = ["generate", "A clap of thunder while rain pours, followed by a dog barking", "--duration", "3.3"]
    assert cli.main([*words, "--planner", "rules", "--steps", "3", "--stems", "--out", str(out)]) == 0
    audio, rate = soundfile.read(out)
    assert rate == 16_000 and audio.shape == (52_800,)
    assert 0.01 < np.abs(audio).max() <= 1
    plan = Plan.from_json(out.with_suffix(".plan.json").read_text())
    assert plan.planner.name == "rules" and len(plan.steps) == 3
    assert out.with_suffix(".png").stat().st_size > 10_000
    assert {path.name for path in out.parent.glob("storm.e*.wav")} == {"storm.e1.wav", "storm.e2.wav", "storm.e3.wav"}
    printed = capsys.readouterr().out
    for words_shown in ("A dog barking", "planner  rules", "weights  foley-mini", "denoise"):
        assert words_shown in printed

    again = out.with_name("again.wav")
    plan_path = str(out.with_suffix(".plan.json"))
    assert cli.main(["generate", "ignored", "--plan", plan_path, "--steps", "3", "--out", str(again)]) == 0
    assert np.array_equal(soundfile.read(again)[0], audio), "a saved plan renders to the same sound"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["generate", "   "], cli.USAGE, "empty"),
        (["generate", "rain " * 2000], cli.USAGE, "4000"),
        (["generate", "rain", "--duration", "nan"], cli.USAGE, "--duration"),
        (["generate", "rain", "--duration", "-2"], cli.USAGE, "--duration"),
        (["generate", "rain", "--out", "sound.mp3"], cli.USAGE, ".wav"),
        (["generate", "rain", "--weights", "no-such-weights"], cli.RENDER, "no-such-weights"),
        (["generate", "rain", "--plan", "missing.plan.json"], cli.FILES, "missing.plan.json"),
        (["generate", "雨が降る"], cli.PLANNER, "English"),
        (["evaluate", "recipes/none.yaml"], cli.USAGE, "recipes/none.yaml"),
    ],
)
def test_bad_input_is_told_and_writes_nothing(
    words: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == code
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_unwritable_place_is_found_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert cli.main(["generate", "rain", "--out", str(tmp_path / "file" / "out.wav")]) == cli.FILES
    assert "can't be written" in capsys.readouterr().err


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from audio_agent_zoo import cli; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "words = ['generate', 'rain', '--planner', 'rules', '--duration', '2', '--steps', '1', '--out', 'out.wav'];"
        "sys.exit(cli.main(words))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == cli.FILES, done.stderr
    assert "out.wav" in done.stderr
    assert not list(tmp_path.iterdir())


def test_interrupt_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "audio_agent_zoo.cli", "generate", "rain", "--steps", "900", "--out", "out.wav"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    seen = ""
    while not re.search(r"[1-9]/900", seen) and process.poll() is None:
        seen += process.stderr.read(1)
    assert process.poll() is None, seen + process.stderr.read()
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == cli.INTERRUPTED
    assert not list(tmp_path.iterdir())


def test_help_and_plan_answer_without_torch(tmp_path: Path) -> None:
    for words in (["--help"], ["plan", "rain, then a dog barking"]):
        code = (
            f"import sys; from audio_agent_zoo import cli\ntry:\n    cli.main({words!r})\nexcept SystemExit: pass\n"
            "sys.exit('torch' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_plan_prints_json_that_reads_back() -> None:
    done = _run("plan", "rain, then a dog barking", "--json")
    assert done.returncode == 0 and len(Plan.from_json(done.stdout).steps) == 2
