"""What a network makes of clips, under a name that results carry, and the check every row of it passes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A function from clips to rows of numbers, and what a result has to say of it.

    Attributes:
        name: How results call it, such as "vggish".
        compute: From a batch of clips, as the network takes them, to `(rows, dim)`.
        dim: Length of a row.
        sample_rate: Samples per second the sound must have; None where it takes no sound.
        distance_name: What a Fréchet distance on these rows is called: "FAD" for VGGish, "FID" for Melception.
        details: What else decides over the values, such as the revision and the hash of the weights.

    Examples:
        >>> loudness = FeatureNetwork("peak", lambda waves: waves.abs().amax(dim=1, keepdim=True), 1, 16_000)
        >>> loudness(torch.tensor([[0.1, -0.5], [0.2, 0.0]])).tolist()
        [[0.5], [0.20000000298023224]]
    """

    name: str
    compute: Callable[[Any], Tensor]
    dim: int
    sample_rate: int | None = None
    distance_name: str = "FD"
    details: dict[str, str | int | float] = field(default_factory=dict)

    @torch.no_grad()
    def __call__(self, clips: Any) -> Tensor:
        """Rows `(rows, dim)` of a batch of clips.

        Raises:
            ValueError: If the network gives another shape than it says.
        """
        rows = self.compute(clips)
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise ValueError(f"{self.name} gave {tuple(rows.shape)}, and says (rows, {self.dim}); correct its dim.")
        return rows

    def protocol(self) -> dict[str, str | int | float]:
        """The name and the details as plain values, for `results.json`."""
        return {"features": self.name, **self.details}


def on_device(device: str | torch.device, compute: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A function of clips that takes them from wherever they are.

    Args:
        device: Where the network runs.
        compute: The network, or a method of it.
    """
    return lambda clips: compute(clips.to(device))


def checked_rows(rows: Tensor, dim: int | None, what: str) -> Tensor:
    """Rows `(clips, dim)` without a graph, if they can be measured.

    Args:
        rows: What a network gave.
        dim: Length of a row; any when None.
        what: What they are called in the message.

    Raises:
        ValueError: If the shape differs or a value is not finite.
    """
    wanted = dim or "dim"
    if rows.ndim != 2 or not rows.shape[1] or rows.shape[1] != (dim or rows.shape[1]) or not rows.is_floating_point():
        raise ValueError(f"{what} have shape {tuple(rows.shape)} and are {rows.dtype}; give floats (clips, {wanted}).")
    finite = torch.isfinite(rows).all(dim=1)
    if not bool(finite.all()):
        raise ValueError(
            f"{what} of {int((~finite).sum())} of {len(rows)} clips hold NaN or infinity; look at those clips."
        )
    return rows.detach()


def feature_count(n_features: int | None, network: FeatureNetwork | None) -> int:
    """Length of a feature vector, as given or as the network says.

    Raises:
        ValueError: If neither says it, it is not positive, or the two differ.
    """
    count = network.dim if n_features is None and network else n_features
    if count is None or count < 1:
        raise ValueError(f"n_features is {n_features}; give the length of a feature vector, at least 1.")
    if network and count != network.dim:
        raise ValueError(f"n_features is {n_features}, but {network.name} gives {network.dim}; leave it out.")
    return count
