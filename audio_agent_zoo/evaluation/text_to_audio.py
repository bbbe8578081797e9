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

from audio_agent_zoo.evaluation.intervals import frechet_interval
from audio_agent_zoo.evaluation.report import write_report
from audio_agent_zoo.evaluation.report_clips import ReportClip, ReportSound
from audio_agent_zoo.evaluation.results import Figure, mean, ratio, under, write_results
from audio_agent_zoo.evaluation.sounds import Advance, SoundStore, weights_key
from audio_agent_zoo.hub import resolve
from audio_agent_zoo.media import write_audio
from audio_agent_zoo.metrics.frechet import FrechetDistance
from audio_agent_zoo.metrics.griffin_lim import griffin_lim_from_mel
from audio_agent_zoo.metrics.log_spectral_distance import LogSpectralDistance
from audio_agent_zoo.metrics.public_weights import file_hash
from audio_agent_zoo.mixing import Placement, mix
from audio_agent_zoo.models.foley_classifier import FoleyClassifier
from audio_agent_zoo.models.mel import log_mel
from audio_agent_zoo.models.mel_consistency import fit_to_mel
from audio_agent_zoo.pipelines.audio_agent import AudioAgent
from audio_agent_zoo.planner.plan import Plan, Step
from audio_agent_zoo.planner.rule_planner import RulePlanner
from audio_agent_zoo.rates import SAMPLE_RATE, n_samples
from audio_agent_zoo.synthesis.catalogue import CLASS_NAMES
from audio_agent_zoo.synthesis.clips import FoleyClip, make_clip

Audio = NDArray[np.float32]
_SHORTEST_JUDGED_S = 0.25
_SHOWN = 10
_PAIRS_KEPT = 4

_PROTOCOLS = {
    "naming": (
        "Share of held-out clips whose class the judge names, one caption each; the judge was trained on real clips "
        "alone. named_real is what it names of real clips, named_ratio the one over the other."
    ),
    "frechet": (
        "Fréchet distance between the judge's features of generated and of real clips of the same classes; the floor "
        "is that of other real clips. Biased upward for few clips: compare it at equal n alone. Interval: 200 draws "
        "of clips, laid around the value."
    ),
    "log_spectral_distance": (
        "Root-mean-square difference of log spectra in dB between a real clip and itself after the mel image and back."
    ),
    "pairs": (
        "Share of sentences with two events in sequence where the judge names both, each in the time range the plan "
        "gives it: planned and mixed, made in a single pass, and mixed from real clips."
    ),
}


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
        more = {
            "task": "text-to-audio",
            "dataset": {"name": "procedural Foley world", "split": "test"},
            "weights": evaluator.agent.text_to_audio.name,
            "weights_key": evaluator.weights,
            "judge": "foley-mini/classifier",
        }
        results = write_results(
            folder,
            recipe,
            self,
            figures,
            more,
            protocols={name: {"text": text} for name, text in _PROTOCOLS.items()},
            networks={"foley-mini/classifier": {"sha256": evaluator.judge_hash}},
            seeds={"clips": self.seed * 10_000, "generation": self.seed, "bootstrap": self.seed},
        )
        write_report(folder / "results.html", f"{more['weights']}: text to audio", results, evaluator.shown)
        return results


@dataclass(frozen=True)
class _Pair:
    """A sentence of two events in sequence, and its plan."""

    wanted: tuple[str, str]
    sentence: str
    plan: Plan
    seed: int

    @property
    def ends(self) -> tuple[Step, Step]:
        """The steps of the two events."""
        return self.plan.steps[0], self.plan.steps[-1]

    def real_mix(self, duration_s: float) -> Audio:
        """Real clips of both classes on the plan's timeline."""
        placements = [
            Placement(
                audio=make_clip(self.seed + j, "test", step.end_s - step.start_s, class_name=name).audio,
                start_s=step.start_s,
                end_s=step.end_s,
                level_lufs=step.level_lufs,
            )
            for j, (step, name) in enumerate(zip(self.ends, self.wanted, strict=True))
        ]
        return mix(placements, duration_s).audio


