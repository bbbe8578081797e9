"""Every system of a table is scored by the code that scores folders, and against the same captions and videos."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audio_agent_zoo.evaluation.comparison import FolderScore, ScoreSettings
from audio_agent_zoo.evaluation.folders import Audio, Clip, ClipPairs
from audio_agent_zoo.evaluation.judges import Judge
from audio_agent_zoo.evaluation.results import Figure, mean
from audio_agent_zoo.media import read_audio
from audio_agent_zoo.metrics.feature_networks import Clap
from audio_agent_zoo.metrics.features import FeatureNetwork
from audio_agent_zoo.metrics.similarity import CLAP_SCORE, SimilarityProtocol, cosine_similarity
from audio_agent_zoo.rates import SAMPLE_RATE

_CAPTIONS_TEXT = "Cosine of each sound and its caption, the mean over clips; silence counts 0."
_VIDEOS_TEXT = "Cosine of each sound and its video, the mean over clips; silence counts 0."


@dataclass(frozen=True)
class VideoSpace:
    """Videos and an ear for the same space.

    Attributes:
        seen: `(clips, dim)` embeddings of the videos.
        hear: Sounds to the same space.
        protocol: What the cosine is called and between what it is taken.
        text: How the space came to be.
    """

    seen: Tensor
    hear: FeatureNetwork
    protocol: SimilarityProtocol
    text: str


class SystemScores:
    """Scores the sounds that systems made for the same clips.

    Args:
        names: Clips.
        judge: Hears sounds for distances and divergence.
        settings: Which metrics of `score`, and the seed of the intervals; none where there is no true sound.
        truth: Files of the true sounds; None where there are none.
        captions: Of each clip, with the CLAP that compares them with the sounds.
        videos: Of each clip, with the ear for them.
        group: Stands between the system and the measure in names of figures, such as "single".

    Attributes:
        protocols: Key -> how something was measured.
        networks: Network -> what decides over its values.
        left_out: What was not measured, and why.
    """

    def __init__(
        self,
        names: Sequence[str],
        judge: Judge,
        settings: ScoreSettings,
        *,
        truth: Sequence[Path] | None = None,
        captions: tuple[Sequence[str], Clap] | None = None,
        videos: VideoSpace | None = None,
        group: str = "",
    ) -> None:
        self.names, self.judge, self.settings = tuple(names), judge, settings
        self.truth = None if truth is None else tuple(map(_clip, truth))
        self.captions, self.videos = captions, videos
        self.group = f"{group}_" if group else ""
        self.protocols: dict[str, dict[str, Any]] = {}
        self.networks: dict[str, dict[str, Any]] = {}
        self.left_out: set[str] = set()

    def figures(self, system: str, files: Sequence[Path], *, reference: bool = False) -> list[Figure]:
        """Every figure of one system, named `{system}_{group}_{measure}`.

        Args:
            system: Its name.
            files: Its sound of each clip.
            reference: Whether it is only to be read against, such as the truth or noise.
        """
        clips = tuple(map(_clip, files))
        found = [*self._against_truth(clips), *self._against_captions(clips), *self._against_videos(clips)]
        named = [replace(figure, name=f"{system}_{self.group}{figure.name}") for figure in found]
        return [replace(figure, better="") for figure in named] if reference else named

    def _against_truth(self, clips: tuple[Clip, ...]) -> list[Figure]:
        if self.truth is None:
            return []
        score = FolderScore(ClipPairs(self.names, clips, self.truth, {}), self.settings, [self.judge])
        figures = [figure for figure in score.figures() if not figure.name.startswith("another_clip")]
        self.protocols |= score.protocols
        self.networks |= score.networks
        self.left_out |= {*score.left_out}
        return figures

    def _against_captions(self, clips: Sequence[Clip]) -> list[Figure]:
        if self.captions is None:
            return []
        captions, clap = self.captions
        self.networks[clap.sound.name] = dict(clap.sound.details)
        self.protocols["caption_similarity"] = {"text": _CAPTIONS_TEXT, "metric": CLAP_SCORE.name}
        values = _cosines(clap.text(list(captions)), clips, clap.sound)
        return [mean("caption_similarity", values, self.settings.seed, protocol="caption_similarity")]

    def _against_videos(self, clips: Sequence[Clip]) -> list[Figure]:
        if self.videos is None:
            return []
        space = self.videos
        self.networks[space.hear.name] = dict(space.hear.details)
        self.protocols["video_similarity"] = {"text": f"{_VIDEOS_TEXT} {space.text}", "metric": space.protocol.name}
        values = _cosines(space.seen, clips, space.hear)
        return [mean("video_similarity", values, self.settings.seed, protocol="video_similarity")]


def _clip(path: Path) -> Clip:
    audio = read_audio(path, SAMPLE_RATE)
    return Clip(path, None, len(audio) / SAMPLE_RATE, float(np.abs(audio).max(initial=0.0)))


@torch.inference_mode()
def heard(audios: Sequence[Audio], network: FeatureNetwork) -> Tensor:
    """Embeddings `(clips, dim)` of sounds at the network's rate, one after the other."""
    return torch.cat([network(torch.from_numpy(audio)[None]).float().cpu() for audio in audios])


def _cosines(wanted: Tensor, clips: Sequence[Clip], network: FeatureNetwork) -> NDArray[np.float64]:
    """Cosine of each clip with what belongs to it; silence says nothing of anything."""
    values = np.zeros(len(clips))
    sounding = [i for i, clip in enumerate(clips) if not clip.silent]
    if sounding:
        rate = network.sample_rate or SAMPLE_RATE
        embedded = heard([clips[i].read(rate) for i in sounding], network)
        values[sounding] = cosine_similarity(wanted[sounding].float().cpu(), embedded).numpy()
    return values
