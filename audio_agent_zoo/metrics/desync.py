"""By how much a generated sound runs ahead or behind: of the true sound by its onsets, or of the video by a network."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from audio_agent_zoo.media import resample
from audio_agent_zoo.metrics.features import FeatureNetwork, checked_rows

_SHORTEST_S = 0.2


@dataclass(frozen=True)
class OffsetProtocol:
    """How the offset is looked for. Figures of two protocols cannot be compared.

    Attributes:
        name: How results call it.
        longest_s: Largest offset looked for, in seconds either way.
        sample_rate: Rate the sound is analysed at.
        hop_length: Samples between two values of the envelope, the resolution of the offset.
        least_overlap_s: Seconds that two sounds, one shifted, must still have in common.
    """

    name: str
    longest_s: float = 2.0
    sample_rate: int = 16_000
    hop_length: int = 160
    least_overlap_s: float = 0.5


ONSET_ENVELOPE_OFFSET = OffsetProtocol("onset_envelope_offset")
"""Ours. The DeSync of the literature asks Synchformer, which sees the video, hears no true sound and needs 4.8 s."""


@dataclass(frozen=True)
class Offset:
    """Where two sounds fit best.

    Attributes:
        offset_s: Seconds that the generated sound is late (positive) or early.
        correlation: Of the envelopes at that offset, in [-1, 1].
        correlation_in_place: Of the envelopes as they are.
    """

    offset_s: float
    correlation: float
    correlation_in_place: float


def onset_envelope(
    audio: NDArray[np.float32], sample_rate: int, protocol: OffsetProtocol = ONSET_ENVELOPE_OFFSET
) -> NDArray[np.float64]:
    """How much louder each moment is than the one before, over mel bands in dB.

    Args:
        audio: `(samples,)`.
        sample_rate: Samples per second.
        protocol: Rate and hop.

    Returns:
        `(frames,)`, at least 0.

    Raises:
        ValueError: If the clip is not mono, shorter than 0.2 s, not finite, or its rate not positive.
    """
    import librosa

    audio = np.asarray(audio, dtype=np.float32)
    if audio.ndim != 1 or sample_rate < 1 or len(audio) < _SHORTEST_S * sample_rate:
        raise ValueError(f"audio has shape {audio.shape} at rate {sample_rate}; give mono sound of at least 0.2 s.")
    if not np.isfinite(audio).all():
        raise ValueError("audio holds values that are no numbers (NaN or infinity); look at what made it.")
    audio = resample(audio, sample_rate, protocol.sample_rate)
    found = librosa.onset.onset_strength(y=audio, sr=protocol.sample_rate, hop_length=protocol.hop_length, n_fft=1024)
    return np.asarray(found, dtype=np.float64)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def best_offset(
    generated: NDArray[np.float64], truth: NDArray[np.float64], protocol: OffsetProtocol = ONSET_ENVELOPE_OFFSET
) -> Offset:
    """The shift at which two envelopes correlate most, over what they have in common; of equal ones the smallest.

    Where an envelope is constant, as silence is, no shift fits better than another: the offset is then the longest
    one looked for, so that silence does not pass for perfect timing, unless both are constant.

    Args:
        generated: `(frames,)`, see `onset_envelope`.
        truth: `(frames,)` of the true sound.
        protocol: How far to look.

    Raises:
        ValueError: If the two together leave no shift with enough in common.
    """
    rate = protocol.sample_rate / protocol.hop_length
    reach = int(protocol.longest_s * rate)
    common = max(2, int(protocol.least_overlap_s * rate))
    flat = [float(np.ptp(curve)) == 0 if len(curve) else True for curve in (generated, truth)]
    if any(flat):
        return Offset(0.0, 1.0, 1.0) if all(flat) else Offset(protocol.longest_s, 0.0, 0.0)
    correlations = {}
    for shift in sorted(range(-reach, reach + 1), key=abs):
        made, true = generated[max(0, shift) :], truth[max(0, -shift) :]
        n = min(len(made), len(true))
        if n >= common:
            correlations[shift] = _correlation(made[:n], true[:n])
    if not correlations:
        raise ValueError(
            f"the envelopes have {len(generated)} and {len(truth)} frames; give clips of at least "
            f"{protocol.least_overlap_s:g} s."
        )
    best = max(correlations, key=correlations.__getitem__)
    return Offset(best / rate, correlations[best], correlations.get(0, 0.0))


class OnsetEnvelopeOffset(Metric):
    """Mean offset, regardless of its sign, and mean correlation of generated sounds against true ones.

    Args:
        protocol: `ONSET_ENVELOPE_OFFSET`, or one's own.
        kwargs: Arguments of `torchmetrics.Metric`.

    Examples:
        >>> clicks = np.zeros(32_000, dtype=np.float32)
        >>> clicks[[3000, 9000, 22_000]] = 1.0
        >>> metric = OnsetEnvelopeOffset()
        >>> metric.update([np.roll(clicks, 1600)], [clicks], sample_rate=16_000)
        >>> print(f"{metric.compute()['onset_envelope_offset_s']:.2f} s")
        0.10 s
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    clips: Tensor
    offsets: Tensor
    correlations: Tensor

    def __init__(self, protocol: OffsetProtocol = ONSET_ENVELOPE_OFFSET, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.search = protocol
        self.add_state("clips", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("offsets", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("correlations", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def protocol(self) -> dict[str, str | int | float]:
        """What decides over the values, for `results.json`."""
        settings = asdict(self.search)
        return {"metric": settings.pop("name"), **settings}

    def update(
        self, generated: Sequence[NDArray[np.float32]], truth: Sequence[NDArray[np.float32]], sample_rate: int
    ) -> None:
        """Add some clips.

        Args:
            generated: Waveforms `(samples,)`.
            truth: Those of the true sounds, in the same order.
            sample_rate: Samples per second.

        Raises:
            ValueError: If the numbers of clips differ, or `onset_envelope` or `best_offset` refuses one.
        """
        if len(generated) != len(truth):
            raise ValueError(f"there are {len(generated)} generated and {len(truth)} true clips; give as many of each.")
        # All before any is added, so that a refused clip leaves no half of a batch behind.
        found = [
            best_offset(
                onset_envelope(made, sample_rate, self.search),
                onset_envelope(true, sample_rate, self.search),
                self.search,
            )
            for made, true in zip(generated, truth, strict=True)
        ]
        self.clips += len(found)
        self.offsets += float(np.sum([abs(one.offset_s) for one in found]))
        self.correlations += float(np.sum([one.correlation_in_place for one in found]))

    def compute(self) -> dict[str, Tensor]:
        """Means over all clips: `onset_envelope_offset_s` and `onset_envelope_correlation`, float64 scalars.

        The correlation is of the sounds as they are; more is better.

        Raises:
            ValueError: If no clip was added.
        """
        if int(self.clips) == 0:
            raise ValueError("there are no clips to compare; call update first.")
        return {
            "onset_envelope_offset_s": self.offsets / self.clips,
            "onset_envelope_correlation": self.correlations / self.clips,
        }


class Desync(Metric):
    """Mean offset, regardless of its sign, that a network sees between a sound and its video (DeSync).

    The network names one of several offsets from the largest lead to the largest lag, evenly spaced. The literature
    asks Synchformer, 21 offsets from -2 to 2 s, about the first and the last 14 segments of a clip (4.8 s each), and
    takes both as rows: a clip of 2 to 3 s has no such stretch.

    Args:
        n_offsets: Number of offsets the network tells apart, odd.
        longest_s: Largest of them in seconds.
        network: What turns pairs of sound and video into logits; None where `update` is given logits.
        kwargs: Arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: If the number of offsets is even or not the network's, or the largest is not positive.

    Source: Cheng et al., "MMAudio" (2025), its benchmark, on Iashin et al., "Synchformer" (2024).

    Examples:
        >>> metric = Desync(n_offsets=5, longest_s=2.0)
        >>> metric.update(torch.tensor([[0.0, 9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 9.0, 0.0, 0.0]]))
        >>> print(f"{metric.compute():.2f} s")
        0.50 s
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    rows: Tensor
    total: Tensor

    def __init__(
        self, n_offsets: int = 21, longest_s: float = 2.0, network: FeatureNetwork | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if n_offsets < 3 or n_offsets % 2 == 0 or (network and n_offsets != network.dim):
            raise ValueError(f"n_offsets is {n_offsets}; give an odd number from 3 on, as the network has.")
        if not 0.0 < longest_s < float("inf"):
            raise ValueError(f"longest_s is {longest_s}; give seconds above 0.")
        self.n_offsets, self.longest_s, self.network = n_offsets, longest_s, network
        self.add_state("rows", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def protocol(self) -> dict[str, str | int | float]:
        """What decides over the value, for `results.json`."""
        return {
            "metric": "DeSync",
            "n_offsets": self.n_offsets,
            "longest_s": self.longest_s,
            **(self.network.protocol() if self.network else {}),
        }

    def update(self, pairs: Any) -> None:
        """Add some stretches of clips.

        Args:
            pairs: `(rows, n_offsets)` logits; with a network, pairs as it takes them.

        Raises:
            ValueError: If the shape differs or a logit is not finite.
        """
        logits = checked_rows(self.network(pairs) if self.network else pairs, self.n_offsets, "logits")
        offsets = torch.linspace(-self.longest_s, self.longest_s, self.n_offsets, dtype=torch.float64)
        self.rows += len(logits)
        self.total += offsets[logits.argmax(dim=1).cpu()].abs().sum().to(self.total.device)

    def compute(self) -> Tensor:
        """The mean over all rows in seconds, a float64 scalar.

        Raises:
            ValueError: If no clip was added.
        """
        if int(self.rows) == 0:
            raise ValueError("there are no clips to score; call update first.")
        return self.total / self.rows
