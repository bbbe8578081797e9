"""Whether sounds start when the picture moves most: AV-Align, which needs no labels and no network."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from audio_agent_zoo.media import resample
from audio_agent_zoo.metrics.motion import MotionCurve

# One analysis window of librosa's onset strength; a shorter clip has no course of energy to find a peak in.
_SHORTEST_SAMPLES = 2048

Times = NDArray[np.float64]


@dataclass(frozen=True)
class AlignmentProtocol:
    """How peaks are found and matched. Figures of two protocols cannot be compared.

    Attributes:
        name: How results call it.
        least_motion: Motion below which a local maximum is no peak, as a share of the picture's height per frame.
        sample_rate: Rate that peaks of the sound are detected at.
        delta: `delta` of `librosa.onset.onset_detect`.
        tolerance_frames: Two peaks meet if they lie nearer than this many frames of the video.
        flow: Where the motion comes from.
    """

    name: str
    least_motion: float
    sample_rate: int = 22_050
    delta: float = 0.07
    tolerance_frames: float = 1.0
    flow: str = "Lucas-Kanade at 128 rows"


AV_ALIGN = AlignmentProtocol("av_align_lucas_kanade", least_motion=0.1 / 256)
"""AV-Align with our optical flow. The public script takes Farneback's flow of OpenCV at the video's own size, and no
peak below 0.1 pixels; ours sees 128 rows, and no peak below what 0.1 pixels are at 256 rows, at any size."""


def audio_peaks_s(audio: NDArray[np.float32], sample_rate: int, protocol: AlignmentProtocol = AV_ALIGN) -> Times:
    """Seconds at which sounds start.

    Args:
        audio: `(samples,)`.
        sample_rate: Samples per second.
        protocol: How to find them.

    Returns:
        `(peaks,)`, ascending; none for a clip that is empty, constant, or shorter than 2048 samples at the
        protocol's rate (93 ms).

    Raises:
        ValueError: If the clip is not mono, not finite, or its rate not positive.

    Source: librosa's detector as the public script calls it; its version decides over the result.
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
        return np.zeros(0)
    audio = resample(audio, sample_rate, protocol.sample_rate)
    if len(audio) < _SHORTEST_SAMPLES:
        return np.zeros(0)
    found = librosa.onset.onset_detect(y=audio, sr=protocol.sample_rate, units="time", delta=protocol.delta)
    return np.asarray(found, dtype=np.float64)


def alignment(audio_s: Sequence[float] | Times, video_s: Sequence[float] | Times, tolerance_s: float) -> float:
    """Peaks of sound and picture that meet, among all there are (intersection over union).

    Each peak of the sound, in order of time, takes the first free one of the picture that is near. With no peaks on
    either side it is 1 (the public script fails); with some on one side alone it is 0.

    Args:
        audio_s: `(peaks,)` seconds.
        video_s: `(peaks,)` seconds.
        tolerance_s: Two peaks meet if they lie nearer than this, in seconds.

    Source: Yariv et al., "Diverse and Aligned Audio-to-Video Generation via Text-to-Video Model Adaptation" (2024).
    """
    sound, picture = np.sort(np.asarray(audio_s, dtype=np.float64)), np.sort(np.asarray(video_s, dtype=np.float64))
    free = picture.tolist()
    met = 0
    for time_s in sound.tolist():
        near = next((other for other in free if other - tolerance_s < time_s < other + tolerance_s), None)
        if near is not None:
            free.remove(near)
            met += 1
    union = len(sound) + len(picture) - met
    return met / union if union else 1.0


def align_clip(audio_s: Sequence[float] | Times, motion: MotionCurve, protocol: AlignmentProtocol = AV_ALIGN) -> float:
    """AV-Align of one clip in [0, 1], for means and bootstraps.

    Args:
        audio_s: `(peaks,)` seconds, see `audio_peaks_s`.
        motion: Of its video, see `motion_of_video`.
        protocol: Which peaks count, and how near is near.
    """
    return alignment(audio_s, motion.peaks_s(protocol.least_motion), protocol.tolerance_frames / motion.fps)


class AVAlign(Metric):
    """Mean AV-Align over clips: how far the starts of sounds and the peaks of motion coincide.

    Read it beside the value of another clip's sound: busy sound on a busy picture scores by chance. It depends on
    the frame rate of the video, which sets the tolerance, and on the version of librosa.

    Args:
        protocol: `AV_ALIGN`, or one's own.
        kwargs: Arguments of `torchmetrics.Metric`.

    Source: Yariv et al. (2024); our optical flow, see `AV_ALIGN`.

    Examples:
        >>> motion = MotionCurve(np.array([0, 0, 0.1, 0, 0, 0, 0.2, 0]), fps=4.0)
        >>> metric = AVAlign()
        >>> metric.update([np.array([0.55, 1.0])], [motion])
        >>> print(f"{metric.compute():.3f}")
        0.333
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    clips: Tensor
    total: Tensor

    def __init__(self, protocol: AlignmentProtocol = AV_ALIGN, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.peaks = protocol
        self.add_state("clips", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def protocol(self) -> dict[str, str | int | float]:
        """What decides over the value, for `results.json`."""
        settings = asdict(self.peaks)
        return {"metric": settings.pop("name"), **settings}

    def update(
        self,
        audio: Sequence[NDArray[np.float32] | Times],
        motion: Sequence[MotionCurve],
        sample_rate: int | None = None,
    ) -> None:
        """Add some clips.

        Args:
            audio: Per clip, with a rate its waveform `(samples,)`, else its peaks in seconds.
            motion: The motion of each clip's video, in the same order.
            sample_rate: Samples per second of the waveforms; None where peaks are given.

        Raises:
            ValueError: If the numbers of clips differ, or `audio_peaks_s` refuses one.
        """
        if len(audio) != len(motion):
            raise ValueError(f"there are {len(audio)} sounds and {len(motion)} videos; give as many of each.")
        # All before any is added, so that a refused clip leaves no half of a batch behind.
        scores = []
        for sound, curve in zip(audio, motion, strict=True):
            times = sound if sample_rate is None else audio_peaks_s(sound.astype(np.float32), sample_rate, self.peaks)
            scores.append(align_clip(np.asarray(times, dtype=np.float64), curve, self.peaks))
        self.clips += len(scores)
        self.total += float(np.sum(scores))

    def compute(self) -> Tensor:
        """The mean over all clips in [0, 1], a float64 scalar.

        Raises:
            ValueError: If no clip was added.
        """
        if int(self.clips) == 0:
            raise ValueError("there are no clips to compare; call update first.")
        return self.total / self.clips
