"""Measure a video-to-audio pipeline on held-out procedural videos: whether its sound starts when it should."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from audio_agent_zoo.app.curves import draw_curves
from audio_agent_zoo.evaluation.folders import Audio
from audio_agent_zoo.evaluation.report import write_report
from audio_agent_zoo.evaluation.report_clips import ReportClip, ReportSound
from audio_agent_zoo.evaluation.results import Figure, mean, under, write_results
from audio_agent_zoo.evaluation.video_systems import VideoSystems, VideoSystemSettings
from audio_agent_zoo.media import read_audio, write_audio, write_video
from audio_agent_zoo.metrics.onsets import CONDFOLEY, Onsets, detect_onsets, score_clip
from audio_agent_zoo.models.mel import log_mel
from audio_agent_zoo.models.mel_consistency import fit_to_mel
from audio_agent_zoo.pipelines.token_writing import TokenWriter
from audio_agent_zoo.rates import FRAME_RATE, SAMPLE_RATE

_MEASURES = ("count_accuracy", "detection_accuracy", "average_precision")
_SAMPLES = 6

_PROTOCOLS = {
    "onsets": (
        "Onsets of the true and of the generated sound, both found by librosa, under CondFoleyGen's protocol. Average "
        "precision is generous: read it beside another_clip, the onsets of another clip of the same class. text_only "
        "is the same system without its visual attention, true_tokens hears the tokens of the true sound, vocoder is "
        "the true sound through the mel image and back; gap_closed is how far the full system gets from text_only to "
        "true_tokens."
    ),
    "visual_scale": "The same onset figures over the weight of the visual attention.",
    "swaps": (
        "For clips A, B of one class: whether the sound made for A fits the onsets of A better than those of B, by F1; "
        "n counts pairs, without those no listener could tell apart."
    ),
    "tokens": (
        "How often the language model's next semantic token is right, given the true ones before it, in windows as the "
        "pipeline writes them; unigram is the share of the commonest token."
    ),
}


@dataclass(frozen=True)
class VideoToAudioEvaluation(VideoSystemSettings):
    """Settings of one evaluation, as a recipe holds them.

    Attributes:
        clips_per_class: Held-out videos of each class.
        visual_scales: Weights of the visual attention to compare, the pipeline's own among them.
        output: Folder of results and sounds.
    """

    clips_per_class: int = 20
    visual_scales: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    output: str = "runs/video_to_audio_eval"

    def run(self, recipe: Path, output: Path | None = None) -> dict[str, Any]:
        """Measure, and write `results.json`, the curve and sample sounds into the folder of results."""
        folder = output or Path(self.output)
        folder.mkdir(parents=True, exist_ok=True)
        evaluator = VideoToAudioEvaluator(self, folder, recipe)
        systems = evaluator.systems
        figures = [
            *under("onsets", evaluator.onsets()),
            *under("visual_scale", evaluator.scales()),
            *under("swaps", evaluator.swaps()),
            *under("tokens", evaluator.token_accuracy()),
        ]
        more = {
            "task": "video-to-audio",
            "dataset": self.dataset,
            "weights": systems.pipeline.name,
            "weights_key": systems.key(systems.pipeline.parts),
            "protocol": asdict(CONDFOLEY),
            "left_out": systems.left_out,
        }
        protocols: dict[str, dict[str, Any]] = {name: {"text": text} for name, text in _PROTOCOLS.items()}
        protocols["onsets"] |= asdict(CONDFOLEY)
        seeds = {"clips": self.seed * 10_000, "generation": self.seed, "bootstrap": self.seed}
        results = write_results(folder, recipe, self, figures, more, protocols=protocols, seeds=seeds)
        pictures = {"Onset figures over the weight of the visual attention": folder / "visual_scale.png"}
        title = f"{more['weights']}: video to audio"
        write_report(folder / "results.html", title, results, evaluator.report_clips(), pictures)
        return results


class VideoToAudioEvaluator:
    """Runs the measurements of one evaluation; every system hears of the same videos, captions and seeds."""

    def __init__(self, settings: VideoToAudioEvaluation, output: Path, recipe: Path) -> None:
        self.settings, self.output = settings, output
        self.systems = VideoSystems(settings, output, recipe)
        self.examples = self.systems.examples
        self.truth = _onsets([example.audio for example in self.examples])
        self.made: dict[str, list[Audio]] = {}
        self.heard: dict[str, list[Onsets]] = {}

    def _read(self, name: str, files: Sequence[Path]) -> None:
        """Sounds of a system and their onsets; the first ones also under names to listen by."""
        self.made[name] = [read_audio(path) for path in files]
        self.heard[name] = _onsets(self.made[name])
        for i, audio in enumerate(self.made[name][:_SAMPLES]):
            write_audio(self.output / f"{self._label(i)}-{name}.wav", audio, SAMPLE_RATE)

    def _label(self, i: int) -> str:
        return f"{i}-{self.examples[i].class_name}"

    def _figures(self, name: str, heard: Sequence[Onsets], better: str = "higher") -> list[Figure]:
        scores = [score_clip(true, made, CONDFOLEY) for true, made in zip(self.truth, heard, strict=True)]
        values = {short: np.array([float(getattr(score, short)) for score in scores]) for short in _MEASURES}
        return [mean(f"{name}_{short}", values[short], self.settings.seed, better=better) for short in _MEASURES]

    def _vocoded(self) -> list[Audio]:
        """True sound through the mel image and back: what no system that ends in this vocoder can beat."""
        base = self.systems.pipeline.base
        made = list[Audio]()
        for example in self.examples:
            mel = log_mel(torch.from_numpy(example.audio)[None], base.mel)
            with torch.inference_mode():
                wave = fit_to_mel(base.vocoder(mel), mel, base.mel, base.parts.generation.mel_iterations)
            made.append(wave[0, : len(example.audio)].numpy())
        return made

    def onsets(self) -> list[Figure]:
        """The three onset figures of every system, and how far the full one closes the gap."""
        systems = self.systems
        for i, example in enumerate(self.examples[:_SAMPLES]):
            write_video(self.output / f"{self._label(i)}.mp4", systems.frames(i), FRAME_RATE, example.audio)
        made: dict[str, Callable[[], list[Path] | None]] = {
            "full": systems.full,
            "text_only": systems.text_only,
            "true_tokens": systems.with_true_tokens,
            **{name: partial(systems.variant, name) for name in self.settings.variants},
        }
        figures = list[Figure]()
        for name, files in made.items():
            if (paths := files()) is not None:
                self._read(name, paths)
                figures += self._figures(name, self.heard[name])
        figures += self._figures("vocoder", _onsets(self._vocoded()))
        # What sounding right at the wrong time scores.
        figures += self._figures("another_clip", [self.truth[i] for i in systems.neighbours], better="")
        value = {figure.name: figure.value for figure in figures}
        for short in ("detection_accuracy", "average_precision"):
            floor, ceiling = value[f"text_only_{short}"], value[f"true_tokens_{short}"]
            closed = (value[f"full_{short}"] - floor) / (ceiling - floor) if ceiling > floor else float("nan")
            figures.append(Figure(f"gap_closed_{short}", closed, "", "higher", len(self.examples)))
        return figures

    def scales(self) -> list[Figure]:
        """Onset figures over the weight of the visual attention, and their picture."""
        own, curves = self.systems.pipeline.parts.video.visual_scale, dict[str, list[float]]()
        figures = list[Figure]()
        for scale in self.settings.visual_scales:
            known = "full" if scale == own else "text_only" if scale == 0 else ""
            name = f"visual_scale_{scale:g}"
            if known not in self.heard:
                self._read(name, self.systems.full(visual_scale=scale, name=name))
            new = self._figures(name, self.heard[known or name])
            for short, figure in zip(_MEASURES, new, strict=True):
                curves.setdefault(short.replace("_", " "), []).append(figure.value)
            figures += new
        draw_curves(self.output / "visual_scale.png", "visual scale", self.settings.visual_scales, curves)
        return figures

    def swaps(self) -> list[Figure]:
        """For clips A, B of one class: whether the sound made for A fits A's onsets better than B's.

        Pairs that no listener could tell apart are left out: A without onsets, or B with the same ones.
        """
        heard, wins = self.heard["full"], list[float]()
        for name in dict.fromkeys(example.class_name for example in self.examples):
            rows = [i for i, example in enumerate(self.examples) if example.class_name == name]
            for a, b in permutations(rows, 2):
                if not len(self.truth[a]) or score_clip(self.truth[a], self.truth[b], CONDFOLEY).f1 == 1:
                    continue
                own = score_clip(self.truth[a], heard[a], CONDFOLEY).f1
                other = score_clip(self.truth[b], heard[a], CONDFOLEY).f1
                wins.append(float(own > other))
        return [mean("swap_lowers_score", np.array(wins), self.settings.seed)]

    @torch.inference_mode()
    def token_accuracy(self) -> list[Figure]:
        """How often the language model's next token is right, given the true ones before it, against the commonest."""
        hits, true = list[float](), self.systems.true_tokens
        shapes = [(len(one), len(video.frames)) for one, video in zip(true, self.systems.videos, strict=True)]
        for shape in dict.fromkeys(shapes):
            alike = [i for i, other in enumerate(shapes) if other == shape]
            for first in range(0, len(alike), 20):
                rows = alike[first : first + 20]
                tokens = torch.stack([true[i] for i in rows])
                hits += (self._next_tokens(rows, tokens) == tokens).float().mean(1).tolist()
        everything = torch.cat(true)
        commonest = float((everything == everything.mode().values).float().mean())
        return [
            mean("token_accuracy", np.array(hits), self.settings.seed),
            Figure("unigram_token_accuracy", commonest, "", "", len(true)),
        ]

    def _next_tokens(self, rows: Sequence[int], tokens: Tensor) -> Tensor:
        """The likeliest token after each true past `(clips, tokens)`, in windows as the pipeline writes them."""
        systems, length = self.systems, tokens.shape[1]
        parts = systems.pipeline.parts
        writer = TokenWriter(parts)
        window, context = writer.window, writer.context
        captions = [systems.captions[i] for i in rows]
        embedded = parts.connector(torch.stack([systems.videos[i].frames for i in rows]), length)
        found = torch.full_like(tokens, -1)
        start = 0
        while start == 0 or start + context < length:
            count = window if parts.video.fixed_window else min(window, length - start)
            true = F.pad(tokens[:, start : start + count], (0, max(0, start + count - length)), value=-100)
            _, likeliest = parts.lm.loss(captions, parts.connector.stretch(embedded, start, count), true)
            known = start + context if start else 0  # what the window before has judged
            found[:, known : start + count] = likeliest[:, known - start : length - start]
            start += count - context
        return found

    def report_clips(self) -> list[ReportClip]:
        """The first clips with what every system made of them."""
        shown = list[ReportClip]()
        for i, example in enumerate(self.examples[:_SAMPLES]):
            sounds = [ReportSound("truth", None, example.audio, self.truth[i])]
            for name in ("full", "text_only", "true_tokens", *self.settings.variants):
                if name in self.made:
                    sounds.append(ReportSound(name.replace("_", " "), None, self.made[name][i], self.heard[name][i]))
            title = f"{example.class_name.replace('_', ' ')}, clip {i}"
            shown.append(ReportClip(title, tuple(sounds), {}, CONDFOLEY.tolerance_s, self.systems.captions[i]))
        return shown


def _onsets(audios: Sequence[Audio]) -> list[Onsets]:
    return [detect_onsets(audio, SAMPLE_RATE, CONDFOLEY) for audio in audios]
