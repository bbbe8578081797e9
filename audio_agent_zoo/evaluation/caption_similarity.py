"""How near a sound comes to what was asked for: single captions, two joined, whole scenes (the paper's Table 2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from audio_agent_zoo.evaluation.other_systems import load_system
from audio_agent_zoo.evaluation.prompt_sets import COMPLEX_CAPTIONS, audiocaps_captions, joined_pairs, sampled
from audio_agent_zoo.evaluation.results import Figure, mean, write_results
from audio_agent_zoo.media import resample, write_audio
from audio_agent_zoo.metrics.feature_networks import Clap, clap
from audio_agent_zoo.metrics.mini_networks import mini_audio_text
from audio_agent_zoo.metrics.similarity import cosine_similarity
from audio_agent_zoo.pipelines.audio_agent import AudioAgent
from audio_agent_zoo.rates import SAMPLE_RATE, n_samples
from audio_agent_zoo.synthesis.catalogue import CLASS_NAMES
from audio_agent_zoo.synthesis.clips import FoleyClip, make_clip, make_pair

Audio = NDArray[np.float32]
System = Callable[[Sequence[str], float, Sequence[int]], list[Audio]]
"""Captions, seconds and one seed each -> one sound `(samples,)` at 16 kHz each."""

_SAMPLES = 3


@dataclass(frozen=True)
class CaptionEvaluation:
    """Settings of one evaluation, as a recipe holds them.

    Attributes:
        weights: What `TextToAudioPipeline.from_pretrained` takes.
        planner: "rules", "openai" or "auto".
        similarity: "mini" for foley-mini's own judge, or a folder or repository of a CLAP.
        audiocaps: AudioCaps' test.csv; "" asks for procedural clips, whose true sound is measured too.
        n_captions: Captions of each kind; the paper takes 20.
        duration_s: Length of every sound in seconds.
        systems: Other systems, such as "audioldm2:cvssp/audioldm2-large"; see `other_systems.py`.
        seed: Seed of the draw of captions and of the generation.
        num_inference_steps: Denoising steps; the weights' own default when None.
        output: Folder of results and sounds.
    """

    weights: str = "foley-mini"
    planner: str = "rules"
    similarity: str = "mini"
    audiocaps: str = ""
    n_captions: int = 20
    duration_s: float = 10.0
    systems: tuple[str, ...] = ()
    seed: int = 11
    num_inference_steps: int | None = None
    output: str = "runs/caption_similarity"

    def run(self, recipe: Path, output: Path | None = None) -> dict[str, Any]:
        """Measure, and write `results.json` and sample sounds into the folder of results."""
        folder = output or Path(self.output)
        folder.mkdir(parents=True, exist_ok=True)
        evaluator = CaptionEvaluator(self, folder)
        figures = evaluator.figures()
        more = {
            "weights": evaluator.agent.text_to_audio.name,
            "protocol": {"metric": "cosine of caption and sound, mean over clips", **evaluator.judge.sound.protocol()},
            "captions": {kind: list(texts) for kind, texts in evaluator.captions.items()},
        }
        return write_results(folder, recipe, self, figures, more)


class CaptionEvaluator:
    """Asks every system for the same captions with the same seeds, and compares what comes with what was asked."""

    def __init__(self, settings: CaptionEvaluation, output: Path) -> None:
        self.settings, self.output = settings, output
        self.agent = AudioAgent.from_pretrained(settings.weights, planner=settings.planner)
        self.judge: Clap = mini_audio_text() if settings.similarity == "mini" else clap(settings.similarity)

    @cached_property
    def clips(self) -> dict[str, list[FoleyClip]]:
        """Procedural clips of the test split, whose captions are asked for where there is no table."""
        s = self.settings
        if s.audiocaps:
            return {}
        order = np.random.default_rng(s.seed).permutation(len(CLASS_NAMES))
        names = [CLASS_NAMES[order[i % len(order)]] for i in range(s.n_captions)]
        first = s.seed * 10_000
        singles = [make_clip(first + i, "test", s.duration_s, class_name=name) for i, name in enumerate(names)]
        return {"single": singles, "two": [make_pair(first + i, "test", s.duration_s) for i in range(s.n_captions)]}

    @cached_property
    def captions(self) -> dict[str, list[str]]:
        """What is asked for: single, two, complex."""
        s = self.settings
        made = {kind: [clip.caption for clip in clips] for kind, clips in self.clips.items()}
        if s.audiocaps:
            everything = audiocaps_captions(Path(s.audiocaps))
            made = {
                "single": sampled(everything, s.n_captions, s.seed),
                "two": joined_pairs(everything, s.n_captions, s.seed + 1),
            }
        return {**made, "complex": sampled(COMPLEX_CAPTIONS, min(s.n_captions, len(COMPLEX_CAPTIONS)), s.seed)}

    def planned(self, captions: Sequence[str], seconds: float, seeds: Sequence[int]) -> list[Audio]:
        """The full system: a plan, each of its steps, the mix."""
        steps = self.settings.num_inference_steps
        made = list[Audio]()
        for caption, seed in zip(captions, seeds, strict=True):
            plan = self.agent.plan(caption, seconds)
            made.append(self.agent.render(plan, seed=seed, num_inference_steps=steps).audio)
        return [audio if audio.ndim == 1 else audio.mean(axis=1) for audio in made]

    def single_pass(self, captions: Sequence[str], seconds: float, seeds: Sequence[int]) -> list[Audio]:
        """The base alone, asked for the whole caption at once."""
        steps = self.settings.num_inference_steps
        return self.agent.text_to_audio(captions, seconds, seed=list(seeds), num_inference_steps=steps).audios

    def similarity(self, audios: Sequence[Audio], captions: Sequence[str]) -> NDArray[np.float64]:
        """Cosine of each sound and its caption."""
        rate = self.judge.sound.sample_rate or SAMPLE_RATE
        cosines = list[float]()
        for audio, caption in zip(audios, captions, strict=True):
            sound = torch.from_numpy(resample(audio, SAMPLE_RATE, rate))[None]
            if not sound.abs().max() > 0:
                cosines.append(0.0)  # silence says nothing of any caption
                continue
            cosines.append(float(cosine_similarity(self.judge.text([caption]), self.judge.sound(sound))[0]))
        return np.array(cosines)

    def figures(self) -> list[Figure]:
        """The mean similarity of every system and kind of caption, and of the true sound where there is one."""
        s = self.settings
        systems: dict[str, System] = {"planned": self.planned, "single_pass": self.single_pass}
        figures = list[Figure]()
        for kind, clips in self.clips.items():
            figures.append(self._figure(kind, "truth", [clip.audio for clip in clips]))
        rng = np.random.default_rng(s.seed)
        noise = [rng.standard_normal(n_samples(s.duration_s)).astype(np.float32) * 0.1 for _ in range(s.n_captions)]
        figures += [self._figure(kind, "noise", noise[: len(texts)]) for kind, texts in self.captions.items()]
        for name in [*systems, *s.systems]:
            # Loaded one after the other, so that only one is ever in memory.
            system = systems.get(name) or load_system(name)
            for kind, texts in tqdm(self.captions.items(), desc=name):
                audios = system(texts, s.duration_s, [s.seed + i for i in range(len(texts))])
                label = name.replace(":", "_").replace("/", "_")
                for i, audio in enumerate(audios[:_SAMPLES]):
                    write_audio(self.output / f"{kind}-{i}-{label}.wav", audio, SAMPLE_RATE)
                figures.append(self._figure(kind, label, audios))
        return figures

    def _figure(self, kind: str, name: str, audios: Sequence[Audio]) -> Figure:
        better = "" if name in ("truth", "noise") else "higher"
        values = self.similarity(audios, self.captions[kind])
        return mean(f"{kind}_{name}", values, self.settings.seed, better=better)
