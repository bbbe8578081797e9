"""What a system can be asked for, by asking: the paper's Table 1, with a measured share in every cell."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audio_agent_zoo.data.sources.synthesis import FoleyWorldVideos
from audio_agent_zoo.evaluation.folders import Audio
from audio_agent_zoo.evaluation.other_systems import Generate, load_system
from audio_agent_zoo.evaluation.results import Figure, mean, write_results
from audio_agent_zoo.evaluation.tables import Table
from audio_agent_zoo.evaluation.video_systems import IMPACTS
from audio_agent_zoo.hub import resolve
from audio_agent_zoo.metrics.onsets import CONDFOLEY, detect_onsets, score_clip
from audio_agent_zoo.models.foley_classifier import FoleyClassifier
from audio_agent_zoo.pipelines.audio_agent import AudioAgent
from audio_agent_zoo.rates import FRAME_RATE, SAMPLE_RATE, n_samples
from audio_agent_zoo.studio.step_sounds import RenderSettings
from audio_agent_zoo.studio.turn import Turn
from audio_agent_zoo.synthesis.catalogue import CLASS_NAMES
from audio_agent_zoo.synthesis.clips import make_clip

CONVERSATIONS = (
    (
        "A church bell rings, then footsteps on gravel",
        ("make the footsteps quieter", "replace the church bell with a dog barking", "undo"),
    ),
    (
        "A dog barks, followed by glass breaking",
        ("add rain falling in the background", "make the rain quieter", "remove the glass breaking"),
    ),
    (
        "Hammering on metal, then an explosion",
        ("replace the explosion with a church bell ringing", "make the hammering louder", "undo"),
    ),
    (
        "Footsteps on wood, then a knock on the door",
        ("remove the footsteps", "undo", "add a clock ticking in the background"),
    ),
)
"""A first request each, and changes of it."""

_SHORTEST_S = 0.25
_COMPOSED_S, _SECOND_FROM_S, _FIRST_TO_S = 6.0, 2.5, 3.5
_PROTOCOLS = {
    "video": (
        "Share of held-out procedural videos whose sound is exactly as long as they are and starts where theirs does "
        "(F1 of onsets above 0.5)."
    ),
    "editing": (
        "Share of changes in conversations that change what they name and make no other sound again: a level or a "
        "removal makes nothing, a replacement or an addition one sound, an undo brings back the plan before it."
    ),
    "composition": (
        "Share of requests for two sounds at stated times, which overlap, where the judge names each in the stretch "
        "that is its alone."
    ),
    "long": (
        "Share of the four events of a 20 s prompt that the judge names in the stretch the agent's plan gives them, "
        "a quarter each where it has not four steps; of every system the same stretches."
    ),
}
_CANNOT = "0 also stands where a system can't be asked: it takes a caption and a length, no video and no earlier turn."


@dataclass(frozen=True)
class FeatureTableEvaluation:
    """Settings of one evaluation, as a recipe holds them.

    Attributes:
        weights: What `AudioAgent.from_pretrained` takes.
        planner: "rules", "openai" or "auto".
        systems: Other systems, which take a caption and a length; see `other_systems.py`.
        n_videos: Held-out videos.
        n_composed: Requests for two sounds at stated times.
        n_long: Long prompts.
        long_duration_s: Their length in seconds.
        seed: Seed of the requests and of the generation.
        output: Folder of the results.
    """

    weights: str = "foley-mini"
    planner: str = "rules"
    systems: tuple[str, ...] = ()
    n_videos: int = 20
    n_composed: int = 12
    n_long: int = 6
    long_duration_s: float = 20.0
    seed: int = 31
    output: str = "runs/feature_table"

    def run(self, recipe: Path, output: Path | None = None) -> dict[str, Any]:
        """Ask, and write the results and the table into the folder."""
        folder = output or Path(self.output)
        folder.mkdir(parents=True, exist_ok=True)
        checks = FeatureChecks(self)
        systems: dict[str, Generate] = {"audio_agent": checks.agent_answers, "single_pass": checks.single_pass}
        figures = checks.of_agent()
        figures += checks.of_captions("single_pass", checks.single_pass)
        for name in self.systems:
            label = name.replace(":", "_").replace("/", "_")
            systems[label] = load_system(name)
            figures += checks.of_captions(label, systems[label])
        columns = {
            "video to audio": "video",
            "multi-turn editing": "editing",
            "composition": "composition",
            "long complex generation": "long",
        }
        rows = {"ours": "audio_agent", "base, single pass": "single_pass"} | {name: name for name in [*systems][2:]}
        return write_results(
            folder,
            recipe,
            self,
            figures,
            {"task": "text-to-audio", "dataset": {"name": "procedural Foley world", "split": "test"}},
            protocols={name: {"text": text} for name, text in _PROTOCOLS.items()},
            seeds={"requests": self.seed, "generation": self.seed, "bootstrap": self.seed},
            tables=[
                Table("What a system can be asked for, as the share of requests fulfilled", rows, columns, _CANNOT)
            ],
        )


class FeatureChecks:
    """Asks for each feature and hears or looks whether it came."""

    def __init__(self, settings: FeatureTableEvaluation) -> None:
        self.settings = settings
        self.agent = AudioAgent.from_pretrained(settings.weights, planner=settings.planner)
        self.judge = FoleyClassifier.from_pretrained(resolve("foley-mini"), subfolder="classifier").eval()

    def agent_answers(self, captions: Sequence[str], seconds: float, seeds: Sequence[int]) -> list[Audio]:
        """The agent, asked in words: a plan, its steps, the mix."""
        made = [
            self.agent.render(self.agent.plan(caption, seconds), seed=seed).audio
            for caption, seed in zip(captions, seeds, strict=True)
        ]
        return [audio if audio.ndim == 1 else audio.mean(axis=1) for audio in made]

    def single_pass(self, captions: Sequence[str], seconds: float, seeds: Sequence[int]) -> list[Audio]:
        """The base alone, asked for everything at once."""
        return self.agent.text_to_audio(captions, seconds, seed=list(seeds)).audios

    def _named(self, audio: Audio) -> str:
        padded = np.pad(audio, (0, max(0, n_samples(_SHORTEST_S) - len(audio))))
        with torch.inference_mode():
            return str(self.judge.class_names[int(self.judge(torch.from_numpy(padded)[None]).argmax())])

    def _figure(self, system: str, feature: str, fulfilled: Sequence[float]) -> Figure:
        return mean(f"{system}_{feature}", np.array(fulfilled, dtype=float), self.settings.seed, protocol=feature)

    def of_agent(self) -> list[Figure]:
        """All four features of the whole system."""
        return [
            self._figure("audio_agent", "video", self.videos()),
            self._figure("audio_agent", "editing", self.editing()),
            self._figure("audio_agent", "composition", self.composed(self.agent_answers)),
            self._figure("audio_agent", "long", self.long(self.agent_answers)),
        ]

    def of_captions(self, system: str, generate: Generate) -> list[Figure]:
        """The features of a system that takes a caption and a length."""
        n_changes = sum(len(changes) for _, changes in CONVERSATIONS)
        return [
            self._figure(system, "video", [0.0] * self.settings.n_videos),
            self._figure(system, "editing", [0.0] * n_changes),
            self._figure(system, "composition", self.composed(generate)),
            self._figure(system, "long", self.long(generate)),
        ]

    def videos(self) -> list[float]:
        """For each video, whether its sound is as long and starts when it should."""
        pipeline, s = self.agent.video_to_audio, self.settings
        source = FoleyWorldVideos("test", s.n_videos, 2.56, first_seed=s.seed * 10_000, classes=IMPACTS)
        size, fulfilled = pipeline.parts.frame_encoder.image_size, list[float]()
        for i in range(s.n_videos):
            example = source.example(i, size)
            frames: NDArray[np.uint8] = np.concatenate(list(example.frames))
            made = pipeline(frames, caption=example.captions[0], seed=s.seed + i).audios[0]
            true, heard = (detect_onsets(one, SAMPLE_RATE, CONDFOLEY) for one in (example.audio, made))
            whole = len(made) == n_samples(len(frames) / FRAME_RATE)
            fulfilled.append(float(whole and score_clip(true, heard, CONDFOLEY).f1 > 0.5))
        return fulfilled

    def editing(self) -> list[float]:
        """For each change of each conversation, whether it did what it said and nothing else."""
        # Nobody listens to these sounds: what counts is which of them are made.
        quick, fulfilled = RenderSettings(num_inference_steps=1), list[float]()
        for request, changes in CONVERSATIONS:
            with TemporaryDirectory() as folder, self.agent.session(Path(folder) / "session", quick) as session:
                turns = [session.say(request, duration_s=4.0)]
                for change in changes:
                    turns.append(session.undo() if change == "undo" else session.say(change))
                    fulfilled.append(float(_did(change, turns[-3:])))
        return fulfilled

    def _drawn(self, n: int, each: int, salt: int) -> list[tuple[str, ...]]:
        rng = np.random.default_rng([self.settings.seed, salt])
        return [tuple(str(name) for name in rng.choice(CLASS_NAMES, each, replace=False)) for _ in range(n)]

    def _caption(self, name: str, salt: int) -> str:
        return make_clip(self.settings.seed * 10_000 + salt, "test", 2.56, class_name=name).caption

    def composed(self, generate: Generate) -> list[float]:
        """For each request for two sounds at stated times, whether both are heard in the stretch that is theirs."""
        s, fulfilled = self.settings, list[float]()
        for i, (first, second) in enumerate(self._drawn(s.n_composed, 2, 1)):
            one, other = self._caption(first, 2 * i), self._caption(second, 2 * i + 1)
            words = (
                f"{one} from 0 to {_FIRST_TO_S:g} seconds, and {other[0].lower()}{other[1:]} "
                f"from {_SECOND_FROM_S:g} to {_COMPOSED_S:g} seconds"
            )
            audio = generate([words], _COMPOSED_S, [s.seed + i])[0]
            heard = (self._named(audio[: n_samples(_SECOND_FROM_S)]), self._named(audio[n_samples(_FIRST_TO_S) :]))
            fulfilled.append(float(heard == (first, second)))
        return fulfilled

    def long(self, generate: Generate) -> list[float]:
        """For each event of each long prompt, whether it is heard where the agent's plan has it."""
        s, fulfilled = self.settings, list[float]()
        quarters = [(s.long_duration_s * j / 4, s.long_duration_s * (j + 1) / 4) for j in range(4)]
        for i, names in enumerate(self._drawn(s.n_long, 4, 2)):
            captions = [self._caption(name, 1000 + 4 * i + j) for j, name in enumerate(names)]
            words = " followed by ".join([captions[0], *(text[0].lower() + text[1:] for text in captions[1:])])
            audio = generate([words], s.long_duration_s, [s.seed + i])[0]
            steps = self.agent.plan(words, s.long_duration_s).steps
            spans = [(step.start_s, step.end_s) for step in steps] if len(steps) == 4 else quarters
            heard = [self._named(audio[n_samples(start) if start else 0 : n_samples(end)]) for start, end in spans]
            fulfilled += [float(one == name) for one, name in zip(heard, names, strict=True)]
        return fulfilled


def _did(change: str, turns: Sequence[Turn]) -> bool:
    """Whether the last of some turns did what was said: to one step, and to no sound of another."""
    before, after = turns[-2], turns[-1]
    if after.status != "ok" or before.plan is None or after.plan is None:
        return False
    if change == "undo":
        return after.regenerated == () and after.plan == turns[0].plan
    old, new = ({step.id: step for step in plan.steps} for plan in (before.plan, after.plan))
    kept = [name for name in old if name in new and old[name].prompt == new[name].prompt]
    if any(name in after.regenerated for name in kept):
        return False
    verb = change.split()[0]
    if verb == "make":
        changed = [name for name in kept if old[name].level_lufs != new[name].level_lufs]
        return set(old) == set(new) and len(changed) == 1 and after.regenerated == ()
    if verb == "remove":
        return len(new) == len(old) - 1 and set(new) < set(old) and after.regenerated == ()
    wanted = len(old) if verb == "replace" else len(old) + 1
    return len(new) == wanted and len(after.regenerated) == 1
