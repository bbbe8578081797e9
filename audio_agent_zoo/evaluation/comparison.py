"""What is measured between pairs of sounds, metric by metric."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audio_agent_zoo.evaluation.folders import Audio, ClipPairs
from audio_agent_zoo.evaluation.intervals import DISTANCE_DRAWS, frechet_interval, kernel_interval
from audio_agent_zoo.evaluation.judges import Judge, rows_of
from audio_agent_zoo.evaluation.report_clips import ReportClip, ReportSound, spread_over
from audio_agent_zoo.evaluation.results import Figure, mean
from audio_agent_zoo.metrics.av_align import AV_ALIGN, align_clip, audio_peaks_s
from audio_agent_zoo.metrics.features import FeatureNetwork
from audio_agent_zoo.metrics.frechet import FrechetDistance
from audio_agent_zoo.metrics.kernel_distance import KernelDistance
from audio_agent_zoo.metrics.kl_divergence import MELCEPTION, PASST, KLDivergence, kl_divergence
from audio_agent_zoo.metrics.log_spectral_distance import LogSpectralDistance
from audio_agent_zoo.metrics.motion import motion_of_video
from audio_agent_zoo.metrics.onsets import PROTOCOLS, Onsets, OnsetScore, detect_onsets, score_clip
from audio_agent_zoo.metrics.similarity import SimilarityProtocol, cosine_similarity
from audio_agent_zoo.rates import SAMPLE_RATE

METRICS = ("onsets", "frechet", "kernel", "kl", "similarity", "lsd", "av_align")
"""What can be measured, as the command line names it."""

SOUND_SIMILARITY = SimilarityProtocol("sound_similarity", "reference sound", "generated sound")
"""Each generated sound and its reference in the space of a judge."""

ONSET_MEASURES = ("count_accuracy", "detection_accuracy", "average_precision", "f1")

Progress = Callable[[str, int, int], None]
"""Called as `(metric, clips done, clips in all)`."""


@dataclass(frozen=True)
class ScoreSettings:
    """How two folders are compared.

    Attributes:
        metrics: Some of `METRICS`; empty for all that the files and networks allow.
        networks: Judges by name, see `JUDGES`.
        onset_protocols: Some of "condfoley" and "mmaudio".
        trim: Cut both sounds of a pair to the shorter one first.
        partial: Score the pairs that are whole instead of refusing folders that do not match.
        seed: Seed of the bootstrap.
        n_shown: Most clips in the report.

    Raises:
        ValueError: For a name that is not known.
    """

    metrics: tuple[str, ...] = ()
    networks: tuple[str, ...] = ("mini",)
    onset_protocols: tuple[str, ...] = ("condfoley",)
    trim: bool = False
    partial: bool = False
    seed: int = 0
    n_shown: int = 12

    def __post_init__(self) -> None:
        for what, given, known in (
            ("metrics", self.metrics, METRICS),
            ("onset_protocols", self.onset_protocols, tuple(PROTOCOLS)),
        ):
            if wrong := [name for name in given if name not in known]:
                raise ValueError(f"{what} hold {', '.join(map(repr, wrong))}; choose among {', '.join(known)}.")


class FolderScore:
    """Measures pairs of clips, metric by metric; each reads the sounds at the rate it hears them at.

    Args:
        pairs: The clips.
        settings: What is measured and how.
        judges: Networks that hear them.
        callback: Progress.

    Attributes:
        protocols: Key -> how something was measured.
        networks: Network -> what decides over its values.
        per_clip: Figure -> its value for each clip, NaN where there is none.
        left_out: What was not measured, and why.
    """

    def __init__(
        self, pairs: ClipPairs, settings: ScoreSettings, judges: Sequence[Judge], callback: Progress | None = None
    ) -> None:
        self.pairs, self.settings, self.judges, self._callback = pairs, settings, judges, callback
        self.protocols: dict[str, dict[str, Any]] = {}
        self.networks: dict[str, dict[str, Any]] = {}
        self.per_clip: dict[str, NDArray[np.float64]] = {}
        self.left_out: list[str] = []

    def figures(self) -> list[Figure]:
        """Everything that was asked for.

        Raises:
            ValueError: If a metric was named that can't be measured here.
        """
        asked = self.settings.metrics or METRICS
        found = list[Figure]()
        if "onsets" in asked:
            found += [figure for name in self.settings.onset_protocols for figure in self.onsets(name)]
        for judge in self.judges:
            found += self.distances(judge, asked)
            if "kl" in asked:
                found += self.divergence(judge)
        if "lsd" in asked:
            found += self.spectral_distance()
        if "av_align" in asked:
            found += self.alignment()
        return found

    def _sounds(self, what: str, sample_rate: int) -> Iterator[tuple[Audio, Audio]]:
        """Generated and true sound of every pair."""
        for i, (made, true) in enumerate(zip(self.pairs.generated, self.pairs.reference, strict=True)):
            ours, theirs = made.read(sample_rate), true.read(sample_rate)
            if self.settings.trim:
                length = min(len(ours), len(theirs))
                ours, theirs = ours[:length], theirs[:length]
            yield ours, theirs
            if self._callback is not None:
                self._callback(what, i + 1, len(self.pairs))

    def _impossible(self, metric: str, reason: str) -> list[Figure]:
        """Leave something out, with a word; refuse it where it was asked for by name."""
        if metric in self.settings.metrics:
            raise ValueError(f"{metric} can't be measured: {reason}.")
        self.left_out.append(f"{metric}: {reason}")
        return []

    def _mean(self, name: str, values: NDArray[np.float64], protocol: str, unit: str, better: str) -> Figure:
        self.per_clip[name] = values
        kept = values[np.isfinite(values)]
        return mean(name, kept, self.settings.seed, unit=unit, better=better, protocol=protocol)

    @cached_property
    def _onsets(self) -> dict[str, list[tuple[Onsets, Onsets]]]:
        """Protocol -> generated and true onsets of every pair."""
        found: dict[str, list[tuple[Onsets, Onsets]]] = {}
        for name in self.settings.onset_protocols:
            protocol = PROTOCOLS[name]
            found[name] = [
                (
                    detect_onsets(made, protocol.sample_rate, protocol),
                    detect_onsets(true, protocol.sample_rate, protocol),
                )
                for made, true in self._sounds("onsets", protocol.sample_rate)
            ]
        return found

    def onsets(self, name: str) -> list[Figure]:
        """Count accuracy, detection accuracy, average precision and F1, and what another clip's onsets score.

        Args:
            name: A protocol of `metrics.onsets`.
        """
        protocol, pairs, key = PROTOCOLS[name], self._onsets[name], f"onsets_{name}"
        self.protocols[key] = {
            "text": (
                f"Onsets of both sounds found by librosa at {protocol.sample_rate} Hz (delta {protocol.delta:g}), none "
                f"of them annotated; a generated one hits a true one nearer than {protocol.tolerance_s:g} s. Average "
                "precision is generous: read it beside another_clip, the true onsets of the next clip by name."
            ),
            **asdict(protocol),
        }
        scores = [score_clip(true, made, protocol) for made, true in pairs]
        figures = [
            self._mean(f"onset_{short}_{name}", _column(scores, short), key, "", "higher") for short in ONSET_MEASURES
        ]
        if len(pairs) > 1:
            others = [pairs[(i + 1) % len(pairs)][1] for i in range(len(pairs))]
            chance = [score_clip(true, other, protocol) for (_, true), other in zip(pairs, others, strict=True)]
            figures += [
                mean(
                    f"another_clip_{short}_{name}", _column(chance, short), self.settings.seed, better="", protocol=key
                )
                for short in ONSET_MEASURES
            ]
        return figures

    def _rows(self, network: FeatureNetwork) -> tuple[list[Tensor], list[Tensor]]:
        """What a network makes of generated and of true sounds."""
        rate = network.sample_rate or SAMPLE_RATE
        made, true = list[Tensor](), list[Tensor]()
        for ours, theirs in self._sounds(network.name, rate):
            made.append(rows_of(network, torch.from_numpy(ours)))
            true.append(rows_of(network, torch.from_numpy(theirs)))
        self.networks[network.name] = {"sample_rate": rate, **self.networks.get(network.name, {}), **network.details}
        return made, true

    def distances(self, judge: Judge, asked: Sequence[str]) -> list[Figure]:
        """Fréchet distance, kernel distance and similarity, as asked, in the space of one judge."""
        if not {"frechet", "kernel", "similarity"} & {*asked}:
            return []
        made, true = self._rows(judge.embedding)
        figures = list[Figure]()
        if "frechet" in asked:
            figures += self._distance("frechet", judge, made, true)
        if "kernel" in asked:
            figures += self._distance("kernel", judge, made, true)
        if "similarity" in asked:
            key = f"similarity_{judge.name}"
            self.protocols[key] = {
                "text": (
                    "Cosine between the embedding of each generated sound and that of its reference, the mean of its "
                    "rows where a network gives several."
                ),
                **asdict(SOUND_SIMILARITY),
                **judge.embedding.protocol(),
            }
            first, second = (torch.stack([rows.mean(dim=0) for rows in side]) for side in (true, made))
            figures.append(self._mean(key, cosine_similarity(first, second).numpy(), key, "", "higher"))
        return figures

    def _distance(self, kind: str, judge: Judge, made: list[Tensor], true: list[Tensor]) -> list[Figure]:
        ours, theirs, seed = torch.cat(made), torch.cat(true), self.settings.seed
        if min(len(ours), len(theirs)) < 2:
            return self._impossible(kind, f"{judge.name} gives {len(ours)} rows, and a distance of sets needs 2")
        key = f"{kind}_{judge.name}"
        metric: FrechetDistance | KernelDistance
        if kind == "frechet":
            metric = FrechetDistance(network=judge.embedding)
            text = (
                "Between Gaussians fitted to the features; biased upward for few clips: compare it at equal n alone. "
                f"Interval: {DISTANCE_DRAWS} draws of pairs (50 for wide features), laid around the value."
            )
        else:
            metric = KernelDistance(network=judge.embedding)
            text = (
                "Unbiased squared maximum mean discrepancy times 100, Gaussian kernel as wide as the median distance "
                f"of the references; below 0 nothing tells the sets apart. Interval: {DISTANCE_DRAWS} draws of pairs."
            )
        self.protocols[key] = {
            "text": text,
            **metric.protocol,
            "rows": f"{len(ours)} generated, {len(theirs)} reference",
        }
        # The features are at hand: a metric without the network takes them as they are.
        counted = type(metric)(n_features=judge.embedding.dim)
        counted.update(theirs, real=True)
        counted.update(ours, real=False)
        value = float(counted.compute())
        interval = frechet_interval(made, true, value, seed) if kind == "frechet" else kernel_interval(made, true, seed)
        return [Figure(f"{kind}_distance_{judge.name}", value, "", "lower", len(made), interval, key)]

    def divergence(self, judge: Judge) -> list[Figure]:
        """Mean KL divergence of a judge's class probabilities."""
        if judge.logits is None:
            if len(self.judges) == 1:
                return self._impossible("kl", f"{judge.name} names no classes; choose mini, panns or passt")
            self.left_out.append(f"kl: {judge.name} names no classes")
            return []
        variant = PASST if judge.name == "passt" else MELCEPTION
        key = f"kl_{judge.name}"
        made, true = (torch.cat(rows) for rows in self._rows(judge.logits))
        self.protocols[key] = {
            "text": "KL divergence of softmaxed class logits from those of the reference, pair by pair, in nats.",
            **KLDivergence(variant, judge.logits).protocol,
        }
        values = kl_divergence(made, true, variant).numpy()
        return [self._mean(f"kl_divergence_{judge.name}", values, key, "nats", "lower")]

    def spectral_distance(self) -> list[Figure]:
        """Log-spectral distance over what both sounds of a pair have in common."""
        metric, key = LogSpectralDistance(), "log_spectral_distance"
        values, short = list[float](), list[str]()
        for name, (made, true) in zip(self.pairs.names, self._sounds("lsd", SAMPLE_RATE), strict=True):
            length = min(len(made), len(true))
            if length <= metric.n_fft // 2:
                short.append(name)
                values.append(float("nan"))
                continue
            values.append(float(metric(*(torch.from_numpy(one[:length])[None] for one in (made, true)))))
        if len(short) == len(values):
            return self._impossible("lsd", f"no pair is longer than {metric.n_fft // 2} samples at {SAMPLE_RATE} Hz")
        self.left_out += [f"lsd: {name} is too short" for name in short]
        self.protocols[key] = {
            "text": (
                "Root-mean-square difference of log spectra in dB over the part both sounds have; it asks for the same "
                "sound, and punishes another good one."
            ),
            "sample_rate": SAMPLE_RATE,
            **metric.protocol,
        }
        return [self._mean(key, np.array(values), key, "dB", "lower")]

    def alignment(self) -> list[Figure]:
        """AV-Align of the generated sounds with their videos, and that of the true ones."""
        videos = [
            true.video or made.video for made, true in zip(self.pairs.generated, self.pairs.reference, strict=True)
        ]
        if not any(videos):
            return self._impossible("av_align", "neither folder holds videos of these names")
        key, rate = "av_align", AV_ALIGN.sample_rate
        self.protocols[key] = {
            "text": (
                "Starts of sounds against peaks of motion, intersection over union, within a frame of the video; "
                "av_align_reference is the value of the true sounds."
            ),
            **asdict(AV_ALIGN),
        }
        values = np.full((2, len(videos)), np.nan)
        for i, (video, sounds) in enumerate(zip(videos, self._sounds("av_align", rate), strict=True)):
            if video is None:
                continue
            motion = motion_of_video(video)
            values[:, i] = [align_clip(audio_peaks_s(sound, rate), motion) for sound in sounds]
        without = sum(video is None for video in videos)
        self.left_out += [f"av_align: {without} clips have no video"] if without else []
        ours = self._mean(key, values[0], key, "", "higher")
        true = values[1][np.isfinite(values[1])]
        return [ours, mean("av_align_reference", true, self.settings.seed, better="", protocol=key)]

    @property
    def _ranked_by(self) -> list[str]:
        return [name for name in self.per_clip if name.startswith("onset_f1")][:1]

    @property
    def order(self) -> str:
        """How the clips of the report are chosen."""
        return "from the worst to the best by onset F1" if self._ranked_by else "evenly over the names"

    def report_clips(self) -> list[ReportClip]:
        """Some pairs for the report: from worst to best where onsets were compared, else spread over the names."""
        ranked = self._ranked_by
        order = np.argsort(self.per_clip[ranked[0]], kind="stable") if ranked else np.arange(len(self.pairs))
        clips = list[ReportClip]()
        for i in spread_over(order.tolist(), self.settings.n_shown):
            made, true = self.pairs.generated[i], self.pairs.reference[i]
            protocol = self.settings.onset_protocols[0] if ranked else ""
            marks = self._onsets[protocol][i] if protocol else (None, None)
            values = {name: float(column[i]) for name, column in self.per_clip.items() if np.isfinite(column[i])}
            sounds = (
                ReportSound("truth", true.sound, true.read(SAMPLE_RATE), marks[1]),
                ReportSound("generated", made.sound, made.read(SAMPLE_RATE), marks[0]),
            )
            clips.append(
                ReportClip(self.pairs.names[i], sounds, values, PROTOCOLS[protocol].tolerance_s if protocol else 0.0)
            )
        return clips


def _column(scores: Sequence[OnsetScore], short: str) -> NDArray[np.float64]:
    return np.array([float(getattr(one, short)) for one in scores])
