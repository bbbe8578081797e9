"""Measure a text-to-audio base on the procedural Foley world: generate, score, write results.json.

Every figure stands beside what it has to be read against: real clips of the test split, noise, or a
baseline that solves the same task.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from audio_agent_zoo.evaluation.results import Figure, mean, ratio, write_results
from audio_agent_zoo.hub import resolve
from audio_agent_zoo.media import write_audio
from audio_agent_zoo.metrics.frechet import FrechetDistance
from audio_agent_zoo.metrics.griffin_lim import griffin_lim_from_mel
from audio_agent_zoo.metrics.log_spectral_distance import LogSpectralDistance
from audio_agent_zoo.mixing import Placement, mix
from audio_agent_zoo.models.foley_classifier import FoleyClassifier
from audio_agent_zoo.models.mel import log_mel
from audio_agent_zoo.models.mel_consistency import fit_to_mel
from audio_agent_zoo.pipelines.audio_agent import AudioAgent
from audio_agent_zoo.planner.plan import Plan
from audio_agent_zoo.planner.rule_planner import RulePlanner
from audio_agent_zoo.rates import SAMPLE_RATE, n_samples
from audio_agent_zoo.synthesis.catalogue import CLASS_NAMES
from audio_agent_zoo.synthesis.clips import FoleyClip, make_clip

Audio = NDArray[np.float32]
_SHORTEST_JUDGED_S = 0.25


@dataclass(frozen=True)
class TextToAudioEvaluation:
    """Settings of one evaluation, as a recipe holds them.

    Attributes:
        weights: What `TextToAudioPipeline.from_pretrained` takes.
        seed: Seed of the held-out clips and of the generation.
        output: Folder of results and sounds.
        clips_per_class: Held-out captions per class.
        clip_duration_s: Length of each in seconds.
        n_pairs: Sentences of two events in sequence.
        pair_duration_s: Length of each in seconds.
        n_vocoder_clips: Real clips the vocoder gives back.
        num_inference_steps: Denoising steps; the weights' own default when None.
        guidance_scale: Guidance; the weights' own default when None.
    """

    weights: str = "foley-mini"
    seed: int = 11
    output: str = "runs/text_to_audio_eval"
    clips_per_class: int = 5
    clip_duration_s: float = 2.56
    n_pairs: int = 60
    pair_duration_s: float = 10.0
    n_vocoder_clips: int = 76
    num_inference_steps: int | None = None
    guidance_scale: float | None = None

    def run(self, recipe: Path, output: Path | None = None) -> dict[str, Any]:
        """Measure, and write `results.json` and sample sounds into the folder of results."""
        folder = output or Path(self.output)
        folder.mkdir(parents=True, exist_ok=True)
        evaluator = TextToAudioEvaluator(self, folder)
        figures = [*evaluator.single_events(), *evaluator.vocoder(), *evaluator.pairs()]
        more = {"weights": evaluator.agent.text_to_audio.name, "judge": "foley-mini/classifier"}
        return write_results(folder, recipe, self, figures, more)


class TextToAudioEvaluator:
    """Runs the measurements of one evaluation over one loaded agent and its judge."""

    def __init__(self, settings: TextToAudioEvaluation, output: Path) -> None:
        self.settings, self.output = settings, output
        self.agent = AudioAgent.from_pretrained(settings.weights, planner="rules")
        self.judge = FoleyClassifier.from_pretrained(resolve("foley-mini"), subfolder="classifier").eval()
        self.sampling: dict[str, Any] = {
            "num_inference_steps": settings.num_inference_steps,
            "guidance_scale": settings.guidance_scale,
        }

    def named(self, audio: Audio) -> str:
        """The class the judge hears in `(samples,)`; the shortest stretches are padded with silence."""
        padded = np.pad(audio, (0, max(0, n_samples(_SHORTEST_JUDGED_S) - len(audio))))
        with torch.inference_mode():
            return str(self.judge.class_names[int(self.judge(torch.from_numpy(padded)[None]).argmax())])

    def _features(self, audios: list[Audio]) -> Tensor:
        with torch.inference_mode():
            batches = torch.from_numpy(np.stack(audios)).split(32)
            return torch.cat([self.judge.features(batch) for batch in batches])

    def _frechet(self, name: str, audios: list[Audio], real: list[Audio], better: str) -> Figure:
        metric = FrechetDistance(n_features=int(self.judge.config.embedding_dim))
        metric.update(self._features(audios), real=False)
        metric.update(self._features(real), real=True)
        return Figure(name, float(metric.compute()), "", better, len(audios))

    def _held_out(self, first_seed: int) -> list[FoleyClip]:
        s = self.settings
        return [
            make_clip(first_seed + i, "test", s.clip_duration_s, class_name=name)
            for i, name in enumerate(CLASS_NAMES * s.clips_per_class)
        ]

    def single_events(self) -> list[Figure]:
        """Held-out captions of one sound: naming against real clips, and the Fréchet distance in its range."""
        s = self.settings
        clips, others = self._held_out(s.seed * 10_000), self._held_out(s.seed * 10_000 + 5_000)
        bar = tqdm(desc="single events", unit="step")

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        made = self.agent.text_to_audio(
            [clip.caption for clip in clips],
            s.clip_duration_s,
            seed=[s.seed + i for i in range(len(clips))],
            callback=advance,
            **self.sampling,
        ).audios
        bar.close()
        for clip, audio in zip(clips[: len(CLASS_NAMES)], made, strict=False):
            write_audio(self.output / f"single-{clip.class_name}.wav", audio, SAMPLE_RATE)
        real_hits = np.array([self.named(clip.audio) == clip.class_name for clip in clips])
        hits = np.array([self.named(audio) == clip.class_name for clip, audio in zip(clips, made, strict=True)])
        missed = [
            clip.caption + " -> " + self.named(a) for clip, a, hit in zip(clips, made, hits, strict=True) if not hit
        ]
        (self.output / "missed.txt").write_text("\n".join(missed) + "\n", encoding="utf-8")
        noise = np.random.default_rng(s.seed).normal(0, 0.2, (len(clips), len(clips[0].audio))).astype(np.float32)
        real, floor = [clip.audio for clip in clips], [clip.audio for clip in others]
        return [
            mean("named_real", real_hits, s.seed),
            mean("named_generated", hits, s.seed),
            ratio("named_ratio", hits, real_hits, s.seed),
            self._frechet("frechet_floor_real_against_real", floor, real, ""),
            self._frechet("frechet_generated_against_real", made, real, "lower"),
            self._frechet("frechet_noise_against_real", list(noise), real, ""),
        ]

    def vocoder(self) -> list[Figure]:
        """Real clips through the mel image and back, by the vocoder and by Griffin-Lim."""
        pipeline, s = self.agent.text_to_audio, self.settings
        names = (CLASS_NAMES * (s.n_vocoder_clips // len(CLASS_NAMES) + 1))[: s.n_vocoder_clips]
        audio = np.stack(
            [
                make_clip(s.seed * 10_000 + 9_000 + i, "test", 2.56, class_name=name).audio
                for i, name in enumerate(names)
            ]
        )
        target = torch.from_numpy(audio)
        mel = log_mel(target, pipeline.mel)
        with torch.inference_mode():
            raw = torch.cat([pipeline.vocoder(part) for part in mel.split(16)])
            fitted = fit_to_mel(raw, mel, pipeline.mel, pipeline.parts.generation.mel_iterations)
        griffin_lim = torch.stack(
            [torch.as_tensor(griffin_lim_from_mel(one, pipeline.mel)) for one in tqdm(mel, desc="Griffin-Lim")]
        )
        figures = []
        made = (
            ("vocoder", raw, "lower"),
            ("vocoder_fitted", fitted, "lower"),
            ("griffin_lim", griffin_lim, ""),
        )
        for name, waves, better in made:
            metric = LogSpectralDistance()
            metric.update(waves[:, : target.shape[1]].float(), target)
            figures.append(Figure(f"log_spectral_distance_{name}", float(metric.compute()), "dB", better, len(audio)))
        return figures

    def _pair_hit(self, audio: Audio, plan: Plan, wanted: tuple[str, str]) -> bool:
        """Whether both events are named in their own time range."""
        ranges = (
            (plan.steps[0].start_s, plan.steps[0].end_s),
            (plan.steps[-1].start_s, plan.steps[-1].end_s),
        )
        heard = [self.named(audio[n_samples(start) : n_samples(end)]) for start, end in ranges]
        return tuple(heard) == wanted

    def pairs(self) -> list[Figure]:
        """Sentences of two events in sequence: planned, in a single pass, and as real clips on the same timeline."""
        s, rng = self.settings, np.random.default_rng([self.settings.seed, 3])
        planned, single, real = [], [], []
        for i in tqdm(range(s.n_pairs), desc="pairs"):
            names = tuple(str(name) for name in rng.choice(CLASS_NAMES, 2, replace=False))
            seed = s.seed * 10_000 + 7_000 + 2 * i
            first, second = (make_clip(seed + j, "test", 2.56, class_name=name).caption for j, name in enumerate(names))
            sentence = f"{first} followed by {second[0].lower() + second[1:]}"
            plan = RulePlanner().plan(sentence, duration_s=s.pair_duration_s)
            wanted = (names[0], names[1])
            audio = self.agent.render(plan, seed=s.seed + i, **self.sampling).audio
            planned.append(self._pair_hit(audio, plan, wanted))
            one_pass = self.agent.text_to_audio(sentence, s.pair_duration_s, seed=s.seed + i, **self.sampling).audios[0]
            single.append(self._pair_hit(one_pass, plan, wanted))
            ends = (plan.steps[0], plan.steps[-1])
            placements = [
                Placement(
                    audio=make_clip(seed + j, "test", step.end_s - step.start_s, class_name=name).audio,
                    start_s=step.start_s,
                    end_s=step.end_s,
                    level_lufs=step.level_lufs,
                )
                for j, (step, name) in enumerate(zip(ends, names, strict=True))
            ]
            real.append(self._pair_hit(mix(placements, s.pair_duration_s).audio, plan, wanted))
            if i < 4:
                write_audio(self.output / f"pair-{i}-planned.wav", audio, SAMPLE_RATE)
                write_audio(self.output / f"pair-{i}-single-pass.wav", one_pass, SAMPLE_RATE)
        hits = {
            name: np.array(values) for name, values in (("planned", planned), ("single_pass", single), ("real", real))
        }
        return [
            mean("pair_named_real_mix", hits["real"], s.seed),
            mean("pair_named_planned", hits["planned"], s.seed),
            mean("pair_named_single_pass", hits["single_pass"], s.seed),
            ratio("planned_pair_ratio", hits["planned"], hits["real"], s.seed),
            ratio("single_pass_pair_ratio", hits["single_pass"], hits["real"], s.seed),
        ]
