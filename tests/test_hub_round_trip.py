"""Commands in processes of their own against a real HTTP Hub: push in every way, load by name, and what goes wrong."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from audio_agent_zoo import cli
from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline
from audio_agent_zoo.published import CONFIG_NAME, Base, PublishedConfig
from audio_agent_zoo.published_card import write_card
from tests.loopback_hub import LoopbackHub, serve
from tests.tiny_video import moving, write_video_published

NAME = "me/my-foley"
GEMMA = "google/gemma-2-2b-it"
TOKEN = "hf_a_secret_that_stays_one"

LISTEN = """
import hashlib, sys
import numpy as np
from audio_agent_zoo import VideoToAudioPipeline

pipeline = VideoToAudioPipeline.from_pretrained(sys.argv[1])
made = pipeline(np.load(sys.argv[2]), "a dog barks", seed=3, num_inference_steps=2)
print(hashlib.sha256(made.audios[0].tobytes()).hexdigest())
"""


INTACT = """
import sys
from audio_agent_zoo.hub import VIDEO_TO_AUDIO, resolve
from audio_agent_zoo.published import PublishedConfig

folder = resolve(sys.argv[1], parts=("*",))
PublishedConfig.read(folder).check(folder)
print(folder.name)
"""
"""Load every file and hold it against its hash, which is what loading begins with; prints the commit."""


@dataclass
class Machine:
    """A computer with an empty cache that knows the Hub and perhaps a token, both by its environment alone."""

    folder: Path
    hub: LoopbackHub
    token: str = TOKEN

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        named = {"HF_HOME": str(self.folder / "hf"), "HF_ENDPOINT": self.hub.endpoint, "HF_HUB_DISABLE_XET": "1"}
        token = {"HF_TOKEN": self.token} if self.token else {}
        return {**kept, **named, **token, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

    def start(self, *words: str) -> "subprocess.Popen[str]":
        self.folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "audio_agent_zoo.cli", *words]
        if words[0] == "-c":
            command = [sys.executable, *words]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def push(self, folder: Path, *options: str) -> str:
        done = self.run("push", str(folder), NAME, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_video_published(tmp_path_factory.mktemp("published") / "hub")
    write_card(folder)
    return folder


@pytest.fixture()
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    copy = tmp_path / "copy"
    for path in published.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(published)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return copy


@pytest.fixture()
def hub() -> Iterator[LoopbackHub]:
    with serve() as running:
        yield running


@pytest.fixture()
def machine(hub: LoopbackHub, tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine", hub)


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _renamed(folder: Path, name: str) -> None:
    path = folder / CONFIG_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": name}), encoding="utf-8")


def test_pushed_here_and_loaded_by_name_in_a_process_elsewhere(
    machine: Machine, hub: LoopbackHub, published: Path, tmp_path: Path
) -> None:
    frames = moving(22)
    np.save(tmp_path / "frames.npy", frames)
    own = VideoToAudioPipeline.from_pretrained(published)(frames, "a dog barks", seed=3, num_inference_steps=2)
    printed = machine.push(published, "--private")
    repository = hub.repositories[NAME]
    assert repository.revisions["main"] in printed
    assert repository.private
    assert set(repository.commits[repository.revisions["main"]]) == _files(published)

    done = Machine(tmp_path / "elsewhere", hub).run("-c", LISTEN, NAME, str(tmp_path / "frames.npy"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == hashlib.sha256(own.audios[0].tobytes()).hexdigest(), "the same to the last bit"

    # Who has no token can neither load what is private nor push, and is told what to do.
    stranger = Machine(tmp_path / "stranger", hub, token="")
    done = stranger.run("zoo", NAME)
    assert done.returncode == cli.RENDER
    assert "no repository me/my-foley that you may read" in done.stderr and "hf auth login" in done.stderr
    done = stranger.run("push", str(published), "me/other")
    assert done.returncode == cli.RENDER and "hf auth login" in done.stderr
    assert set(hub.repositories) == {NAME}

    # The token came from the environment; it is nowhere on a disk, nor in what was sent as files or printed.
    assert TOKEN not in printed
    for place in (tmp_path, published):
        for path in place.rglob("*"):
            assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
    sent = [content for files in repository.commits.values() for content in files.values()]
    assert not [content for content in sent if TOKEN.encode() in content]


def test_a_dry_run_lists_what_a_push_sends_and_sends_nothing(machine: Machine, hub: LoopbackHub, folder: Path) -> None:
    (folder / "last.ckpt").write_bytes(b"for resuming")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "secret").write_text("mine", encoding="utf-8")
    (folder / "wandb").mkdir()
    (folder / "wandb" / "run.log").write_text("mine", encoding="utf-8")
    listed = machine.push(folder, "--dry-run")
    assert not hub.requests
    names = {line.split()[-1] for line in listed.splitlines()[:-1]}
    sizes = sum((folder / name).stat().st_size for name in names)
    assert f"{sizes / 1e6:.2f} MB  in all" in listed
    machine.push(folder)
    repository = hub.repositories[NAME]
    assert set(repository.commits[repository.revisions["main"]]) == names
    assert not [name for name in names if name.startswith((".", "wandb")) or name.endswith(".ckpt")]


def test_branches_and_pull_requests_leave_the_main_branch_alone(
    machine: Machine, hub: LoopbackHub, folder: Path, tmp_path: Path
) -> None:
    machine.push(folder)
    repository = hub.repositories[NAME]
    main = repository.revisions["main"]
    _renamed(folder, "trial")
    machine.push(folder, "--branch", "feature/louder")
    assert repository.revisions["main"] == main
    _renamed(folder, "offered")
    printed = machine.push(folder, "--pull-request")
    assert printed.strip() == f"{hub.endpoint}/{NAME}/discussions/1"
    assert repository.revisions["main"] == main
    machine.push(folder, "--branch", "feature/louder")  # which exists by now
    expected = {"": "tiny", "@feature/louder": "offered", "@refs/pr/1": "offered", f"@{main}": "tiny"}
    done = machine.run("zoo", *(NAME + at for at in expected))
    assert done.returncode == 0, done.stderr
    heads = [line.split()[0] for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert heads[1:] == list(expected.values())


def test_a_push_killed_in_the_middle_leaves_the_last_state_loadable(
    machine: Machine, hub: LoopbackHub, folder: Path, tmp_path: Path
) -> None:
    machine.push(folder)
    repository = hub.repositories[NAME]
    before = repository.revisions["main"]
    weights = folder / "visual_adapter" / "diffusion_pytorch_model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    config = PublishedConfig.read(folder)
    assert config is not None
    config.write(folder)
    hub.stall_at = "PUT /large/"
    pushing = machine.start("push", str(folder), NAME)
    try:
        assert hub.stalled.wait(60), "the push never got as far as its weights"
    finally:
        pushing.kill()
        pushing.communicate()
        hub.stall_at = ""
        hub.go_on.set()
    assert repository.revisions["main"] == before and len(repository.messages) == 2
    elsewhere = Machine(tmp_path / "elsewhere", hub)
    done = elsewhere.run("-c", INTACT, NAME)
    assert done.returncode == 0 and done.stdout.split() == [before], done.stderr
    machine.push(folder)
    after = repository.revisions["main"]
    assert elsewhere.run("-c", INTACT, NAME).stdout.split() == [after]
    assert after != before and repository.commits[after] == {
        name: (folder / name).read_bytes() for name in _files(folder)
    }


def test_a_gated_base_prints_the_steps_to_get_access(
    machine: Machine, hub: LoopbackHub, folder: Path, tmp_path: Path
) -> None:
    base = tmp_path / "gemma"
    (folder / "language_model").rename(base)
    config = PublishedConfig.read(folder)
    assert config is not None
    config.bases["language_model"] = Base(GEMMA, license="gemma")
    config.write(folder)
    machine.push(folder)
    hub.publish(GEMMA, base).gated = True
    stranger = Machine(tmp_path / "stranger", hub, token="")
    done = stranger.run("merge", NAME, "merged")
    assert done.returncode == cli.RENDER
    for step in (f"{GEMMA} is gated", "Open its page", "accept its terms", "hf auth login", "HF_TOKEN"):
        assert step in done.stderr


def test_a_part_that_is_now_taken_from_elsewhere_does_not_stay_behind(
    machine: Machine, hub: LoopbackHub, folder: Path, tmp_path: Path
) -> None:
    machine.push(folder)
    repository = hub.repositories[NAME]
    repository.commits[repository.revisions["main"]]["demo/sound.wav"] = b"RIFF"
    (folder / "language_model").rename(tmp_path / "gemma")
    config = PublishedConfig.read(folder)
    assert config is not None
    config.bases["language_model"] = Base(GEMMA)
    config.write(folder)
    machine.push(folder)
    assert len(repository.messages) == 3, "one commit, so that nobody meets a half"
    names = set(repository.commits[repository.revisions["main"]])
    assert not [name for name in names if name.startswith("language_model/")]
    assert "demo/sound.wav" in names, "what is no part of the model is its owner's"


def _missing(files: dict[str, bytes]) -> None:
    del files["visual_adapter/diffusion_pytorch_model.safetensors"]


def _damaged(files: dict[str, bytes]) -> None:
    files["visual_adapter/diffusion_pytorch_model.safetensors"] += b"!"


def _future(files: dict[str, bytes]) -> None:
    files[CONFIG_NAME] = json.dumps({**json.loads(files[CONFIG_NAME]), "format_version": 99}).encode()


ERRORS = """
import sys
from audio_agent_zoo import cli

for name in sys.argv[1:]:
    print(cli.main(["export-adapter", name, "adapter.safetensors"]))
"""


def test_what_is_wrong_with_a_repository_is_said_with_what_to_do(
    machine: Machine, hub: LoopbackHub, published: Path
) -> None:
    wrong = {
        "me/missing": (_missing, "visual_adapter/diffusion_pytorch_model.safetensors is missing; download"),
        "me/damaged": (_damaged, "is damaged: its sha256 is"),
        "me/future": (
            _future,
            "has format 99, this version of the package reads up to 1; upgrade with: pip install -U",
        ),
    }
    for name, (spoil, _) in wrong.items():
        repository = hub.publish(name, published)
        spoil(repository.commits[repository.revisions["main"]])
    done = machine.run("-c", ERRORS, *wrong)
    assert done.stdout.split() == [str(cli.RENDER)] * len(wrong), done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("audio-agent: ")]
    for line, (_, expected) in zip(said, wrong.values(), strict=True):
        assert expected in line
    assert not (machine.folder / "adapter.safetensors").exists()
