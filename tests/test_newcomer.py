"""A newcomer's path, timed: sixty clips of an unheard class to a published model that another machine loads by name.

Run it alone: `pytest -m slow tests/test_newcomer.py -s`. The last steps run in a virtual environment that is made for
it and holds a copy of the package; with NEWCOMER_VENV=1 it gets everything else by pip too, which takes a network and
is timed by itself.
"""

import os
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from audio_agent_zoo.hub import resolve
from audio_agent_zoo.media import probe_video
from audio_agent_zoo.metrics.onsets import CONDFOLEY, Onsets, detect_onsets, score_clip
from audio_agent_zoo.models.foley_classifier import FoleyClassifier
from audio_agent_zoo.rates import FRAME_RATE, SAMPLE_RATE
from audio_agent_zoo.synthesis.catalogue import CLASS_NAMES
from audio_agent_zoo.synthesis.clips import make_clip
from tests import ping_pong
from tests.loopback_hub import serve

ROOT = Path(__file__).parents[1]
REPOSITORY = "me/my-foley"
MINUTES = 20
N_CLIPS = int(os.environ.get("NEWCOMER_CLIPS", 60))
N_HELD_OUT = int(os.environ.get("NEWCOMER_HELD_OUT", 24))
STEPS = os.environ.get("NEWCOMER_STEPS", "")
HELD_OUT = range(9_000, 9_000 + N_HELD_OUT)
Audio = NDArray[np.float32]

LISTEN = """
import json, sys
from pathlib import Path
import numpy as np
from audio_agent_zoo import VideoToAudioPipeline

weights, folder, out = sys.argv[1:]
rows = [json.loads(line) for line in (Path(folder) / "metadata.jsonl").read_text().splitlines()]
pipeline = VideoToAudioPipeline.from_pretrained(weights)
videos, captions = [Path(folder) / row["file_name"] for row in rows], [row["caption"] for row in rows]
made = pipeline(videos, captions, seed=list(range(len(rows))))
np.savez(out, *made.audios)
"""
"""What a user elsewhere does: load by name, give sound to videos."""


@dataclass
class Newcomer:
    """A working folder, an empty home of the Hub's client, and a watch."""

    folder: Path
    endpoint: str
    python: str = sys.executable
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        started = perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + perf_counter() - started
        print(f"{step:<24}{self.seconds[step]:8.1f} s", flush=True)

    def run(self, *words: str, home: str = "home") -> str:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_HOME": str(self.folder / home),
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": "hf_newcomer",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        done = subprocess.run(
            [self.python, *words], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=1500
        )
        assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def command(self, *words: str, home: str = "home") -> str:
        return self.run("-m", "audio_agent_zoo.cli", *words, home=home)

    def listen(self, weights: str, videos: Path, home: str) -> list[Audio]:
        out = self.folder / f"{home}.npz"
        self.run("-c", LISTEN, weights, str(videos), str(out), home=home)
        with np.load(out) as made:
            return [made[f"arr_{i}"] for i in range(len(made.files))]


