"""How far the features of generated clips lie from those of real ones, by a kernel instead of two Gaussians."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from audio_agent_zoo.metrics.features import FeatureNetwork, checked_rows, feature_count

SCALE = 100.0
"""What the published tool multiplies the squared discrepancy by."""

_EPSILON = 1e-8  # of the published tool: keeps the kernel defined where all real clips are alike
_BLOCK_PAIRS = 1 << 22  # float64 distances held at once: 32 MiB
_DIGIT_BITS = 20


def _squared_distances(a: Tensor, b: Tensor) -> Iterator[Tensor]:
    """Squared distances of all pairs, some rows `(rows, len(b))` of the matrix at a time."""
    squares = b.square().sum(dim=1)
    for part in a.split(max(1, _BLOCK_PAIRS // max(1, len(b)))):
        yield (part.square().sum(dim=1, keepdim=True) + squares - 2 * part @ b.T).clamp(min=0.0)


def _own_distances(rows: Tensor) -> Iterator[Tensor]:
    """Squared distances of every unordered pair of different rows, `(pairs,)` at a time."""
    step = max(1, _BLOCK_PAIRS // max(1, len(rows)))
    for start in range(0, len(rows) - 1, step):
        part = rows[start : start + step]
        (block,) = _squared_distances(part, rows[start:])
        above = torch.ones_like(block, dtype=torch.bool).triu(diagonal=1)
        yield block[above]


def median_distance(rows: Tensor) -> float:
    """Median Euclidean distance over all pairs of different rows, the lower one of two in the middle.

    Of more pairs than may be held at once it is selected from the bit patterns of their distances, twenty bits at a
    time: non-negative floats sort as their bits do.

    Args:
        rows: `(clips, dim)` float64, at least 2.
    """
    pairs = len(rows) * (len(rows) - 1) // 2
    rank, prefix = (pairs - 1) // 2, 0
    if pairs <= _BLOCK_PAIRS:
        return float(torch.cat(list(_own_distances(rows))).kthvalue(rank + 1).values.sqrt())
    for shift in (64 - _DIGIT_BITS, 64 - 2 * _DIGIT_BITS, 64 - 3 * _DIGIT_BITS):
        counts = torch.zeros(1 << _DIGIT_BITS, dtype=torch.int64)
        for squared in _own_distances(rows):
            bits = (squared + 0.0).cpu().view(torch.int64)  # the sign bit of a negative zero would sort it last
            digits = bits[bits >> (shift + _DIGIT_BITS) == prefix] if shift + _DIGIT_BITS < 64 else bits
            counts += torch.bincount((digits >> shift) & ((1 << _DIGIT_BITS) - 1), minlength=1 << _DIGIT_BITS)
        sums = counts.cumsum(0)
        digit = int(torch.searchsorted(sums, rank, right=True))
        rank -= int(sums[digit - 1]) if digit else 0
        prefix = prefix << _DIGIT_BITS | digit
    found = torch.tensor(prefix << (64 - 3 * _DIGIT_BITS)).view(torch.float64)
    return float(found.sqrt())


def kernel_distance(real: Tensor, generated: Tensor, bandwidth: float | None = None) -> Tensor:
    """Unbiased squared maximum mean discrepancy under a Gaussian kernel, times 100.

    The mean of the kernel over pairs of different real clips, plus that of generated ones, minus twice that over
    pairs of the two. Memory does not grow with the number of pairs.

    Args:
        real: `(clips, dim)` float64, at least 2.
        generated: `(clips, dim)` float64, at least 2.
        bandwidth: Standard deviation of the kernel; the median distance of the real clips when None. Values of
            two bandwidths cannot be compared.

    Returns:
        A float64 scalar; at or below 0 where nothing tells the two apart.

    Source: Gretton et al., "A kernel two-sample test" (2012), equation 3; scaled as in Chung et al., "KAD: No More
        FAD!" (2025), whose code takes the median over the generated clips where its text says the real ones.
    """
    # Far from the origin the differences of squares would lose their digits.
    center = real.mean(dim=0)
    real, generated = real - center, generated - center
    width = median_distance(real) if bandwidth is None else bandwidth
    rate = 1.0 / (2.0 * width**2 + _EPSILON)

    def mean_within(rows: Tensor) -> Tensor:
        total = torch.stack([(-rate * squared).exp().sum() for squared in _own_distances(rows)]).sum()
        return 2 * total / (len(rows) * (len(rows) - 1))

    between = torch.stack([(-rate * squared).exp().sum() for squared in _squared_distances(real, generated)]).sum()
    return SCALE * (mean_within(real) + mean_within(generated) - 2 * between / (len(real) * len(generated)))


class KernelDistance(Metric):
    """Kernel audio distance (KAD) between the features of real and of generated clips.

    Unlike the Fréchet distance it assumes no Gaussians and is not biased by few clips, which is why it can fall below
    zero. The features themselves are kept, in float64; shards of a distributed run are put together before the value
    is computed.

    Args:
        n_features: Length of a feature vector; may be left out with a network.
        bandwidth: Standard deviation of the Gaussian kernel; the median distance of the real clips when None.
        network: What turns clips into features; None where `update` is given features.
        kwargs: Arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: If `n_features` is missing, not positive or not the network's, or the bandwidth not positive.

    Source: Chung et al., "KAD: No More FAD! An Effective and Efficient Evaluation Metric for Audio Generation" (2025).

    Examples:
        >>> metric = KernelDistance(n_features=2, bandwidth=1.0)
        >>> corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> metric.update(corners, real=True)
        >>> metric.update(corners + 2.0, real=False)
        >>> print(f"{metric.compute():.2f}")
        100.16
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    real: list[Tensor]
    generated: list[Tensor]

    def __init__(
        self,
        n_features: int | None = None,
        bandwidth: float | None = None,
        network: FeatureNetwork | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.n_features = feature_count(n_features, network)
        if bandwidth is not None and not 0.0 < bandwidth < float("inf"):
            raise ValueError(f"bandwidth is {bandwidth}; give a distance above 0, or None for the median.")
        self.bandwidth, self.network = bandwidth, network
        self.add_state("real", [], dist_reduce_fx="cat")
        self.add_state("generated", [], dist_reduce_fx="cat")

    @property
    def protocol(self) -> dict[str, str | int | float]:
        """What decides over the value, for `results.json`."""
        return {
            "metric": "KAD",
            "estimator": "unbiased MMD^2, Gaussian kernel",
            "bandwidth": "median distance of the real clips" if self.bandwidth is None else self.bandwidth,
            "scale": SCALE,
            **(self.network.protocol() if self.network else {}),
        }

    def update(self, features: Tensor, *, real: bool) -> None:
        """Add some clips.

        Args:
            features: `(clips, n_features)`, finite; with a network, clips as it takes them.
            real: Whether the clips are real or generated.

        Raises:
            ValueError: If the shape differs or a value is not finite.
        """
        rows = checked_rows(self.network(features) if self.network else features, self.n_features, "features")
        (self.real if real else self.generated).append(rows.to(self.device, torch.float64))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Put the features of all processes together, see `torchmetrics.Metric.sync`."""
        # For a process without clips torchmetrics sends numbers of another shape and type, which ends in a crash.
        for parts in (self.real, self.generated):
            if not len(parts):
                parts.append(torch.zeros(0, self.n_features, dtype=torch.float64, device=self.device))
        super().sync(*args, **kwargs)

    def compute(self) -> Tensor:
        """The distance, a float64 scalar.

        Raises:
            ValueError: If there are fewer than two clips of a kind.
        """
        return kernel_distance(self._rows("real", self.real), self._rows("generated", self.generated), self.bandwidth)

    @staticmethod
    def _rows(kind: str, parts: list[Tensor] | Tensor) -> Tensor:
        # A list within one process, a tensor once several were put together.
        rows = parts if isinstance(parts, Tensor) else torch.cat(parts) if parts else torch.zeros(0, 1)
        if len(rows) < 2:
            raise ValueError(f"there are {len(rows)} {kind} clips; pairs of different clips need at least 2.")
        return rows
