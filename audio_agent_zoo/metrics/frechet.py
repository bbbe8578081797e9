"""How far the features of generated clips lie from those of real ones."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from audio_agent_zoo.metrics.features import FeatureNetwork, checked_rows, feature_count


def _root(covariance: Tensor) -> Tensor:
    """`(dim, rank)` factor whose product with its transpose is `covariance`, rounding noise left out."""
    from scipy.linalg import lapack

    # Cholesky's decomposition, largest pivot first, ends where the rest is noise; eigenvalues take ten times as long.
    lower, order, rank, _ = lapack.dpstrf(covariance.cpu().numpy(), lower=1)
    factor = np.empty((len(lower), rank))
    factor[order - 1] = np.tril(lower)[:, :rank]
    return torch.from_numpy(factor)


def frechet_distance(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> Tensor:
    """Squared Fréchet (2-Wasserstein) distance between two Gaussians.

    The trace of the square root of the product of the covariances, which is the sum of the roots of its
    eigenvalues, is the sum of the singular values of the product of their factors. The factors are as wide as
    the rank, so covariances without full rank (fewer clips than features, constant features) need no matrix
    square root, no regularisation, and no real part taken of a complex result. Solved on the CPU.

    Args:
        mean_a: `(dim,)` float64.
        covariance_a: `(dim, dim)` float64, symmetric.
        mean_b: `(dim,)` float64.
        covariance_b: `(dim, dim)` float64, symmetric.

    Returns:
        A scalar, at least 0 up to rounding, which is clipped.

    Source: Dowson and Landau, "The Fréchet distance between multivariate normal distributions" (1982).
    """
    overlap = torch.linalg.svdvals(_root(covariance_a).T @ _root(covariance_b)).sum().to(mean_a.device)
    spread = covariance_a.trace() + covariance_b.trace() - 2 * overlap
    distance: Tensor = (mean_a - mean_b).square().sum() + spread
    return distance.clamp(min=0.0)


class FrechetDistance(Metric):
    """Fréchet distance between the features of real and of generated clips, fitted as Gaussians.

    Only counts, sums and outer products are kept, in float64, so that shards of a distributed run add
    up to the value of the whole.

    The estimate is biased upward for few clips, and more so for real features that spread widely: never
    compare values of different sample sizes, and read `n_real` and `n_generated` beside it. With fewer
    clips than features the covariances have no full rank; the value is still defined, and still biased.

    Literature names the distance after its features: FAD on those of VGGish, FID on those of Melception; `protocol`
    says which.

    Args:
        n_features: Length of a feature vector; may be left out with a network.
        network: What turns clips into features; None where `update` is given features.
        kwargs: Arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: If `n_features` is missing, not positive, or not the network's.

    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule" (2017), on features of sound as in
        Kilgour et al., "Fréchet Audio Distance" (2019).

    Examples:
        >>> network = FeatureNetwork("first two samples", lambda waves: waves[:, :2], dim=2, distance_name="FAD")
        >>> metric = FrechetDistance(network=network)
        >>> metric.update(torch.tensor([[1.0, 0.0, 9.0], [-1.0, 0.0, 9.0]]), real=True)
        >>> metric.update(torch.tensor([[1.0, 3.0, 9.0], [-1.0, 3.0, 9.0]]), real=False)
        >>> print(metric.protocol["metric"], f"{metric.compute():.1f}")
        FAD 9.0
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    real_count: Tensor
    real_sum: Tensor
    real_outer: Tensor
    generated_count: Tensor
    generated_sum: Tensor
    generated_outer: Tensor

    def __init__(self, n_features: int | None = None, network: FeatureNetwork | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_features = feature_count(n_features, network)
        self.network = network
        vector = torch.zeros(self.n_features, dtype=torch.float64)
        matrix = torch.zeros(self.n_features, self.n_features, dtype=torch.float64)
        for kind in ("real", "generated"):
            self.add_state(f"{kind}_count", torch.tensor(0), dist_reduce_fx="sum")
            self.add_state(f"{kind}_sum", vector.clone(), dist_reduce_fx="sum")
            self.add_state(f"{kind}_outer", matrix.clone(), dist_reduce_fx="sum")

    @property
    def protocol(self) -> dict[str, str | int | float]:
        """What decides over the value, for `results.json`."""
        return {
            "metric": self.network.distance_name if self.network else "FD",
            "covariance": "unbiased, float64",
            **(self.network.protocol() if self.network else {}),
        }

    @property
    def n_real(self) -> int:
        """Real clips seen by this process."""
        return int(self.real_count)

    @property
    def n_generated(self) -> int:
        """Generated clips seen by this process."""
        return int(self.generated_count)

    def update(self, features: Tensor, *, real: bool) -> None:
        """Add the features of some clips.

        Args:
            features: `(clips, n_features)`, finite; with a network, clips as it takes them.
            real: Whether the clips are real or generated.

        Raises:
            ValueError: If the shape differs or a value is not finite.
        """
        given = self.network(features) if self.network else features
        rows = checked_rows(given, self.n_features, "features").to(self.real_sum.device, torch.float64)
        if real:
            self.real_count += len(rows)
            self.real_sum += rows.sum(dim=0)
            self.real_outer += rows.T @ rows
        else:
            self.generated_count += len(rows)
            self.generated_sum += rows.sum(dim=0)
            self.generated_outer += rows.T @ rows

    def compute(self) -> Tensor:
        """The distance, a float64 scalar of at least 0.

        Raises:
            ValueError: If there are fewer than two clips of a kind.
        """
        return frechet_distance(
            *self._gaussian("real", self.real_count, self.real_sum, self.real_outer),
            *self._gaussian("generated", self.generated_count, self.generated_sum, self.generated_outer),
        )

    @staticmethod
    def _gaussian(kind: str, count: Tensor, total: Tensor, outer: Tensor) -> tuple[Tensor, Tensor]:
        n = int(count)
        if n < 2:
            raise ValueError(
                f"there are {n} {kind} clips; a covariance needs at least 2, and a stable value many more."
            )
        mean = total / n
        return mean, (outer - n * torch.outer(mean, mean)) / (n - 1)