def _fresh_python(folder: Path) -> str:
    """The interpreter of a new environment that holds the package as a wheel does, and not the checkout.

    What the package needs is looked up in the environment of the tests, unless NEWCOMER_VENV asks for it to be
    installed too.
    """
    whole = bool(os.environ.get("NEWCOMER_VENV"))
    venv.create(folder, with_pip=whole)
    python = str(folder / "bin" / "python")
    if whole:
        wanted = [f"torch=={torch.__version__.partition('+')[0]}", str(ROOT)]
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *wanted], capture_output=True, text=True, timeout=1500
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return python
    (packages,) = folder.glob("lib/python3*/site-packages")
    for name, place in (("audio_agent_zoo", "audio_agent_zoo"), ("recipes", "audio_agent_zoo/recipes")):
        shutil.copytree(ROOT / name, packages / place, ignore=shutil.ignore_patterns("__pycache__"))
    (packages / "needed.pth").write_text("".join(f"{place}\n" for place in site.getsitepackages()), encoding="utf-8")
    where = subprocess.run(
        [python, "-c", "import audio_agent_zoo; print(audio_agent_zoo.__file__)"],
        capture_output=True, text=True, cwd=folder, check=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(packages)
    return python


class Judge:
    """Names the class of a sound: foley-mini's classes and the new one, taught by real clips of each."""

    def __init__(self, per_class: int = 8) -> None:
        self.network = FoleyClassifier.from_pretrained(resolve("foley-mini"), subfolder="classifier").eval()
        new = [ping_pong.make_clip(500_000 + i).audio for i in range(6 * per_class)]
        known = [
            make_clip(500_000 + i, "train", ping_pong.DURATION_S, class_name=name).audio
            for name in CLASS_NAMES
            for i in range(per_class)
        ]
        names = [ping_pong.CLASS_NAME] * len(new) + [name for name in CLASS_NAMES for _ in range(per_class)]
        self.head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
        self.head.fit(self.features([*new, *known]), names)

    @torch.inference_mode()
    def features(self, audios: list[Audio]) -> NDArray[np.float32]:
        return np.concatenate([self.network.features(torch.from_numpy(one)[None]).numpy() for one in audios])

    def named(self, audios: list[Audio]) -> float:
        """Share that is taken for the new class."""
        return float((self.head.predict(self.features(audios)) == ping_pong.CLASS_NAME).mean())


def _onsets(truth: list[Audio], made: list[Audio]) -> dict[str, float]:
    """Mean figures of CondFoleyGen's protocol."""
    scores = [
        score_clip(detect_onsets(a, SAMPLE_RATE, CONDFOLEY), detect_onsets(b, SAMPLE_RATE, CONDFOLEY), CONDFOLEY)
        for a, b in zip(truth, made, strict=True)
    ]
    names = ("average_precision", "detection_accuracy", "f1")
    return {name: float(np.mean([getattr(score, name) for score in scores])) for name in names}


def test_the_new_class_is_heard_and_seen_at_its_onsets() -> None:
    assert ping_pong.CLASS_NAME not in CLASS_NAMES
    hits, moves = list[float](), list[float]()
    for seed in range(12):
        clip = ping_pong.make_clip(seed)
        heard = detect_onsets(clip.audio, SAMPLE_RATE, CONDFOLEY)
        hits.append(score_clip(Onsets.from_times(clip.onset_s), heard, CONDFOLEY).f1)
        change = np.abs(np.diff(clip.frames.astype(float), axis=0)).mean((1, 2, 3))
        at = [round(onset * FRAME_RATE) for onset in clip.onset_s]
        moves.append(float(np.mean([change[max(0, i - 2) : i + 1].max() for i in at]) / np.median(change)))
    assert np.mean(hits) > 0.95
    assert min(moves) > 1.3, "a picture that does not change at the onsets could teach nothing"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sixty_clips_to_a_published_model_that_beats_foley_mini(tmp_path: Path) -> None:
    assert ping_pong.CLASS_NAME not in CLASS_NAMES, "foley-mini knows it by now; invent another"
    ping_pong.write_folder(tmp_path / "my_foley", range(N_CLIPS))
    held_out = ping_pong.write_folder(tmp_path / "held_out", HELD_OUT)
    print()
    with serve() as hub:
        newcomer = Newcomer(tmp_path, hub.endpoint)
        with newcomer.timed("prepare"):
            newcomer.command("prepare", "--source", "folder", "--path", "my_foley/", "--output", "my_features/")
        for stage in ("semantic_tokens", "visual_adapter"):
            steps = ["--trainer.max_steps", STEPS] if STEPS else []
            with newcomer.timed(f"fit {stage}"):
                recipe = f"recipes/custom/{stage}.yaml"
                newcomer.command("fit", "--config", recipe, "--data.path", "my_features/", *steps)
        with newcomer.timed("push"):
            newcomer.command("push", "runs/my_foley/hub", REPOSITORY)
        started = perf_counter()
        newcomer.python = _fresh_python(tmp_path / "venv")
        print(f"{'(fresh environment':<24}{perf_counter() - started:8.1f} s)")
        with newcomer.timed("dub"):
            words = ("--weights", REPOSITORY, "--caption", ping_pong.CAPTIONS[0], "--out", "dubbed.mp4")
            newcomer.command("dub", str(held_out[0]), *words, home="elsewhere")
        tuned = newcomer.listen(REPOSITORY, tmp_path / "held_out", "elsewhere_too")
        mini = newcomer.listen("foley-mini", tmp_path / "held_out", "elsewhere_for_mini")
    minutes = sum(newcomer.seconds.values()) / 60
    print(f"{'in all':<24}{60 * minutes:8.1f} s")
    assert probe_video(tmp_path / "dubbed.mp4").duration_s == pytest.approx(ping_pong.DURATION_S, abs=0.1)

    truth = [ping_pong.make_clip(seed).audio for seed in HELD_OUT]
    judge = Judge()
    rows = {
        "real": {**_onsets(truth, truth), "named": judge.named(truth)},
        "another real clip": {**_onsets(truth, truth[1:] + truth[:1]), "named": judge.named(truth)},
        "foley-mini": {**_onsets(truth, mini), "named": judge.named(mini)},
        "fine-tuned": {**_onsets(truth, tuned), "named": judge.named(tuned)},
    }
    print(f"{N_HELD_OUT} held-out clips of {ping_pong.CLASS_NAME}, onsets after {CONDFOLEY.name}:")
    for name, values in rows.items():
        print(f"{name:<24}" + "  ".join(f"{key} {value:.3f}" for key, value in values.items()))
    assert rows["real"]["named"] > 0.9, "the judge does not know the new class; its verdict says nothing"
    assert rows["fine-tuned"]["average_precision"] > rows["foley-mini"]["average_precision"]
    assert rows["fine-tuned"]["named"] > rows["foley-mini"]["named"]
    assert minutes < MINUTES
