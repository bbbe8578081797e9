"""How near a sound comes to what was asked for: the paper's Table 2 and its Figure 5.

Single captions, two joined, whole scenes, and long prompts; the planner's sounds, the base's single pass, and other
systems, all asked for the same with the same seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from audio_agent_zoo.app.systems_picture import SystemRow, draw_long_prompts
from audio_agent_zoo.evaluation.comparison import ScoreSettings
from audio_agent_zoo.evaluation.folders import Audio
from audio_agent_zoo.evaluation.judges import load_caption_judge, load_judge
from audio_agent_zoo.evaluation.other_systems import Generate, load_system
from audio_agent_zoo.evaluation.prompt_sets import COMPLEX_CAPTIONS, audiocaps_captions, joined_pairs, sampled
from audio_agent_zoo.evaluation.report import write_report
from audio_agent_zoo.evaluation.report_clips import ReportClip, ReportSound
from audio_agent_zoo.evaluation.results import Figure, write_results
from audio_agent_zoo.evaluation.sounds import Advance, SoundStore, weights_key
from audio_agent_zoo.evaluation.system_scores import SystemScores
from audio_agent_zoo.evaluation.tables import Table
from audio_agent_zoo.media import read_audio
from audio_agent_zoo.pipelines.audio_agent import AudioAgent
from audio_agent_zoo.planner.plan import Plan
from audio_agent_zoo.rates import SAMPLE_RATE, n_samples
from audio_agent_zoo.synthesis.catalogue import CLASS_NAMES
from audio_agent_zoo.synthesis.clips import FoleyClip, make_clip, make_pair

_METRICS = ("onsets", "frechet", "kernel", "kl")
_NOISE_LEVEL = 0.1
_REPORTED = 3
_MOST_AT_ONCE = 8
_KINDS = {"single": "single caption", "two": "two captions", "complex": "complex caption", "long": "long prompt"}
_LABELS = {"truth": "truth", "noise": "noise", "planned": "ours (planned)", "single_pass": "base, single pass"}


@dataclass(frozen=True)
class CaptionTableEvaluation:
    """Settings of one evaluation, as a recipe holds them.

    Attributes:
        weights: What `TextToAudioPipeline.from_pretrained` takes.
        planner: "rules", "openai" or "auto".
        judge: Hears sounds against the true ones, where there are; see `score`.
        judge_weights: Its file; "" for foley-mini's own.
        caption_judge: "mini" for foley-mini's own judge, or a folder or repository of a CLAP.
        audiocaps: AudioCaps' test.csv; "" asks for procedural clips, whose true sound is measured too.
        n_captions: Captions of each kind; the paper takes 20.
        n_complex: Scenes of the prompt set; the paper takes 20, and 0 leaves them out.
        n_long: Long prompts of four captions, for the picture; 0 leaves them out.
        duration_s: Length of every sound in seconds.
        long_duration_s: Length of the long ones.
        systems: Other systems, such as "audioldm2:cvssp/audioldm2-large"; see `other_systems.py`.
        seed: Seed of the draw of captions and of the generation.
        num_inference_steps: Denoising steps; the weights' own default when None.
        device: Where networks run.
        output: Folder of results and sounds.
    """

    weights: str = "foley-mini"
    planner: str = "rules"
    judge: str = "mini"
    judge_weights: str = ""
    caption_judge: str = "mini"
    audiocaps: str = ""
    n_captions: int = 20
    n_complex: int = 20
    n_long: int = 4
    duration_s: float = 10.0
    long_duration_s: float = 20.0
    systems: tuple[str, ...] = ()
    seed: int = 11
    num_inference_steps: int | None = None
    device: str = "cpu"
    output: str = "runs/caption_table"

    def run(self, recipe: Path, output: Path | None = None) -> dict[str, Any]:
        """Make what is missing, measure, and write the results, the table and the picture into the folder."""
        folder = output or Path(self.output)
        folder.mkdir(parents=True, exist_ok=True)
        evaluator = CaptionTableEvaluator(self, folder)
        figures = evaluator.figures()
        if pictured := evaluator.pictured():
            draw_long_prompts(folder / "figure_5.png", pictured)
        more = {
            "task": "text-to-audio",
            "dataset": {"name": "AudioCaps" if self.audiocaps else "procedural Foley world", "split": "test"},
            "weights": evaluator.agent.text_to_audio.name,
            "captions": evaluator.captions,
        }
        results = write_results(
            folder,
            recipe,
            self,
            figures,
            more,
            protocols=evaluator.protocols,
            networks=evaluator.networks,
            seeds={"captions": self.seed, "generation": self.seed, "bootstrap": self.seed},
            tables=evaluator.tables(),
        )
        pictures = {"Long prompts (the paper's Figure 5)": folder / "figure_5.png"}
        write_report(folder / "results.html", "Text to audio", results, evaluator.report_clips(), pictures)
        return results


class CaptionTableEvaluator:
    """Asks every system for the same captions with the same seeds, and scores what comes."""

    def __init__(self, settings: CaptionTableEvaluation, output: Path) -> None:
        self.settings = settings
        self.agent = AudioAgent.from_pretrained(settings.weights, planner=settings.planner, device=settings.device)
        self.judge = load_judge(settings.judge, settings.judge_weights)
        self.clap = load_caption_judge(settings.caption_judge)
        self.store = SoundStore(output / "sounds")
        self.files: dict[tuple[str, str], list[Path]] = {}
        self.protocols: dict[str, dict[str, Any]] = {}
        self.networks: dict[str, dict[str, Any]] = {}

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
        """What is asked for, by kind."""
        s = self.settings
        if s.audiocaps:
            everything = audiocaps_captions(Path(s.audiocaps))
            made = {
                "single": sampled(everything, s.n_captions, s.seed),
                "two": joined_pairs(everything, s.n_captions, s.seed + 1),
            }
        else:
            made = {kind: [clip.caption for clip in clips] for kind, clips in self.clips.items()}
            singles = range(s.seed * 10_000 + 500, s.seed * 10_000 + 500 + 8 * max(s.n_long, 1))
            everything = [make_clip(seed, "test", 1.0).caption for seed in singles]
        made["complex"] = sampled(COMPLEX_CAPTIONS, s.n_complex, s.seed) if s.n_complex else []
        pairs = joined_pairs(everything, 2 * s.n_long, s.seed + 2) if s.n_long else []
        made["long"] = [
            f"{first} followed by {second[:1].lower()}{second[1:]}"
            for first, second in zip(pairs[::2], pairs[1::2], strict=True)
        ]
        return {kind: texts for kind, texts in made.items() if texts}

    def seconds(self, kind: str) -> float:
        """Length of the sounds of a kind."""
        return self.settings.long_duration_s if kind == "long" else self.settings.duration_s

    @cached_property
    def plans(self) -> dict[str, list[Plan]]:
        """What the planner makes of every caption."""
        return {
            kind: [self.agent.plan(text, self.seconds(kind)) for text in texts] for kind, texts in self.captions.items()
        }

    def _planned(self, kind: str, batch: range) -> list[Audio]:
        """The full system: a plan, each of its steps, the mix."""
        s = self.settings
        made = [
            self.agent.render(self.plans[kind][i], seed=s.seed + i, num_inference_steps=s.num_inference_steps).audio
            for i in batch
        ]
        return [audio if audio.ndim == 1 else audio.mean(axis=1) for audio in made]

    def _single_pass(self, kind: str, batch: range, advance: Advance) -> list[Audio]:
        """The base alone, asked for the whole caption at once."""
        s = self.settings
        return self.agent.text_to_audio(
            [self.captions[kind][i] for i in batch],
            self.seconds(kind),
            seed=[s.seed + i for i in batch],
            num_inference_steps=s.num_inference_steps,
            callback=advance,
        ).audios

    def _made(self, name: str, kind: str, other: Generate | None) -> list[Path]:
        """Files of what a system makes of the captions of a kind."""
        s, texts = self.settings, self.captions[kind]
        asked = {"captions": texts, "duration_s": self.seconds(kind), "seed": s.seed}
        if other is None:
            asked |= {"weights": weights_key(self.agent.text_to_audio.parts), "steps": s.num_inference_steps}
        if name == "planned":
            asked["plans"] = [plan.to_json() for plan in self.plans[kind]]

        def make(batch: range, advance: Advance) -> Sequence[Audio]:
            if other is not None:
                return other([texts[i] for i in batch], self.seconds(kind), [s.seed + i for i in batch])
            return self._planned(kind, batch) if name == "planned" else self._single_pass(kind, batch, advance)

        self.store.sounds(f"{kind}_{name}", asked, len(texts), make, most=_MOST_AT_ONCE)
        return self.store.files(f"{kind}_{name}", asked, len(texts))

    def _given(self, name: str, kind: str, audios: Sequence[Audio]) -> list[Path]:
        asked = {"captions": self.captions[kind], "duration_s": self.seconds(kind), "seed": self.settings.seed}
        self.store.sounds(f"{kind}_{name}", asked, len(audios), lambda batch, _: [audios[i] for i in batch])
        return self.store.files(f"{kind}_{name}", asked, len(audios))

    def figures(self) -> list[Figure]:
        """Every measure of every system and kind of caption, and of the true sound where there is one."""
        s = self.settings
        scores = {kind: self._scores(kind) for kind in self.captions}
        figures = list[Figure]()
        rng = np.random.default_rng(s.seed)
        for kind, texts in self.captions.items():
            noise = [rng.standard_normal(n_samples(self.seconds(kind))).astype(np.float32) for _ in texts]
            self.files["noise", kind] = self._given("noise", kind, [_NOISE_LEVEL * one for one in noise])
            for name in ("truth", "noise"):
                if (name, kind) in self.files:
                    figures += scores[kind].figures(name, self.files[name, kind], reference=True)
        for name in ("planned", "single_pass", *s.systems):
            # Loaded one after the other, so that only one is ever in memory.
            other = None if name in _LABELS else load_system(name)
            label = name.replace(":", "_").replace("/", "_")
            for kind in self.captions:
                self.files[label, kind] = self._made(label, kind, other)
                figures += scores[kind].figures(label, self.files[label, kind])
        for one in scores.values():
            self.protocols |= one.protocols
            self.networks |= one.networks
        return figures

    def _scores(self, kind: str) -> SystemScores:
        clips = self.clips.get(kind)
        if clips:
            self.files["truth", kind] = self._given("truth", kind, [clip.audio for clip in clips])
        metrics = _METRICS if self.judge.logits else _METRICS[:-1]
        return SystemScores(
            [f"{kind}-{i:02d}" for i in range(len(self.captions[kind]))],
            self.judge,
            ScoreSettings(metrics, (self.settings.judge,), seed=self.settings.seed),
            truth=self.files.get(("truth", kind)),
            captions=(self.captions[kind], self.clap),
            group=kind,
        )

    def tables(self) -> list[Table]:
        """The paper's table, and what else tells the systems apart."""
        names = list(dict.fromkeys(name for name, _ in self.files))
        rows = {_LABELS.get(name, name): name for name in names}
        kinds = {kind: _KINDS[kind] for kind in self.captions}
        clap_like = {f"{label}, CLAP-like": f"{kind}_caption_similarity" for kind, label in kinds.items()}
        tables = [Table("Text to audio, by the kind of caption", rows, clap_like)]
        for kind in self.clips:
            ends = {
                self.judge.embedding.distance_name: f"frechet_distance_{self.judge.name}",
                "KAD": f"kernel_distance_{self.judge.name}",
                "KL": f"kl_divergence_{self.judge.name}",
                "Onset ACC": "onset_count_accuracy_condfoley",
                "Onset AP": "onset_average_precision_condfoley",
            }
            tables.append(
                Table(f"Against true sounds, {kinds[kind]}", rows, {k: f"{kind}_{v}" for k, v in ends.items()})
            )
        return tables

    def _systems(self, kind: str) -> list[str]:
        return [name for name, of in self.files if of == kind and name != "noise"]

    def _audio(self, name: str, kind: str, index: int) -> Audio:
        return read_audio(self.files[name, kind][index], SAMPLE_RATE)

    def pictured(self) -> list[tuple[str, list[SystemRow]]]:
        """Long prompts with the sounds of every system, the steps of the plan over the planned one."""
        shown = list[tuple[str, list[SystemRow]]]()
        for i, words in enumerate(self.captions.get("long", [])):
            rows = list[SystemRow]()
            for name in self._systems("long"):
                row = SystemRow(_LABELS.get(name, name), self._audio(name, "long", i))
                steps = self.plans["long"][i].steps if name == "planned" else ()
                rows.append(replace(row, spans=[(step.start_s, step.end_s, step.prompt) for step in steps]))
            shown.append((words, rows))
        return shown

    def report_clips(self) -> list[ReportClip]:
        """The first captions of each kind with what every system made of them."""
        shown = list[ReportClip]()
        for kind, texts in self.captions.items():
            for i, text in enumerate(texts[:_REPORTED]):
                sounds = [
                    ReportSound(_LABELS.get(name, name), self.files[name, kind][i], self._audio(name, kind, i))
                    for name in self._systems(kind)
                ]
                shown.append(ReportClip(f"{_KINDS[kind]} {i + 1}", tuple(sounds), caption=text))
        return shown
