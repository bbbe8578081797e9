"""Quality and synchronisation of video-to-audio systems: the paper's Tables 3 to 6 and its Figure 6."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from audio_agent_zoo.app.systems_picture import SystemRow, draw_video_systems
from audio_agent_zoo.evaluation.comparison import ScoreSettings
from audio_agent_zoo.evaluation.folders import Audio
from audio_agent_zoo.evaluation.judges import load_caption_judge, load_judge
from audio_agent_zoo.evaluation.report import write_report
from audio_agent_zoo.evaluation.report_clips import ReportClip, ReportSound, spread_over
from audio_agent_zoo.evaluation.results import Figure, write_results
from audio_agent_zoo.evaluation.system_scores import SystemScores, VideoSpace
from audio_agent_zoo.evaluation.tables import Table
from audio_agent_zoo.evaluation.video_spaces import mini_space, wav2clip_space
from audio_agent_zoo.evaluation.video_systems import VideoSystems, VideoSystemSettings
from audio_agent_zoo.media import read_audio
from audio_agent_zoo.metrics.onsets import CONDFOLEY, detect_onsets
from audio_agent_zoo.pipelines.video_to_audio_parts import VideoToAudioParts
from audio_agent_zoo.rates import SAMPLE_RATE

_SHOWN = 6
_PICTURED = 3
_METRICS = ("onsets", "frechet", "kernel", "kl")
_REFERENCES = ("truth", "another_clip", "noise", "text_only")
_PARAMETERS = "Weights of connector, LoRA and new words that stage 1 trains; those of a base trained with them too."


@dataclass(frozen=True)
class VideoTableEvaluation(VideoSystemSettings):
    """Settings of one table, as a recipe holds them.

    Attributes:
        title: What the table shows.
        label: How the row of `weights` is called.
        references: Rows to read the systems against, of truth, another_clip, noise and text_only.
        judge: Hears sounds for divergence and distances; see `score`.
        judge_weights: Its file; "" for foley-mini's own.
        caption_judge: "mini", or a folder or repository of a CLAP.
        video_judge: "mini", or "wav2clip".
        wav2clip_weights: The public `Wav2CLIP.pt`.
        wav2clip_sha256: What it has to hash to.
        clip_source: CLIP ViT-B/32 for wav2clip.
    """

    title: str = "Video to audio: quality and synchronisation"
    label: str = "ours"
    references: tuple[str, ...] = _REFERENCES
    judge: str = "mini"
    judge_weights: str = ""
    caption_judge: str = "mini"
    video_judge: str = "mini"
    wav2clip_weights: str = ""
    wav2clip_sha256: str = ""
    clip_source: str = "openai/clip-vit-base-patch32"
    output: str = "runs/video_table"

    def run(self, recipe: Path, output: Path | None = None) -> dict[str, Any]:
        """Make what is missing, measure, and write the results, the table and the picture into the folder."""
        folder = output or Path(self.output)
        folder.mkdir(parents=True, exist_ok=True)
        evaluator = VideoTableEvaluator(self, folder, recipe)
        figures = evaluator.figures()
        evaluator.draw(folder / "figure_6.png")
        more = {
            "task": "video-to-audio",
            "dataset": self.dataset,
            "weights": evaluator.systems.pipeline.name,
            "left_out": evaluator.systems.left_out,
        }
        scores, seed = evaluator.scores, self.seed
        results = write_results(
            folder,
            recipe,
            self,
            figures,
            more,
            protocols={**scores.protocols, "trainable_parameters": {"text": _PARAMETERS}},
            networks=scores.networks,
            seeds={"clips": seed * 10_000, "generation": seed, "bootstrap": seed},
            tables=evaluator.tables(),
        )
        pictures = {"Frames, spectrograms and onsets (the paper's Figure 6)": folder / "figure_6.png"}
        write_report(folder / "results.html", self.title, results, evaluator.report_clips(), pictures)
        return results


class VideoTableEvaluator:
    """Every system of one table, its files and its figures."""

    def __init__(self, settings: VideoTableEvaluation, output: Path, recipe: Path) -> None:
        self.settings = settings
        if unknown := [name for name in settings.references if name not in _REFERENCES]:
            raise ValueError(f"references hold {unknown}; choose among {', '.join(_REFERENCES)}.")
        self.judge = load_judge(settings.judge, settings.judge_weights)
        self.clap = load_caption_judge(settings.caption_judge)
        self.systems = VideoSystems(settings, output, recipe)
        metrics = _METRICS if self.judge.logits else _METRICS[:-1]
        self.scores = SystemScores(
            self.systems.names,
            self.judge,
            ScoreSettings(metrics, (settings.judge,), seed=settings.seed),
            truth=self.systems.truth(),
            captions=(self.systems.captions, self.clap),
            videos=self._space(),
        )
        self.files: dict[str, list[Path]] = {}

    def _space(self) -> VideoSpace:
        s = self.settings
        if s.video_judge == "mini":
            return mini_space(self.systems, self.clap)
        if s.video_judge == "wav2clip":
            weights = Path(s.wav2clip_weights) if s.wav2clip_weights else None
            return wav2clip_space(self.systems, weights, s.wav2clip_sha256 or None, s.clip_source, s.device)
        raise ValueError(f"video_judge is {s.video_judge!r}; choose mini or wav2clip.")

    def figures(self) -> list[Figure]:
        """Every measure of every system that is there."""
        found, systems = list[Figure](), self.systems
        makers: dict[str, Callable[[], list[Path] | None]] = {
            "truth": systems.truth,
            "another_clip": systems.another_clip,
            "noise": systems.noise,
            "text_only": systems.text_only,
            "full": systems.full,
            **{name: partial(systems.variant, name) for name in self.settings.variants},
        }
        for name in (*self.settings.references, "full", *self.settings.variants):
            files = makers[name]()
            if files is None:
                continue
            self.files[name] = files
            reference = name in ("truth", "another_clip", "noise")
            found += self.scores.figures(name, files, reference=reference)
            if name == "full" or name in self.settings.variants:
                parts = self.systems.pipeline.parts if name == "full" else self.systems.parts_of(name)
                found.append(_parameters(name, parts))
        return found

    def tables(self) -> list[Table]:
        """Quality and synchronisation, as the paper parts them."""
        s = self.settings
        labels = {name: name.replace("_", " ") for name in self.files} | {"full": s.label}
        rows = {labels[name]: name for name in self.files}
        quality = {
            "parameters": "trainable_parameters",
            "MKL": f"kl_divergence_{s.judge}",
            "CLIP-like": "video_similarity",
            f"{self.judge.embedding.distance_name}": f"frechet_distance_{s.judge}",
            "KAD": f"kernel_distance_{s.judge}",
            "CLAP-like": "caption_similarity",
        }
        sync = {
            "Onset ACC": "onset_count_accuracy_condfoley",
            "Onset AP": "onset_average_precision_condfoley",
            "detection accuracy": "onset_detection_accuracy_condfoley",
            "F1": "onset_f1_condfoley",
        }
        note = "Onset AP is generous: read it beside another clip, the onsets of another clip of the same class."
        return [Table(f"{s.title}: quality", rows, quality), Table(f"{s.title}: synchronisation", rows, sync, note)]

    def _shown(self, most: int) -> list[int]:
        return spread_over(range(len(self.systems.examples)), most)

    def _audio(self, name: str, index: int) -> Audio:
        return read_audio(self.files[name][index], SAMPLE_RATE)

    def _pictured(self) -> Sequence[str]:
        first = [name for name in ("truth", "full") if name in self.files]
        return first + [name for name in self.files if name not in (*first, "another_clip", "noise")]

    def draw(self, path: Path) -> None:
        """Frames over the spectrograms and onsets of the truth, the system and its ablations, for a few clips."""
        s = self.settings
        clips = list[tuple[str, np.ndarray, list[SystemRow]]]()
        for i in self._shown(_PICTURED):
            rows = list[SystemRow]()
            for name in self._pictured():
                audio = self._audio(name, i)
                label = s.label if name == "full" else name.replace("_", " ")
                rows.append(SystemRow(label, audio, detect_onsets(audio, SAMPLE_RATE, CONDFOLEY).times_s))
            clips.append((self.systems.captions[i], self.systems.frames(i), rows))
        draw_video_systems(path, clips)

    def report_clips(self) -> list[ReportClip]:
        """A few clips with what every system made of them."""
        shown = list[ReportClip]()
        for i in self._shown(_SHOWN):
            sounds = list[ReportSound]()
            for name in self._pictured():
                audio = self._audio(name, i)
                heard = detect_onsets(audio, SAMPLE_RATE, CONDFOLEY)
                sounds.append(ReportSound(name.replace("_", " "), self.files[name][i], audio, heard))
            name, caption = self.systems.names[i], self.systems.captions[i]
            shown.append(ReportClip(name, tuple(sounds), {}, CONDFOLEY.tolerance_s, caption))
        return shown


def _parameters(name: str, parts: VideoToAudioParts) -> Figure:
    """What stage 1 trained, in millions."""
    trained = [*parts.connector.parameters(), *parts.lm.trained().values()]
    millions = sum(one.numel() for one in trained) / 1e6
    return Figure(f"{name}_trainable_parameters", millions, "M", "", 1, None, "trainable_parameters")
