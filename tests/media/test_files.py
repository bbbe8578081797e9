"""Files are there whole or not at all."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.media import (
    atomic_path,
    write_audio,
    write_video,
)
from tests.media.clips import grey_frames, tone


def run(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_ordinary_permissions(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    with atomic_path(tmp_path / "new" / "a.json") as partial:
        partial.write_text("{}")
    assert (tmp_path / "new" / "a.json").stat().st_mode == plain.stat().st_mode


def test_a_path_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(MediaError, match="Choose another folder"):
        write_audio(tmp_path / "file" / "a.wav", tone(0.1))
    with pytest.raises(MediaError, match="is a folder"), atomic_path(tmp_path):
        pass
    with pytest.raises(MediaError):
        write_video(tmp_path / "file" / "a.mp4", grey_frames([1, 2]), 25)


FULL_DISK = """
    import resource
    import numpy as np
    from audio_agent_zoo.errors import MediaError
    from audio_agent_zoo.media import mux, write_audio, write_video

    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    noise = np.random.default_rng(0).uniform(-1, 1, 160_000).astype("float32")
    frames = np.random.default_rng(0).integers(0, 255, (40, 96, 96, 3), dtype=np.uint8)
    for write in ({writers}):
        try:
            write()
        except MediaError as error:
            print("refused", error)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limit on file sizes here")
def test_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    write_video(tmp_path / "in.mp4", grey_frames(range(40)), 25)
    writers = """
        lambda: write_audio("a.wav", noise), lambda: write_audio("a.flac", noise),
        lambda: write_video("a.mp4", frames, 25), lambda: write_video("a.mkv", frames, 25, noise),
        lambda: mux("in.mp4", noise, 16000, "b.mp4"),
    """
    done = run(FULL_DISK.format(writers=writers), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refused") == 5, done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_a_killed_writer_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    code = """
        import os, signal
        from audio_agent_zoo.media import atomic_path
        with atomic_path("a.wav") as partial:
            partial.write_bytes(b"RIFF")
            os.kill(os.getpid(), signal.{signal})
    """
    killed = run(code.format(signal="SIGKILL"), tmp_path)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.wav").exists()
    for left in tmp_path.iterdir():
        left.unlink()
    interrupted = run(code.format(signal="SIGINT"), tmp_path)
    assert interrupted.returncode != 0
    assert not list(tmp_path.iterdir())
