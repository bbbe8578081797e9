"""How near the embedding of a sound lies to that of its caption, its picture or its model: cosine scores."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from audio_agent_zoo.metrics.features import FeatureNetwork, checked_rows


@dataclass(frozen=True)
class SimilarityProtocol:
    """What is compared with what.

    Attributes:
        name: How results call it.
        first: What the first embedding is of.
        second: What the second is of.
        scale: What the cosine is multiplied by; papers print 0.3 as 0.3 or as 30.
    """

    name: str
    first: str
    second: str
    scale: float = 1.0


CLAP_SCORE = SimilarityProtocol("clap_score", "caption", "sound")
"""Caption and sound in the space of a CLAP; the checkpoint decides over the value."""

WAV2CLIP_SIMILARITY = SimilarityProtocol("wav2clip_similarity", "video frames", "sound")
"""CLIP's image embedding (ViT-B/32, the mean over frames) and Wav2CLIP's of the sound: "CLIP" in FoleyCrafter's and
Audio-Agent's tables."""

IB_SCORE = SimilarityProtocol("ib_score", "video", "sound")
"""Video and sound in the space of ImageBind."""

PROTOCOLS = {protocol.name: protocol for protocol in (CLAP_SCORE, WAV2CLIP_SIMILARITY, IB_SCORE)}
"""Every protocol by its name."""


def cosine_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of the angle between the embeddings of each pair, for means and bootstraps.

    Args:
        first: `(clips, dim)`.
        second: `(clips, dim)`, in the same order.

    Returns:
        `(clips,)` float64 in [-1, 1].

    Raises:
        ValueError: If the shapes differ, a value is not finite, or an embedding has no direction.
    """
    a, b = (checked_rows(rows, None, "embeddings").double() for rows in (first, second))
    if a.shape != b.shape:
        raise ValueError(f"embeddings have shapes {tuple(a.shape)} and {tuple(b.shape)}; give pairs of one space.")
    # By the largest entry first, so that no square falls out of range.
    peaks = [rows.abs().amax(dim=1, keepdim=True) for rows in (a, b)]
    zero = sum(int((peak == 0).sum()) for peak in peaks)
    if zero:
        raise ValueError(f"{zero} embeddings are all zeros and point nowhere; look at what made them.")
    a, b = a / peaks[0], b / peaks[1]
    cosines: Tensor = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return cosines.clamp(-1.0, 1.0)


class EmbeddingSimilarity(Metric):
    """Mean cosine similarity of pairs of embeddings: CLAP score, Wav2CLIP similarity, IB score.

    Args:
        protocol: `CLAP_SCORE`, `WAV2CLIP_SIMILARITY`, `IB_SCORE`, or one's own.
        first: Network for the first of each pair; None where `update` is given its embeddings.
        second: The same for the second.
        kwargs: Arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: If the networks' embeddings differ in length.

    Source: Wu et al., "Large-Scale Contrastive Language-Audio Pretraining" (2023); Wu et al., "Wav2CLIP" (2022);
        Girdhar et al., "ImageBind" (2023).

    Examples:
        >>> metric = EmbeddingSimilarity(CLAP_SCORE)
        >>> metric.update(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
        >>> print(metric.protocol["metric"], f"{metric.compute():.3f}")
        clap_score 0.854
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    total: Tensor
    clips: Tensor

    def __init__(
        self,
        protocol: SimilarityProtocol,
        first: FeatureNetwork | None = None,
        second: FeatureNetwork | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if first and second and first.dim != second.dim:
            raise ValueError(
                f"{first.name} gives {first.dim} numbers and {second.name} {second.dim}; "
                "take two networks of one space."
            )
        self.similarity, self.first, self.second = protocol, first, second
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("clips", torch.tensor(0), dist_reduce_fx="sum")

    @property
    def protocol(self) -> dict[str, str | int | float]:
        """What decides over the value, for `results.json`."""
        of = self.similarity
        networks = {
            f"{side}_{key}": value
            for side, network in (("first", self.first), ("second", self.second))
            if network
            for key, value in network.protocol().items()
        }
        return {"metric": of.name, "first": of.first, "second": of.second, "scale": of.scale, **networks}

    def update(self, first: Any, second: Any) -> None:
        """Add some pairs.

        Args:
            first: `(clips, dim)` embeddings; with a network, what it takes, such as captions.
            second: The same of the other side, in the same order.

        Raises:
            ValueError: As `cosine_similarity`.
        """
        one = self.first(first) if self.first else first
        other = self.second(second) if self.second else second
        cosines = cosine_similarity(one, other.to(one.device))
        self.total += cosines.sum().to(self.total.device)
        self.clips += len(cosines)

    def compute(self) -> Tensor:
        """The mean times `scale`, a float64 scalar.

        Raises:
            ValueError: If no clip was added.
        """
        if int(self.clips) == 0:
            raise ValueError("there are no clips to compare; call update first.")
        return self.similarity.scale * self.total / self.clips
