"""Whether generated sounds start when the true ones do: the onset protocols that published figures come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from audio_agent_zoo.media import resample

# One analysis window of librosa's onset strength; a shorter clip has no course of energy to find an onset in.
_SHORTEST_SAMPLES = 2048
# Decimal times differ from their distance by rounding; an onset exactly at the tolerance must not depend on it.
_ROUNDING_S = 1e-9


@dataclass(frozen=True)
class OnsetProtocol:
    """How onsets are found, trusted and matched. Figures of two protocols cannot be compared.

    Attributes:
        name: How results call it.
        tolerance_s: A generated onset hits a true one that lies nearer than this, in seconds.
        rectified: Whether confidences come from the absolute waveform, or from the signed one.
        count_all_misses: Whether average precision counts every missed onset. The public scripts stop at the hit
            that uses up the last generated onset and forget the true onsets after it, so that too few onsets
            cost less than too many.
        count_all_misses_in_f1: The same for F1.
        sample_rate: Rate that onsets are detected at.
        delta: `delta` of `librosa.onset.onset_detect`, share of the strongest onset above the local mean.
        confidence_window_s: Seconds on either side of an onset in which its confidence is looked for.
        suppression_s: Of two onsets nearer than this, in seconds, the more confident one stays.
    """

    name: str
    tolerance_s: float
    rectified: bool
    count_all_misses: bool = False
    count_all_misses_in_f1: bool = False
    sample_rate: int = 22_050
    delta: float = 0.3
    confidence_window_s: float = 0.05
    suppression_s: float = 0.05


CONDFOLEY = OnsetProtocol("condfoley", tolerance_s=0.1, rectified=True, count_all_misses_in_f1=True)
"""Du et al., "Conditional Generation of Audio from Video via Foley Analogies" (2023): the onset figures of
FoleyCrafter and of Audio-Agent. It has no F1; ours counts every miss."""

MMAUDIO = OnsetProtocol("mmaudio", tolerance_s=0.3, rectified=False)
"""The variant in MMAudio's code, for annotated times (`Onsets.from_times`) within the first 8 s. It has no
count accuracy; ours is that of the other protocol."""

PROTOCOLS = {protocol.name: protocol for protocol in (CONDFOLEY, MMAUDIO)}
"""Every protocol by its name."""


@dataclass(frozen=True, eq=False)
class Onsets:
    """Onsets of one clip.

    Attributes:
        times_s: `(onsets,)` seconds from the start, ascending.
        confidences: `(onsets,)` in [0, 1].

    Raises:
        ValueError: If the shapes differ, a time is negative or out of order, or a value is out of range or NaN.
    """

    times_s: NDArray[np.float64]
    confidences: NDArray[np.float64]

    def __post_init__(self) -> None:
        times, trust = self.times_s, self.confidences
        if times.ndim != 1 or times.shape != trust.shape:
            raise ValueError(f"times_s has shape {times.shape}, confidences {trust.shape}; give two of (onsets,).")
        if not (np.isfinite(times).all() and (times >= 0).all() and (np.diff(times) >= 0).all()):
            raise ValueError(f"times_s is {times}; give finite seconds from 0 on, in ascending order.")
        if not ((trust >= 0) & (trust <= 1)).all():
            raise ValueError(f"confidences is {trust}; give values from 0 to 1.")

    def __len__(self) -> int:
        return len(self.times_s)

    @classmethod
    def from_times(cls, times_s: Sequence[float] | NDArray[np.floating]) -> "Onsets":
        """Annotated onsets, in any order, each with full confidence.

        Args:
            times_s: `(onsets,)` seconds from the start of the clip.

        Raises:
            ValueError: If a time is negative or not finite.
        """
        times = np.sort(np.asarray(times_s, dtype=np.float64))
        return cls(times, np.ones_like(times))


@dataclass(frozen=True, eq=False)
class Match:
    """Generated onsets of one clip against its true ones.

    Attributes:
        hits: True onsets that a generated one was found for.
        n_truth: True onsets.
        n_generated: Generated onsets.
        average_precision: Area under precision over recall in [0, 1], see `match_onsets`.
        y_true: `(rows,)` int64: 1 for a hit or a miss, 0 for a generated onset that hits nothing.
        y_score: `(rows,)` confidence of the generated onset, 0 for a miss.
    """

    hits: int
    n_truth: int
    n_generated: int
    average_precision: float
    y_true: NDArray[np.int64]
    y_score: NDArray[np.float64]


@dataclass(frozen=True)
class OnsetScore:
    """Figures of one clip, each in [0, 1], more is better.

    Attributes:
        count_accuracy: 1 if there are as many generated onsets as true ones, else 0.
        detection_accuracy: Share of true onsets that were hit; generated onsets beside them cost nothing.
        average_precision: Of the generated onsets, ranked by confidence; generous, see `match_onsets`.
        f1: Harmonic mean of the share of true onsets hit and the share of generated ones that hit.
    """

    count_accuracy: float
    detection_accuracy: float
    average_precision: float
    f1: float


def _confident(confidences: NDArray[np.float64], samples: NDArray[np.int64], gap: float) -> list[int]:
    """Indices of the onsets that stay, in order of time; of equally confident ones the later stays."""
    kept: list[int] = []
    # The public scripts delete from the list they walk through and so overlook the onset after each one
    # deleted; here every onset is held against all those kept before it.
    for i in np.lexsort((-samples, -confidences)).tolist():
        if all(abs(samples[i] - samples[j]) >= gap for j in kept):
            kept.append(i)
    return sorted(kept)


def detect_onsets(audio: NDArray[np.float32], sample_rate: int, protocol: OnsetProtocol = CONDFOLEY) -> Onsets:
    """Onsets of a clip, each as confident as the highest value near it, the waveform scaled to [0, 1].

    True and generated sound are treated alike. The public scripts suppress close onsets in generated sound alone,
    and after counting them. Nothing is found in the first 69 ms, where librosa's detector has no past to compare.

    Args:
        audio: `(samples,)`.
        sample_rate: Samples per second.
        protocol: How to find them.

    Returns:
        No onsets for a clip that is empty, constant, or shorter than 2048 samples at the protocol's rate (93 ms).

    Raises:
        ValueError: If the clip is not mono, not finite, or its rate not positive.

    Source: Du et al., "Conditional Generation of Audio from Video via Foley Analogies" (2023), its code; the
        detector is librosa's, and its version decides over the result.
    """
    import librosa

    audio = np.asarray(audio, dtype=np.float32)
    if audio.ndim != 1:
        raise ValueError(f"audio has shape {audio.shape}; give mono sound (samples,).")
    if sample_rate < 1:
        raise ValueError(f"sample_rate is {sample_rate}; give samples per second, such as 16000.")
    if not np.isfinite(audio).all():
        raise ValueError("audio holds values that are no numbers (NaN or infinity); look at what made it.")
    if not len(audio) or np.ptp(audio) == 0:
        return Onsets.from_times([])
    audio = resample(audio, sample_rate, protocol.sample_rate)
    if len(audio) < _SHORTEST_SAMPLES:
        return Onsets.from_times([])
    found = librosa.onset.onset_detect(y=audio, sr=protocol.sample_rate, units="samples", delta=protocol.delta)
    samples = np.asarray(found, dtype=np.int64)
    level = (np.abs(audio) if protocol.rectified else audio).astype(np.float64)
    level = (level - level.min()) / max(float(np.ptp(level)), np.finfo(np.float64).tiny)
    reach = int(protocol.confidence_window_s * protocol.sample_rate)
    # A negative start would count from the end of the clip.
    confidences = np.array([level[max(0, at - reach) : at + reach].max() for at in samples])
    kept = _confident(confidences, samples, protocol.suppression_s * protocol.sample_rate)
    return Onsets(samples[kept] / protocol.sample_rate, confidences[kept])


def match_onsets(truth: Onsets, generated: Onsets, protocol: OnsetProtocol = CONDFOLEY) -> Match:
    """Match each true onset, in order of time, to the most confident generated one that is near and still free.

    Of equally confident ones the nearest is taken. The public scripts rank by the one sample at the onset; we rank
    by the confidence that average precision uses too. On procedural impacts this raises the mean average precision
    by up to 0.002 with `CONDFOLEY`, and by 0.02 to 0.03 with `MMAUDIO`, whose tolerance leaves more to choose from.

    Average precision is generous: a miss is a positive with score 0, so that true onsets without any hit still
    score their share among all rows. With neither true nor generated onsets it is 1; with one of the two alone it is
    0 (the public scripts give 1 to a clip without generated onsets, or fail).

    Args:
        truth: Onsets of the true sound, or annotated ones.
        generated: Onsets of the generated sound.
        protocol: How near, and which misses count.
    """
    free = list(range(len(generated)))
    hits: list[float] = []
    misses = 0
    for time_s in truth.times_s:
        if not free and hits and not protocol.count_all_misses:
            break
        distance = np.abs(generated.times_s - time_s)
        near = [i for i in free if distance[i] < protocol.tolerance_s - _ROUNDING_S]
        if near:
            best = near[int(np.lexsort((distance[near], -generated.confidences[near]))[0])]
            hits.append(float(generated.confidences[best]))
            free.remove(best)
        else:
            misses += 1
    y_true = np.array([1] * (len(hits) + misses) + [0] * len(free), dtype=np.int64)
    y_score = np.array([*hits, *[0.0] * misses, *generated.confidences[free]], dtype=np.float64)
    precision = _average_precision(y_true, y_score, len(truth), len(generated))
    return Match(len(hits), len(truth), len(generated), precision, y_true, y_score)


def _average_precision(y_true: NDArray[np.int64], y_score: NDArray[np.float64], n_truth: int, n_made: int) -> float:
    from sklearn.metrics import average_precision_score

    if not n_truth or not n_made:
        return float(n_truth == n_made)
    return float(average_precision_score(y_true, y_score))


def score_clip(truth: Onsets, generated: Onsets, protocol: OnsetProtocol = CONDFOLEY) -> OnsetScore:
    """Figures of one clip, for means and bootstraps.

    A clip that has no onsets and should have none scores 1 everywhere. Onsets where there should be none, or none
    where there should be some, score 0 everywhere.

    Args:
        truth: Onsets of the true sound, or annotated ones.
        generated: Onsets of the generated sound.
        protocol: How near, and which misses count.
    """
    match = match_onsets(truth, generated, protocol)
    if not match.n_truth and not match.n_generated:
        return OnsetScore(1.0, 1.0, 1.0, 1.0)
    positives = match.n_truth if protocol.count_all_misses_in_f1 else int(match.y_true.sum())
    return OnsetScore(
        count_accuracy=float(match.n_truth == match.n_generated),
        detection_accuracy=match.hits / match.n_truth if match.n_truth else 0.0,
        average_precision=match.average_precision,
        f1=2 * match.hits / (positives + match.n_generated),
    )


class OnsetMetric(Metric):
    """Mean onset figures of generated clips against true ones.

    Read the figures together, and beside those of another clip's onsets: average precision alone is high by chance.
    They depend on the version of librosa.

    Args:
        protocol: `CONDFOLEY`, `MMAUDIO`, or one's own.
        kwargs: Arguments of `torchmetrics.Metric`.

    Examples:
        >>> metric = OnsetMetric(PROTOCOLS["condfoley"])
        >>> metric.update([Onsets.from_times([0.52, 1.3])], [Onsets.from_times([0.5, 1.0, 1.5])])
        >>> for name, value in metric.compute().items():
        ...     print(f"{name}: {value:.2f}")
        onset_count_accuracy: 0.00
        onset_detection_accuracy: 0.33
        onset_average_precision: 0.67
        onset_f1: 0.40
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    clips: Tensor
    count_accuracy: Tensor
    detection_accuracy: Tensor
    average_precision: Tensor
    f1: Tensor

    def __init__(self, protocol: OnsetProtocol = CONDFOLEY, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.protocol = protocol
        self.add_state("clips", torch.tensor(0), dist_reduce_fx="sum")
        for name in ("count_accuracy", "detection_accuracy", "average_precision", "f1"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        generated: Sequence[NDArray[np.float32] | Onsets],
        truth: Sequence[NDArray[np.float32] | Onsets],
        sample_rate: int | None = None,
    ) -> None:
        """Add some clips.

        Args:
            generated: One waveform `(samples,)`, or its onsets, per clip.
            truth: The same of the true sound, in the same order.
            sample_rate: Samples per second of the waveforms; None where all are given as onsets.

        Raises:
            ValueError: If the numbers of clips differ, a waveform has no rate, or `detect_onsets` refuses it.
        """
        if len(generated) != len(truth):
            raise ValueError(f"there are {len(generated)} generated and {len(truth)} true clips; give as many of each.")
        # All before any is added, so that a refused clip leaves no half of a batch behind.
        scores = [
            score_clip(self._onsets(true, sample_rate), self._onsets(made, sample_rate), self.protocol)
            for made, true in zip(generated, truth, strict=True)
        ]
        self.clips += len(scores)
        for score in scores:
            self.count_accuracy += score.count_accuracy
            self.detection_accuracy += score.detection_accuracy
            self.average_precision += score.average_precision
            self.f1 += score.f1

    def _onsets(self, clip: NDArray[np.float32] | Onsets, sample_rate: int | None) -> Onsets:
        if isinstance(clip, Onsets):
            return clip
        if sample_rate is None:
            raise ValueError("sample_rate is None; give the rate of the waveforms, or their onsets instead of them.")
        return detect_onsets(clip, sample_rate, self.protocol)

    def compute(self) -> dict[str, Tensor]:
        """The means over all clips: `onset_count_accuracy`, `onset_detection_accuracy` and so on, float64 scalars.

        Raises:
            ValueError: If no clip was added.
        """
        if int(self.clips) == 0:
            raise ValueError("there are no clips to compare; call update first.")
        return {
            "onset_count_accuracy": self.count_accuracy / self.clips,
            "onset_detection_accuracy": self.detection_accuracy / self.clips,
            "onset_average_precision": self.average_precision / self.clips,
            "onset_f1": self.f1 / self.clips,
        }
