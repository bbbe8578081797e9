"""Measure a video-to-audio pipeline on held-out procedural videos: whether its sound starts when it should."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm
from transformers import Gemma2ForCausalLM

from audio_agent_zoo.app.curves import draw_curves
from audio_agent_zoo.evaluation.report import write_report
from audio_agent_zoo.evaluation.report_clips import ReportClip, ReportSound
from audio_agent_zoo.evaluation.results import Figure, mean, under, write_results
from audio_agent_zoo.evaluation.sounds import Advance, SoundStore, settings_key, weights_key
from audio_agent_zoo.hub import (
    HUBERT,
    LANGUAGE_MODEL,
    SEMANTIC_QUANTIZER,
    SEMANTIC_TOKEN_LM,
    TEMPORAL_CONNECTOR,
    VISUAL_ADAPTER,
    resolve,
)
from audio_agent_zoo.media import write_audio, write_video
from audio_agent_zoo.metrics.onsets import CONDFOLEY, Onsets, OnsetScore, detect_onsets, score_clip
from audio_agent_zoo.models.hubert_tokenizer import HubertTokenizer
from audio_agent_zoo.models.mel import log_mel
from audio_agent_zoo.models.mel_consistency import fit_to_mel
from audio_agent_zoo.models.semantic_token_lm import SemanticTokenLM
from audio_agent_zoo.models.temporal_connector import TemporalConnector
from audio_agent_zoo.models.visual_adapter import VisualAdapter
from audio_agent_zoo.pipelines.video_to_audio import EncodedVideo, VideoToAudioPipeline
from audio_agent_zoo.rates import FRAME_RATE, SAMPLE_RATE
from audio_agent_zoo.synthesis.clips import FoleyClip, make_clip
from audio_agent_zoo.synthesis.scenes import render_scene

Audio = NDArray[np.float32]

IMPACTS = (
    "bowling",
    "cap_gun",
    "church_bell",
    "clapping",
    "clock_ticking",
    "door_knock",
    "explosion",
    "footsteps",
    "glass_breaking",
    "hammering",
)
"""Visible classes whose sound starts with a blow."""

_MEASURES = ("count_accuracy", "detection_accuracy", "average_precision")
_SAMPLES = 6
_SHOWN = ("full", "text_only", "true_tokens", "without_connector", "without_positions")

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
class VideoToAudioEvaluation:
    """Settings of one evaluation, as a recipe holds them.

    Attributes:
        weights: What `VideoToAudioPipeline.from_pretrained` takes.
        without_connector: Folder with `temporal_connector` and `semantic_token_lm` of the ablation; "" for none.
        without_positions: Folder with `visual_adapter` of the ablation; "" for none.
        seed: Seed of the held-out clips and of the generation.
        output: Folder of results and sounds.
        classes: Visible classes.
        clips_per_class: Held-out videos of each.
        clip_duration_s: Length of each in seconds.
        visual_scales: Weights of the visual attention to compare, the pipeline's own among them.
        num_inference_steps: Denoising steps; the weights' own default when None.
        guidance_scale: Guidance; the weights' own default when None.
    """

    weights: str = "foley-mini"
    without_connector: str = ""
    without_positions: str = ""
    seed: int = 11
    output: str = "runs/video_to_audio_eval"
    classes: tuple[str, ...] = IMPACTS
    clips_per_class: int = 20
    clip_duration_s: float = 2.56
    visual_scales: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    num_inference_steps: int | None = None
    guidance_scale: float | None = None

    def run(self, recipe: Path, output: Path | None = None) -> dict[str, Any]:
        """Measure, and write `results.json`, the curve and sample sounds into the folder of results."""
        folder = output or Path(self.output)
        folder.mkdir(parents=True, exist_ok=True)
        evaluator = VideoToAudioEvaluator(self, folder)
        figures = [
            *under("onsets", evaluator.systems()),
            *under("visual_scale", evaluator.scales()),
            *under("swaps", evaluator.swaps()),
            *under("tokens", evaluator.token_accuracy()),
        ]
        more = {
            "task": "video-to-audio",
            "dataset": {"name": "procedural Foley world", "split": "test"},
            "weights": evaluator.pipeline.name,
            "weights_key": evaluator.weights,
            "protocol": asdict(CONDFOLEY),
            "left_out": evaluator.left_out,
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

    def __init__(self, settings: VideoToAudioEvaluation, output: Path) -> None:
        self.settings, self.output = settings, output
        self.pipeline = VideoToAudioPipeline.from_pretrained(settings.weights)
        names = [name for _ in range(settings.clips_per_class) for name in settings.classes]
        first = settings.seed * 10_000
        self.clips: list[FoleyClip] = [
            make_clip(first + i, "test", settings.clip_duration_s, class_name=name) for i, name in enumerate(names)
        ]
        self.truth = [detect_onsets(clip.audio, SAMPLE_RATE, CONDFOLEY) for clip in self.clips]
        parts = self.pipeline.parts
        self.weights = weights_key(self.pipeline.base.parts, parts.networks(), asdict(parts.video))
        self.store = SoundStore(output / "sounds")
        self.made: dict[str, list[Audio]] = {}
        self.left_out: list[str] = []

    def frames(self, clip: FoleyClip) -> NDArray[np.uint8]:
        """The video of a clip."""
        size = self.pipeline.parts.frame_encoder.image_size
        return render_scene(clip.class_name, clip.events, clip.duration_s, seed=clip.seed, size=size)

    @cached_property
    def videos(self) -> list[EncodedVideo]:
        """Every clip's video, encoded; its last frame may reach beyond the clip's end."""
        return [
            replace(self.pipeline.encode_video(self.frames(clip)), duration_s=clip.duration_s)
            for clip in tqdm(self.clips, desc="videos")
        ]

    @cached_property
    def captions(self) -> list[str]:
        """One caption per clip."""
        return [clip.caption for clip in self.clips]

    @cached_property
    def seeds(self) -> list[int]:
        """One seed per clip."""
        return [self.settings.seed + i for i in range(len(self.clips))]

    @cached_property
    def true_tokens(self) -> list[Tensor]:
        """Semantic tokens of the true sound."""
        folder = resolve(self.settings.weights)
        tokenizer = HubertTokenizer.from_pretrained(folder / HUBERT, folder / SEMANTIC_QUANTIZER)
        return tokenizer.encode([torch.from_numpy(clip.audio) for clip in self.clips])

    @cached_property
    def tokens(self) -> list[Tensor]:
        """Semantic tokens that the full system writes."""
        return self._written("full", self.weights, self.pipeline)

    def _written(self, name: str, weights: str, pipeline: VideoToAudioPipeline) -> list[Tensor]:
        """Semantic tokens a system writes, or wrote in an earlier run."""
        asked = {"weights": weights, "clips": self._asked, "seeds": self.seeds, "tokens": name}
        return self.store.tokens(
            f"tokens_{name}", asked, lambda: pipeline.write_tokens(self.videos, self.captions, self.seeds)
        )

    @cached_property
    def _asked(self) -> dict[str, Any]:
        """What decides over the clips."""
        s = self.settings
        clips = [[clip.class_name, clip.seed, clip.duration_s, clip.caption] for clip in self.clips]
        return {"clips": clips, "image_size": self.pipeline.parts.frame_encoder.image_size, "seed": s.seed}

    def _render(self, name: str, tokens: Sequence[Tensor], scale: float | None = None) -> list[Audio]:
        s, parts = self.settings, self.pipeline.parts

        def make(batch: range, advance: Advance) -> list[Audio]:
            made = self.pipeline.render(
                [tokens[i] for i in batch],
                [self.captions[i] for i in batch],
                [self.clips[i].duration_s for i in batch],
                visual_scale=scale,
                seeds=[self.seeds[i] for i in batch],
                num_inference_steps=s.num_inference_steps,
                guidance_scale=s.guidance_scale,
                callback=advance,
            )
            return list(made.audios)

        asked = {
            "weights": weights_key(self.pipeline.base.parts, parts.networks(), asdict(parts.video)),
            "tokens": settings_key({"tokens": [one.tolist() for one in tokens]}),
            "clips": self._asked,
            "seeds": self.seeds,
            "visual_scale": parts.video.visual_scale if scale is None else scale,
            "num_inference_steps": s.num_inference_steps,
            "guidance_scale": s.guidance_scale,
        }
        audios = self.store.sounds(name, asked, len(self.clips), make)
        self.made[name] = audios
        for i, audio in enumerate(audios[:_SAMPLES]):
            write_audio(self.output / f"{i}-{self.clips[i].class_name}-{name}.wav", audio, SAMPLE_RATE)
        return audios

    def _scores(self, audios: Sequence[Audio]) -> list[OnsetScore]:
        heard = [detect_onsets(audio, SAMPLE_RATE, CONDFOLEY) for audio in audios]
        return [score_clip(true, made, CONDFOLEY) for true, made in zip(self.truth, heard, strict=True)]

    def _figures(self, name: str, audios: Sequence[Audio]) -> list[Figure]:
        scores = self._scores(audios)
        return [
            mean(f"{name}_{short}", np.array([float(getattr(score, short)) for score in scores]), self.settings.seed)
            for short in _MEASURES
        ]

    def _vocoded(self) -> list[Audio]:
        """True sound through the mel image and back: what no system that ends in this vocoder can beat."""
        base = self.pipeline.base
        made = list[Audio]()
        for clip in self.clips:
            mel = log_mel(torch.from_numpy(clip.audio)[None], base.mel)
            with torch.inference_mode():
                wave = fit_to_mel(base.vocoder(mel), mel, base.mel, base.parts.generation.mel_iterations)
            made.append(wave[0, : len(clip.audio)].numpy())
        return made

    def _without_connector(self) -> list[Tensor]:
        folder, parts = Path(self.settings.without_connector), self.pipeline.parts
        base = Gemma2ForCausalLM.from_pretrained(folder / LANGUAGE_MODEL, dtype=torch.float32)
        other = replace(
            parts,
            connector=TemporalConnector.from_pretrained(folder, subfolder=TEMPORAL_CONNECTOR).eval(),
            lm=SemanticTokenLM.from_pretrained(folder / SEMANTIC_TOKEN_LM, base, parts.lm.vocabulary.n_audio),
        )
        weights = weights_key(self.pipeline.base.parts, other.networks(), asdict(other.video))
        return self._written("without_connector", weights, VideoToAudioPipeline(self.pipeline.base, other))

    def _trained(self, name: str, folder: str) -> bool:
        """Whether an ablation is there to be measured; one that was named and is not is said to be left out."""
        if folder and not Path(folder).is_dir():
            self.left_out.append(name)
            print(f"{name} is left out: {folder} does not exist; its recipe is recipes/foley_mini/*_{name}.yaml")
        return bool(folder) and Path(folder).is_dir()

    def systems(self) -> list[Figure]:
        """The three onset figures of every system, and how far the full one closes the gap."""
        for i, clip in enumerate(self.clips[:_SAMPLES]):
            write_video(self.output / f"{i}-{clip.class_name}.mp4", self.frames(clip), FRAME_RATE, clip.audio)
        chance = [self.truth[(i + len(self.settings.classes)) % len(self.truth)] for i in range(len(self.truth))]
        figures = [
            *self._figures("full", self._render("full", self.tokens)),
            *self._figures("text_only", self._render("text_only", self.tokens, 0.0)),
            *self._figures("true_tokens", self._render("true_tokens", self.true_tokens)),
            *self._figures("vocoder", self._vocoded()),
            *self._chance(chance),
        ]
        if self._trained("without_connector", self.settings.without_connector):
            figures += self._figures("without_connector", self._render("without_connector", self._without_connector()))
        if self._trained("without_positions", self.settings.without_positions):
            figures += self._figures("without_positions", self._without_positions())
        value = {figure.name: figure.value for figure in figures}
        for short in ("detection_accuracy", "average_precision"):
            floor, ceiling = value[f"text_only_{short}"], value[f"true_tokens_{short}"]
            closed = (value[f"full_{short}"] - floor) / (ceiling - floor) if ceiling > floor else float("nan")
            figures.append(Figure(f"gap_closed_{short}", closed, "", "higher", len(self.clips)))
        return figures

    def _chance(self, others: Sequence[Onsets]) -> list[Figure]:
        """The onsets of another clip of the same class: what sounding right at the wrong time scores."""
        scores = [score_clip(true, other, CONDFOLEY) for true, other in zip(self.truth, others, strict=True)]
        values = {short: np.array([float(getattr(score, short)) for score in scores]) for short in _MEASURES}
        return [mean(f"another_clip_{short}", values[short], self.settings.seed, better="") for short in _MEASURES]

    def _without_positions(self) -> list[Audio]:
        own = self.pipeline.parts.adapter
        other = VisualAdapter.from_pretrained(self.settings.without_positions, subfolder=VISUAL_ADAPTER).eval()
        self.pipeline = VideoToAudioPipeline(self.pipeline.base, replace(self.pipeline.parts, adapter=other))
        try:
            return self._render("without_positions", self.tokens)
        finally:
            self.pipeline = VideoToAudioPipeline(self.pipeline.base, replace(self.pipeline.parts, adapter=own))

    def scales(self) -> list[Figure]:
        """Onset figures over the weight of the visual attention, and their picture."""
        own, curves = self.pipeline.parts.video.visual_scale, dict[str, list[float]]()
        figures = list[Figure]()
        for scale in self.settings.visual_scales:
            known = "full" if scale == own else "text_only" if scale == 0 else ""
            name = f"visual_scale_{scale:g}"
            audios = self.made[known] if known in self.made else self._render(name, self.tokens, scale)
            new = self._figures(name, audios)
            for short, figure in zip(_MEASURES, new, strict=True):
                curves.setdefault(short.replace("_", " "), []).append(figure.value)
            figures += new
        draw_curves(self.output / "visual_scale.png", "visual scale", self.settings.visual_scales, curves)
        return figures

    def swaps(self) -> list[Figure]:
        """For clips A, B of one class: whether the sound made for A fits A's onsets better than B's.

        Pairs that no listener could tell apart are left out: A without onsets, or B with the same ones.
        """
        heard = [detect_onsets(audio, SAMPLE_RATE, CONDFOLEY) for audio in self.made["full"]]
        wins = list[float]()
        for name in self.settings.classes:
            rows = [i for i, clip in enumerate(self.clips) if clip.class_name == name]
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
        hits = list[float]()
        for first in range(0, len(self.clips), 20):
            rows = range(first, min(first + 20, len(self.clips)))
            tokens = torch.stack([self.true_tokens[i] for i in rows])
            hits += (self._next_tokens(rows, tokens) == tokens).float().mean(1).tolist()
        everything = torch.cat(self.true_tokens)
        commonest = float((everything == everything.mode().values).float().mean())
        return [
            mean("token_accuracy", np.array(hits), self.settings.seed),
            Figure("unigram_token_accuracy", commonest, "", "", len(self.clips)),
        ]

    def _next_tokens(self, rows: range, tokens: Tensor) -> Tensor:
        """The likeliest token after each true past `(clips, tokens)`, in windows as the pipeline writes them."""
        parts, length = self.pipeline.parts, tokens.shape[1]
        window, context = parts.video.window_tokens, min(parts.video.context_tokens, parts.video.window_tokens - 1)
        captions = [self.captions[i] for i in rows]
        embedded = parts.connector(torch.stack([self.videos[i].frames for i in rows]), length)
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
        for i, clip in enumerate(self.clips[:_SAMPLES]):
            sounds = [ReportSound("truth", None, clip.audio, self.truth[i])]
            for name in _SHOWN:
                if name in self.made:
                    audio = self.made[name][i]
                    heard = detect_onsets(audio, SAMPLE_RATE, CONDFOLEY)
                    sounds.append(ReportSound(name.replace("_", " "), None, audio, heard))
            title = f"{clip.class_name.replace('_', ' ')}, clip {i}"
            shown.append(ReportClip(title, tuple(sounds), {}, CONDFOLEY.tolerance_s, clip.caption))
        return shown
