"""A run that was stopped or killed goes on with the same command, and ends where an unbroken one does."""

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from audio_agent_zoo.cli import main
from audio_agent_zoo.errors import AudioAgentError
from audio_agent_zoo.training import resume_checkpoint
from audio_agent_zoo.training.fit import fit
from audio_agent_zoo.training.resume_checkpoint import STOPPED, AtomicCheckpointIO
from tests.training.recipes import assert_same_end, checkpoint, small_recipe

STAGES = {
    # With dropout, so that the draws of a step count; a new adapter, since one that is loaded brings its own.
    "avsync15/semantic_tokens": {"model": {"lora_rank": 2, "lora_dropout": 0.3, "token_noise": 0.5}},
    "custom/visual_adapter": {},
}
STEPS = 9


def command(stage: str, folder: Path, frozen: Path, features: Path, every: int = 1, **trainer: Any) -> list[str]:
    """Three batches an epoch, a validation after each four, so that all kinds of places come up."""
    settings = {"max_steps": STEPS, "val_check_interval": 4, **trainer}
    more = {"data": {"batches_per_epoch": 3}, **STAGES[stage]}
    recipe = small_recipe(stage, folder / "run", frozen, features, **more, **settings)
    return ["--config", str(recipe), "--checkpoint_every", str(every)]


