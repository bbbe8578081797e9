"""Runs of `prepare` that are cut off, by a kill or by a full disk: finished shards stay, and nothing is done twice."""

import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audio_agent_zoo.columns import FEATURES_CONFIG
from audio_agent_zoo.data.clip_encoders import PrepareSettings
from audio_agent_zoo.data.prepare import prepare
from audio_agent_zoo.data.sources.examples import FoleyExample
from audio_agent_zoo.data.sources.folder import FolderSource
from audio_agent_zoo.data.sources.synthesis import FoleyWorldVideos
from audio_agent_zoo.errors import AudioAgentError, MediaError
from tests import tiny_video
from tests.data.clips import video

N_CLIPS, WINDOW_S = 10, 0.64
SOURCE = FoleyWorldVideos("train", N_CLIPS, WINDOW_S)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> PrepareSettings:
    """Tiny frozen parts, two clips to a shard."""
    folder = tiny_video.write_video_published(tmp_path_factory.mktemp("hub"))
    tiny_video.hubert().save_pretrained(folder / "hubert")
    return PrepareSettings(str(folder), window_s=WINDOW_S, rows_per_shard=2)


@pytest.fixture(scope="module")
def unbroken(settings: PrepareSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process writes in one go."""
    folder = tmp_path_factory.mktemp("unbroken")
    report = prepare(SOURCE, folder, settings)
    assert (report.n_rows, report.n_new, report.n_open, report.skipped) == (N_CLIPS, N_CLIPS, 0, {})
    return folder


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("shard-*"))}


def marks(folder: Path) -> dict[str, tuple[int, int]]:
    """What tells a file that was written again from one that was left alone."""
    found = [(path.name, path.stat()) for path in folder.glob("shard-*.parquet")]
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found}


def kill_until_done(folder: Path, settings: PrepareSettings, n_kills: int, longest_s: float) -> int:
    """Kill so many runs, each at a moment of its own; returns how many of them were at work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([prepare.__module__])
    chance, hit = random.Random(n_kills), 0
    for i in range(n_kills):
        before = marks(folder)
        run = context.Process(target=prepare, args=(SOURCE, folder, settings))
        run.start()
        if i == 0:  # the server starts first
            while run.is_alive() and not (folder / FEATURES_CONFIG).exists():
                time.sleep(0.005)
        time.sleep(chance.uniform(0.0, longest_s))
        run.kill()
        run.join()
        hit += run.exitcode == -signal.SIGKILL
        assert before.items() <= marks(folder).items(), "a finished shard was touched"
    return hit


@pytest.mark.parametrize("n_kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_runs_lose_nothing_and_redo_nothing(
    n_kills: int, settings: PrepareSettings, unbroken: Path, tmp_path: Path
) -> None:
    started = time.perf_counter()
    prepare(SOURCE, tmp_path / "timed", settings)
    took_s = time.perf_counter() - started
    folder = tmp_path / "killed"
    assert kill_until_done(folder, settings, n_kills, took_s * min(1.0, 3 / n_kills)) > 0
    before, n_there = marks(folder), len(marks(folder))
    report = prepare(SOURCE, folder, settings)
    assert report.n_new == N_CLIPS - 2 * n_there and before.items() <= marks(folder).items()
    assert shards(folder) == shards(unbroken)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_twenty_kills_of_the_command_with_two_processes(settings: PrepareSettings, tmp_path: Path) -> None:
    """The whole tree: what the command started ends with it, too."""
    words = ["prepare", "--source", "synthesis", "--clips", "480", "--window", str(WINDOW_S), "--weights"]
    command = [sys.executable, "-m", "audio_agent_zoo.cli", *words, settings.hub_folder, "--num-proc", "2", "--output"]
    took_s = list[float]()
    for _ in range(2):  # the second time there is nothing to do but to start
        started = time.perf_counter()
        whole = subprocess.run([*command, tmp_path / "whole"], capture_output=True, text=True)
        took_s.append(time.perf_counter() - started)
        assert whole.returncode == 0, whole.stderr
    n_shards = len(marks(tmp_path / "whole" / "train"))
    chance, folder, hit, grew = random.Random(0), tmp_path / "killed", 0, 0
    for _ in range(20):
        before = marks(folder / "train")
        run = subprocess.Popen([*command, folder], start_new_session=True, stderr=subprocess.DEVNULL)
        time.sleep(took_s[1] + chance.uniform(0.0, 0.15) * (took_s[0] - took_s[1]))
        run.kill()
        hit += run.wait() == -signal.SIGKILL and len(before) < n_shards
        until = time.monotonic() + 10
        while _is_alive(run.pid) and time.monotonic() < until:
            time.sleep(0.05)
        assert not _is_alive(run.pid), "workers outlived the command"
        after = marks(folder / "train")
        assert before.items() <= after.items()
        grew += len(after) > len(before)
    print(f"\n{hit} of 20 kills before the end, {grew} after new shards; {len(after)} of {n_shards} there")
    assert hit >= 10 and grew >= 3
    assert subprocess.run([*command, folder], stderr=subprocess.DEVNULL).returncode == 0
    for split in ("train", "validation"):
        assert shards(folder / split) == shards(tmp_path / "whole" / split)


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class Fatal(FoleyWorldVideos):
    """A source whose clips end every process but the first, as the kernel does where memory is short."""

    def example(self, index: int, image_size: int) -> FoleyExample:
        if multiprocessing.parent_process() is not None:
            os._exit(9)
        return super().example(index, image_size)


@pytest.mark.slow
def test_a_process_that_dies_is_told_from_a_bad_clip(settings: PrepareSettings, tmp_path: Path) -> None:
    source = Fatal("train", N_CLIPS, WINDOW_S)
    with pytest.raises(AudioAgentError, match=r"ended, as when memory runs out\. .*smaller --num-proc"):
        prepare(source, tmp_path, settings, num_proc=2)
    n_there = len(marks(tmp_path))
    assert 0 < n_there < 5 and prepare(source, tmp_path, settings).n_new == N_CLIPS - 2 * n_there


def test_what_a_killed_run_left_unfinished_is_cleared_away(settings: PrepareSettings, unbroken: Path) -> None:
    old, new = unbroken / ".unfinished-old.parquet", unbroken / ".unfinished-new.parquet"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    prepare(SOURCE, unbroken, settings)
    assert not old.exists() and new.exists(), "another process may be writing the new one"
    new.unlink()


def test_a_shard_that_cannot_be_written_stops_the_run_and_leaves_the_others(
    settings: PrepareSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "clips"
    for name, duration_s in (("a", 0.7), ("b", 0.7), ("c", 6.0), ("d", 0.7)):
        video(folder / "knock" / f"{name}.mp4", duration_s)
    source, out = FolderSource(folder, validation_share=0.0), tmp_path / "out"
    one = PrepareSettings(settings.hub_folder, WINDOW_S, rows_per_shard=1)
    prepare(source, tmp_path / "sizes", one)  # type: ignore[arg-type]
    short, _, long, _ = (path.stat().st_size for path in sorted((tmp_path / "sizes").glob("*.parquet")))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((short + long) // 2, before[1]))
    try:
        with pytest.raises(MediaError, match=r"shard-00002\.parquet was not written: .*[Ff]ile too large"):
            prepare(source, out, one)  # type: ignore[arg-type]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    there = marks(out)
    assert sorted(there) == ["shard-00000.parquet", "shard-00001.parquet"]
    assert not list(out.glob(".unfinished-*"))
    report = prepare(source, out, one)  # type: ignore[arg-type]
    assert report.n_new == 2 and there.items() <= marks(out).items()


FULL_DISK = """
import subprocess, sys
from pathlib import Path
from audio_agent_zoo.data.clip_encoders import PrepareSettings
from audio_agent_zoo.data.prepare import prepare
from audio_agent_zoo.data.sources.synthesis import FoleyWorldVideos
from audio_agent_zoo.errors import MediaError
out, hub = Path(sys.argv[1]), sys.argv[2]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", out], check=True)
source, settings = FoleyWorldVideos("train", 10, 0.64), PrepareSettings(hub, 0.64, rows_per_shard=2)
try:
    prepare(source, out, settings, num_proc=int(sys.argv[3]))
except MediaError as error:
    print(error)
n_there = len(list(out.glob("shard-*.parquet")))
subprocess.run(["mount", "-o", "remount,size=4m", out], check=True)
report = prepare(source, out, settings)
print(n_there, report.n_new, report.n_rows)
"""


def test_a_full_disk_says_so_and_finished_shards_stay(settings: PrepareSettings, tmp_path: Path) -> None:
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("this system gives no mounts of one's own")
    words = [sys.executable, "-c", FULL_DISK, str(tmp_path), settings.hub_folder, "1"]
    run = subprocess.run([*inside, *words], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    said, counts = run.stdout.strip().splitlines()
    n_there, n_new, n_rows = map(int, counts.split())
    assert "No space left on device" in said and "Free some space" in said
    assert 0 < n_there < 5 and n_new == N_CLIPS - 2 * n_there and n_rows == N_CLIPS