class TextToAudioEvaluator:
    """Runs the measurements of one evaluation over one loaded agent and its judge."""

    def __init__(self, settings: TextToAudioEvaluation, output: Path) -> None:
        self.settings, self.output = settings, output
        self.agent = AudioAgent.from_pretrained(settings.weights, planner="rules")
        place = resolve("foley-mini")
        self.judge = FoleyClassifier.from_pretrained(place, subfolder="classifier").eval()
        self.judge_hash = file_hash(next((place / "classifier").glob("*.safetensors")))
        self.weights = weights_key(self.agent.text_to_audio.parts)
        self.store = SoundStore(output / "sounds")
        self.shown: list[ReportClip] = []
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
        ours, theirs = self._features(audios), self._features(real)
        metric.update(ours, real=False)
        metric.update(theirs, real=True)
        value = float(metric.compute())
        interval = frechet_interval(ours.split(1), theirs.split(1), value, self.settings.seed)
        return Figure(name, value, "", better, len(audios), interval)

    def _key(self, asked: dict[str, Any]) -> dict[str, Any]:
        """All that decides over sounds: the weights, the sampling, and what was asked for."""
        return {"weights": self.weights, **self.sampling, **asked}

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
        captions, seeds = [clip.caption for clip in clips], [s.seed + i for i in range(len(clips))]

        def make(batch: range, advance: Advance) -> list[Audio]:
            chosen = [captions[i] for i in batch]
            some = [seeds[i] for i in batch]
            made_now = self.agent.text_to_audio(chosen, s.clip_duration_s, seed=some, callback=advance, **self.sampling)
            return list(made_now.audios)

        asked = {"captions": captions, "seeds": seeds, "duration_s": s.clip_duration_s}
        made = self.store.sounds("single", self._key(asked), len(clips), make)
        self.shown += [
            ReportClip(
                clip.class_name,
                (ReportSound("real", None, clip.audio), ReportSound("generated", None, audio)),
                caption=clip.caption,
            )
            for clip, audio in zip(clips[:_SHOWN], made, strict=False)
        ]
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
        named = [
            mean("named_real", real_hits, s.seed, better=""),
            mean("named_generated", hits, s.seed),
            ratio("named_ratio", hits, real_hits, s.seed),
        ]
        distances = [
            self._frechet("frechet_floor_real_against_real", floor, real, ""),
            self._frechet("frechet_generated_against_real", made, real, "lower"),
            self._frechet("frechet_noise_against_real", list(noise), real, ""),
        ]
        return [*under("naming", named), *under("frechet", distances)]

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
            metric, heard = LogSpectralDistance(), waves[:, : target.shape[1]].float()
            pairs = zip(heard.split(1), target.split(1), strict=True)
            distances = np.array([float(metric(one, true)) for one, true in pairs])
            figures.append(mean(f"log_spectral_distance_{name}", distances, s.seed, unit="dB", better=better))
        return under("log_spectral_distance", figures)

    def _pair_hit(self, audio: Audio, pair: "_Pair") -> bool:
        """Whether both events are named in their own time range."""
        heard = [self.named(audio[n_samples(step.start_s) : n_samples(step.end_s)]) for step in pair.ends]
        return tuple(heard) == pair.wanted

    def _asked_pairs(self) -> list["_Pair"]:
        s, rng = self.settings, np.random.default_rng([self.settings.seed, 3])
        pairs = list[_Pair]()
        for i in range(s.n_pairs):
            names = tuple(str(name) for name in rng.choice(CLASS_NAMES, 2, replace=False))
            seed = s.seed * 10_000 + 7_000 + 2 * i
            first, second = (make_clip(seed + j, "test", 2.56, class_name=name).caption for j, name in enumerate(names))
            sentence = f"{first} followed by {second[0].lower() + second[1:]}"
            plan = RulePlanner().plan(sentence, duration_s=s.pair_duration_s)
            pairs.append(_Pair((names[0], names[1]), sentence, plan, seed))
        return pairs

    def pairs(self) -> list[Figure]:
        """Sentences of two events in sequence: planned, in a single pass, and as real clips on the same timeline."""
        s, pairs = self.settings, self._asked_pairs()
        asked = {"plans": [pair.plan.to_json() for pair in pairs], "seed": s.seed}

        def plan_and_mix(batch: range, advance: Advance) -> list[Audio]:
            made = [self.agent.render(pairs[i].plan, seed=s.seed + i, **self.sampling).audio for i in batch]
            return [np.asarray(audio) for audio in made]

        def one_pass(batch: range, advance: Advance) -> list[Audio]:
            (i,) = batch
            sentence, seed = pairs[i].sentence, s.seed + i
            made = self.agent.text_to_audio(sentence, s.pair_duration_s, seed=seed, callback=advance, **self.sampling)
            return list(made.audios)

        planned = self.store.sounds("pair_planned", self._key(asked), len(pairs), plan_and_mix, most=1)
        sentences = {"sentences": [pair.sentence for pair in pairs], "duration_s": s.pair_duration_s, "seed": s.seed}
        single = self.store.sounds("pair_single_pass", self._key(sentences), len(pairs), one_pass, most=1)
        real = [pair.real_mix(s.pair_duration_s) for pair in pairs]
        for i, (audio, other) in enumerate(zip(planned[:_PAIRS_KEPT], single[:_PAIRS_KEPT], strict=True)):
            write_audio(self.output / f"pair-{i}-planned.wav", audio, SAMPLE_RATE)
            write_audio(self.output / f"pair-{i}-single-pass.wav", other, SAMPLE_RATE)
            sounds = (("real", real[i]), ("planned", audio), ("single pass", other))
            heard = tuple(ReportSound(name, None, sound) for name, sound in sounds)
            self.shown.append(ReportClip(" then ".join(pairs[i].wanted), heard, caption=pairs[i].sentence))
        hits = {
            name: np.array([self._pair_hit(audio, pair) for audio, pair in zip(audios, pairs, strict=True)])
            for name, audios in (("planned", planned), ("single_pass", single), ("real", real))
        }
        figures = [
            mean("pair_named_real_mix", hits["real"], s.seed, better=""),
            mean("pair_named_planned", hits["planned"], s.seed),
            mean("pair_named_single_pass", hits["single_pass"], s.seed),
            ratio("planned_pair_ratio", hits["planned"], hits["real"], s.seed),
            ratio("single_pass_pair_ratio", hits["single_pass"], hits["real"], s.seed),
        ]
        return under("pairs", figures)