def published(folder: Path) -> dict[str, bytes]:
    """Weights, and what says their hashes; sets of names in other files come in any order."""
    files = [*(folder / "hub").rglob("*.safetensors"), folder / "hub" / "config.json", folder / "hub" / "results.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_named_checkpoint_does_not_bring_its_settings(frozen: Path, features: Path, tmp_path: Path) -> None:
    arguments = command("custom/visual_adapter", tmp_path, frozen, features, max_steps=1)
    fit(arguments)
    more = ["--model.init_args.learning_rate", "0.123", "--trainer.max_steps", "2"]
    cli = fit([*arguments, *more, "--ckpt_path", str(tmp_path / "run" / "last.ckpt")])
    assert cli.model.hparams["learning_rate"] == 0.123 and cli.trainer.global_step == 2


class Evil:
    """Leaves a file behind where its pickle is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("named", [False, True])
def test_a_checkpoint_that_would_run_code_is_refused_and_does_not(
    named: bool, frozen: Path, features: Path, tmp_path: Path
) -> None:
    arguments = command("custom/visual_adapter", tmp_path, frozen, features)
    ran, place = tmp_path / "ran", tmp_path / ("other.ckpt" if named else "run/last.ckpt")
    torch.save({"global_step": 1, "callbacks": {}, "state_dict": {"x": Evil(ran)}}, place)
    with pytest.raises(AudioAgentError, match=r"can't be read as tensors and plain values \(UnpicklingError\)"):
        fit([*arguments, *(("--ckpt_path", str(place)) if named else ())])
    assert not ran.exists() and not list((tmp_path / "run").glob("lightning_logs"))
    torch.load(place, weights_only=False)
    assert ran.exists(), "it would have"


@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("stage", STAGES)
def test_from_every_checkpoint_the_end_is_the_same(
    stage: str, accumulated: int, frozen: Path, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command(
        stage, tmp_path, frozen, features, accumulate_grad_batches=accumulated, max_steps=STEPS // accumulated
    )
    kept: list[Path] = []
    save = AtomicCheckpointIO.save_checkpoint

    def save_and_keep(self: Any, state: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save(self, state, path, storage_options)
        if Path(path).name == "last.ckpt":
            kept.append(Path(shutil.copy(path, tmp_path / f"kept-{len(kept)}.ckpt")))

    with monkeypatch.context() as patched:
        patched.setattr(AtomicCheckpointIO, "save_checkpoint", save_and_keep)
        fit(arguments)
    whole, hub = checkpoint(tmp_path / "run"), published(tmp_path)
    steps = [torch.load(path, weights_only=True)["global_step"] for path in kept]
    assert steps == sorted(steps) and set(steps) == set(range(1, STEPS // accumulated + 1))
    for path in kept[:-1] if accumulated == 1 else kept[:-1:2]:
        for old in (tmp_path / "run").glob("*.ckpt"):
            old.unlink()
        shutil.copy(path, tmp_path / "run" / "last.ckpt")
        fit(arguments)
        assert_same_end(checkpoint(tmp_path / "run"), whole)
        assert published(tmp_path) == hub


def test_a_finished_run_says_so_and_can_be_made_longer(
    frozen: Path, features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command("custom/visual_adapter", tmp_path, frozen, features, max_steps=2)
    fit(arguments)
    before = checkpoint(tmp_path / "run")
    capsys.readouterr()
    fit(arguments)
    said = capsys.readouterr().err
    assert "holds a finished run: 2 steps, max_steps is 2. Nothing was trained." in said and "--fresh" in said
    fit([*arguments, "--trainer.max_steps", "3"])
    assert "Going on from step 2 of" in capsys.readouterr().err
    assert checkpoint(tmp_path / "run")["global_step"] == 3
    fit([*arguments, "--fresh"])
    assert "earlier-1" in capsys.readouterr().err
    assert (tmp_path / "run" / "earlier-1" / "last.ckpt").is_file()
    assert_same_end(checkpoint(tmp_path / "run"), before)


def test_another_training_in_the_folder_is_refused_with_both_values(
    frozen: Path, features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command("custom/visual_adapter", tmp_path, frozen, features, max_steps=1)
    fit(arguments)
    with pytest.raises(AudioAgentError, match=r"learning_rate was 0\.0005, now it is 0\.25.*--fresh.*--ckpt_path"):
        fit([*arguments, "--model.init_args.learning_rate", "0.25"])
    assert main(["fit", *arguments, "--data.init_args.batch_size", "1"]) == 4
    assert "batch_size was 2, now it is 1" in capsys.readouterr().err
    (tmp_path / "run" / "last.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(AudioAgentError, match=r"last\.ckpt can't be read.*--fresh"):
        fit(arguments)


def test_features_that_changed_since_are_refused_with_both_values(frozen: Path, features: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(features, tmp_path / "features"))
    fit(command("custom/visual_adapter", tmp_path, frozen, own, max_steps=1))
    config = own / "train" / "features.json"
    config.write_text(config.read_text().replace('"window_s": 0.64', '"window_s": 0.96'))
    with pytest.raises(AudioAgentError, match=r"other window_s than the run began with: then \[0\.64\], now \[0\.96\]"):
        fit(command("custom/visual_adapter", tmp_path, frozen, own, max_steps=2))


def test_early_stopping_is_an_end_too(
    frozen: Path, features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command("custom/visual_adapter", tmp_path, frozen, features, val_check_interval=1, max_steps=30)
    # Nothing is learned, so that nothing gets better.
    arguments += ["--model.init_args.learning_rate", "0.0"]
    fit(arguments)
    step = checkpoint(tmp_path / "run")["global_step"]
    assert step < 30
    capsys.readouterr()
    fit(arguments)
    assert f"finished run: {step} steps, early stopping ended it" in capsys.readouterr().err


def test_a_kill_while_a_checkpoint_is_written_leaves_the_earlier_one(
    frozen: Path, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command("custom/visual_adapter", tmp_path, frozen, features, max_steps=3)
    write, written = torch.save, []

    def cut_off(state: Any, path: Path) -> None:
        written.append(path)
        if len(written) == 2:
            Path(path).write_bytes(b"half of it")
            raise KeyboardInterrupt
        write(state, path)

    with monkeypatch.context() as patched, pytest.raises((KeyboardInterrupt, SystemExit)):
        patched.setattr(resume_checkpoint.torch, "save", cut_off)
        fit(arguments)
    assert checkpoint(tmp_path / "run")["global_step"] == 1
    left = tmp_path / "run" / ".unfinished-of-a-kill.ckpt"
    left.write_bytes(b"half")
    fit(arguments)
    assert checkpoint(tmp_path / "run")["global_step"] == 3 and not left.exists()


def _train(arguments: list[str], log: str) -> None:
    """One process that trains, alone on its core."""
    torch.set_num_threads(1)
    with Path(log).open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        fit(arguments)
    except SIGTERMException:
        sys.exit(STOPPED)


def interrupt_until_done(arguments: list[str], folder: Path, n_kills: int, start_s: float, step_s: float) -> list[int]:
    """Kill or stop so many runs, each at a moment of its own; returns the exit codes, the last one's unbroken.

    Every fourth is killed while it starts, the others some steps after they wrote a checkpoint.
    """
    context, chance, codes = multiprocessing.get_context("forkserver"), random.Random(n_kills), list[int]()
    context.set_forkserver_preload(["audio_agent_zoo.training.fit"])
    last = folder / "killed" / "run" / "last.ckpt"
    for i in range(n_kills + 1):
        before = last.stat().st_ino if last.exists() else 0
        run = context.Process(target=_train, args=(arguments, str(folder / "log.txt")))
        run.start()
        if i % 4 == 3:
            time.sleep(chance.uniform(0.2, 1.0) * start_s)
        while i < n_kills and i % 4 != 3 and run.is_alive():
            if last.exists() and last.stat().st_ino != before:
                time.sleep(chance.uniform(0.0, 4 * step_s))
                break
            time.sleep(0.002)
        if i < n_kills:
            with contextlib.suppress(ProcessLookupError):  # it was done before
                os.kill(run.pid or 0, (signal.SIGKILL, signal.SIGTERM)[i % 2])
        run.join()
        codes.append(int(run.exitcode or 0))
    return codes


@pytest.mark.parametrize("n_kills", [3, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("stage", STAGES)
def test_killed_runs_end_where_an_unbroken_one_does(
    stage: str, n_kills: int, frozen: Path, features: Path, tmp_path: Path
) -> None:
    steps = {"max_steps": 8 * n_kills, "val_check_interval": 2 * n_kills}
    torch.set_num_threads(1)
    times = [time.perf_counter()]
    for name, n_steps in (("one", {**steps, "max_steps": 1}), ("whole", steps)):
        fit(command(stage, tmp_path / name, frozen, features, every=2, **n_steps))
        times.append(time.perf_counter())
    start_s, took_s = np.diff(times)
    arguments = command(stage, tmp_path / "killed", frozen, features, every=2, **steps)
    step_s = max(0.0, took_s - start_s) / (8 * n_kills)  # the first run of a process may take longer than the second
    codes = interrupt_until_done(arguments, tmp_path, n_kills, start_s, step_s)
    print(f"\n{stage}: {took_s:.1f} s unbroken; exit codes {codes}")
    assert codes[-1] == 0 and sum(code != 0 for code in codes) >= n_kills - 1, (tmp_path / "log.txt").read_text()[
        -3000:
    ]
    assert_same_end(checkpoint(tmp_path / "killed" / "run"), checkpoint(tmp_path / "whole" / "run"))
    ours, theirs = published(tmp_path / "killed"), published(tmp_path / "whole")
    assert ours == theirs


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_stop_together_and_go_on(frozen: Path, features: Path, tmp_path: Path) -> None:
    """The command itself, told by SIGTERM; it says how to go on and ends as shells expect."""

    def words(folder: Path) -> list[str]:
        arguments = command("avsync15/semantic_tokens", folder, frozen, features, devices=2, strategy="ddp")
        more = ["--trainer.max_steps", "60", "--trainer.val_check_interval", "20", "--checkpoint_every", "1000"]
        return [sys.executable, "-m", "audio_agent_zoo.cli", "fit", *arguments, *more]

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    whole = subprocess.run(words(tmp_path / "whole"), env=environment, capture_output=True, text=True, timeout=300)
    assert whole.returncode == 0, whole.stderr[-3000:]
    stopped = subprocess.Popen(words(tmp_path / "told"), env=environment, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 200
    while not (tmp_path / "told" / "run" / "last.ckpt").exists() and time.monotonic() < until:
        time.sleep(0.05)
    stopped.terminate()
    _, said = stopped.communicate(timeout=100)
    assert stopped.returncode == STOPPED, said[-3000:]
    assert "same command goes on" in said
    step = checkpoint(tmp_path / "told" / "run")["global_step"]
    assert 20 <= step < 60
    again = subprocess.run(words(tmp_path / "told"), env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0 and f"Going on from step {step}" in again.stderr, again.stderr[-3000:]
    assert_same_end(checkpoint(tmp_path / "told" / "run"), checkpoint(tmp_path / "whole" / "run"))
