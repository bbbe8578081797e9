"""Whether a classifier hears in a generated clip what it hears in the real one, and how varied the clips are."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from audio_agent_zoo.metrics.features import FeatureNetwork, checked_rows

Direction = Literal["real||generated", "generated||real"]


@dataclass(frozen=True)
class DivergenceProtocol:
    """Which divergence of class probabilities. Figures of two protocols, or of two classifiers, cannot be compared.

    Attributes:
        name: How results call it.
        epsilon: Added to the probabilities of the second distribution inside the logarithm, which bounds what a class
            it rules out may cost; 0 takes the logarithm of the softmax exactly.
        direction: "real||generated" punishes classes of the real clip that the generated one lacks; the other way
            round, those it has too many.
    """

    name: str
    epsilon: float
    direction: Direction = "real||generated"


MELCEPTION = DivergenceProtocol("melception", epsilon=1e-6)
"""MKL of SpecVQGAN, and so of FoleyCrafter and Audio-Agent: on logits of Melception, 309 classes of VGGSound. Also how
audioldm_eval takes the KL of PANNs logits."""

PASST = DivergenceProtocol("passt", epsilon=0.0)
"""KL of the benchmark of MMAudio: on logits of PaSST, 527 classes of AudioSet, taken as if they excluded each other.
That of AudioGen's code adds an epsilon of 1e-6, and hears a clip in stretches of up to 10 s without padding."""

PROTOCOLS = {protocol.name: protocol for protocol in (MELCEPTION, PASST)}
"""Every protocol by its name."""


def kl_divergence(generated: Tensor, real: Tensor, protocol: DivergenceProtocol = MELCEPTION) -> Tensor:
    """Divergence of each pair of clips, for means and bootstraps.

    Args:
        generated: `(clips, classes)` logits.
        real: `(clips, classes)` logits of the real clips, in the same order.
        protocol: Direction and epsilon.

    Returns:
        `(clips,)` float64 in nats, at least 0 up to epsilon.

    Raises:
        ValueError: If the shapes differ, there are fewer than two classes, or a logit is not finite.
    """
    made, true = (checked_rows(rows, None, "logits").double() for rows in (generated, real))
    if made.shape != true.shape:
        raise ValueError(f"logits have shapes {tuple(made.shape)} and {tuple(true.shape)}; give pairs of clips.")
    if made.shape[1] < 2:
        raise ValueError(f"logits have shape {tuple(made.shape)}; give at least 2 classes.")
    first, second = (true, made) if protocol.direction == "real||generated" else (made, true)
    log_first = first.log_softmax(dim=1)
    log_second = (second.softmax(dim=1) + protocol.epsilon).log() if protocol.epsilon else second.log_softmax(dim=1)
    return (log_first.exp() * (log_first - log_second)).sum(dim=1)


class KLDivergence(Metric):
    """Mean Kullback-Leibler divergence of class probabilities over pairs of clips (MKL).

    The pairs are those of equal place in a batch: sort both sides by clip first. Of several generated clips to one
    real clip, repeat the real one.

    Args:
        protocol: `MELCEPTION`, `PASST`, or one's own.
        network: What turns clips into logits; None where `update` is given logits.
        kwargs: Arguments of `torchmetrics.Metric`.

    Source: Iashin and Rahtu, "Taming Visually Guided Sound Generation" (2021), and the protocol's own.

    Examples:
        >>> metric = KLDivergence(PASST)
        >>> metric.update(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.75, 0.25]]).log())
        >>> print(f"{metric.compute():.4f}")
        0.1308
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    total: Tensor
    clips: Tensor

    def __init__(
        self, protocol: DivergenceProtocol = MELCEPTION, network: FeatureNetwork | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 0.0 <= protocol.epsilon < 1.0:
            raise ValueError(f"epsilon is {protocol.epsilon}; give a probability from 0 to below 1, such as 1e-6.")
        self.divergence, self.network = protocol, network
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("clips", torch.tensor(0), dist_reduce_fx="sum")

    @property
    def protocol(self) -> dict[str, str | int | float]:
        """What decides over the value, for `results.json`."""
        return {
            "metric": "MKL",
            "variant": self.divergence.name,
            "direction": self.divergence.direction,
            "epsilon": self.divergence.epsilon,
            **(self.network.protocol() if self.network else {}),
        }

    def update(self, generated: Tensor, real: Tensor) -> None:
        """Add some pairs of clips.

        Args:
            generated: `(clips, classes)` logits; with a network, clips as it takes them.
            real: The same of the real clips, in the same order.

        Raises:
            ValueError: As `kl_divergence`.
        """
        made, true = (self.network(clips) if self.network else clips for clips in (generated, real))
        divergences = kl_divergence(made, true, self.divergence)
        self.total += divergences.sum().to(self.total.device)
        self.clips += len(divergences)

    def compute(self) -> Tensor:
        """The mean divergence in nats, a float64 scalar.

        Raises:
            ValueError: If no clip was added.
        """
        if int(self.clips) == 0:
            raise ValueError("there are no clips to compare; call update first.")
        return self.total / self.clips


class InceptionScore(Metric):
    """Exponential of the mean divergence of each generated clip's class probabilities from their mean.

    Between 1 (all clips alike, or nothing told apart) and the number of classes. Taken over all clips at once; public
    scripts average it over ten splits, which lowers it for few clips.

    Args:
        n_classes: Number of classes.
        network: What turns clips into logits; None where `update` is given logits.
        kwargs: Arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: If there are fewer than two classes, or not the network's.

    Source: Salimans et al., "Improved Techniques for Training GANs" (2016).

    Examples:
        >>> metric = InceptionScore(n_classes=2)
        >>> metric.update(torch.tensor([[50.0, 0.0], [0.0, 50.0]]))
        >>> print(f"{metric.compute():.2f}")
        2.00
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    clips: Tensor
    negative_entropy: Tensor
    probabilities: Tensor

    def __init__(self, n_classes: int, network: FeatureNetwork | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if n_classes < 2 or (network and n_classes != network.dim):
            wanted = f"{network.dim} as {network.name}" if network else "at least 2"
            raise ValueError(f"n_classes is {n_classes}; give {wanted}.")
        self.n_classes, self.network = n_classes, network
        self.add_state("clips", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("negative_entropy", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("probabilities", torch.zeros(n_classes, dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def protocol(self) -> dict[str, str | int | float]:
        """What decides over the value, for `results.json`."""
        return {"metric": "IS", "splits": 1, **(self.network.protocol() if self.network else {})}

    def update(self, generated: Tensor) -> None:
        """Add some clips.

        Args:
            generated: `(clips, n_classes)` logits; with a network, clips as it takes them.

        Raises:
            ValueError: If the shape differs or a logit is not finite.
        """
        given = self.network(generated) if self.network else generated
        logs = checked_rows(given, self.n_classes, "logits").to(self.probabilities.device, torch.float64).log_softmax(1)
        self.clips += len(logs)
        self.negative_entropy += (logs.exp() * logs).sum()
        self.probabilities += logs.exp().sum(dim=0)

    def compute(self) -> Tensor:
        """The score, a float64 scalar.

        Raises:
            ValueError: If no clip was added.
        """
        if int(self.clips) == 0:
            raise ValueError("there are no clips to score; call update first.")
        mean = self.probabilities / self.clips
        return (self.negative_entropy / self.clips - torch.xlogy(mean, mean).sum()).exp()
