"""95 % bootstrap intervals: how far a figure would move with other clips of the same kind, as many of them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audio_agent_zoo.metrics.kernel_distance import SCALE, median_distance

BOUNDS = (0.025, 0.975)
DRAWS = 1000
"""Draws of clips for means."""

DISTANCE_DRAWS = 200
"""Draws of clips for distances between sets, each of which is a computation of its own."""

_SLOW_RANK = 300  # singular values of larger matrices take half a second a draw
_SLOW_DRAWS = 50
_MOST_CLIPS = 4000  # a kernel matrix of 128 MB
_EPSILON = 1e-8  # of the kernel distance itself

Interval = tuple[float, float]


def draw_rows(n: int, draws: int, seed: int) -> NDArray[np.int64]:
    """Which clips each draw takes: `(draws, n)` indices, with replacement."""
    return np.random.default_rng(seed).integers(0, n, (draws, n))


def bounds(values: NDArray[np.floating]) -> Interval:
    """The middle 95 % of what the draws gave; of few clips some draws hold one alone, and a distance of none."""
    low, high = np.quantile(values[np.isfinite(values)], BOUNDS)
    return float(low), float(high)


def draw_counts(n: int, draws: int, seed: int) -> Tensor:
    """How often each draw takes each clip: `(draws, n)` float64."""
    rows = draw_rows(n, draws, seed)
    counts = np.zeros((draws, n))
    np.add.at(counts, (np.arange(draws)[:, None], rows), 1.0)
    return torch.from_numpy(counts)


def _spread(rows: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, and a factor `(rank, dim)` whose product with itself is the covariance, of rows that count so often."""
    drawn = counts > 0
    rows, counts = rows[drawn], counts[drawn]
    n = counts.sum()
    mean = counts @ rows / n
    factor = (rows - mean) * (counts / (n - 1)).sqrt()[:, None]
    if len(factor) > factor.shape[1]:
        factor = torch.linalg.qr(factor, mode="r").R
    return mean, factor


def frechet_interval(
    generated: Sequence[Tensor], real: Sequence[Tensor], value: float, seed: int, *, paired: bool = True
) -> Interval | None:
    """Interval of a Fréchet distance, laid around its value.

    A draw holds some clips twice and so fewer different ones, which raises the distance itself; the mean rise over the
    draws is taken off. What is left is the scatter at this number of clips, never the bias of having so few.

    Args:
        generated: `(rows, dim)` of each generated clip; some networks give several rows.
        real: The same of each real clip.
        value: The distance.
        seed: Of the draws.
        paired: Whether clips of equal place belong together and are drawn together.

    Returns:
        None for fewer than three clips of a kind.
    """
    if min(len(generated), len(real)) < 3 or (paired and len(generated) != len(real)):
        return None
    made, true = (torch.cat(list(rows)).double().cpu() for rows in (generated, real))
    owners = [torch.repeat_interleave(torch.tensor([len(one) for one in rows])) for rows in (generated, real)]
    rank = min(len(made), len(true), made.shape[1])
    draws = DISTANCE_DRAWS if rank <= _SLOW_RANK else _SLOW_DRAWS
    first = draw_counts(len(generated), draws, seed)
    second = first if paired else draw_counts(len(real), draws, seed + 1)
    distances = []
    for ours, theirs in zip(first, second, strict=True):
        mean_a, a = _spread(made, ours[owners[0]])
        mean_b, b = _spread(true, theirs[owners[1]])
        overlap = torch.linalg.svdvals(a @ b.T).sum()
        distances.append(float((mean_a - mean_b).square().sum() + a.square().sum() + b.square().sum() - 2 * overlap))
    drawn = np.array(distances)
    low, high = bounds(drawn - drawn.mean() + value)
    return max(0.0, low), max(0.0, high)


def kernel_interval(
    generated: Sequence[Tensor], real: Sequence[Tensor], seed: int, bandwidth: float | None = None
) -> Interval | None:
    """Interval of a kernel distance over draws of pairs of clips.

    Args:
        generated: `(rows, dim)` of each generated clip.
        real: The same of the real clip it belongs to.
        seed: Of the draws.
        bandwidth: As of the distance; the same for every draw.

    Returns:
        None for fewer than three clips, or more rows than a matrix of all pairs may have.
    """
    if len(generated) != len(real) or len(real) < 3:
        return None
    made, true = (torch.cat(list(rows)).double().cpu() for rows in (generated, real))
    if max(len(made), len(true)) > _MOST_CLIPS:
        return None
    # Far from the origin the differences of squares would lose their digits.
    center = true.mean(dim=0)
    made, true = made - center, true - center
    width = median_distance(true) if bandwidth is None else bandwidth
    kernel = _gaussian(1.0 / (2.0 * width**2 + _EPSILON))
    counts = draw_counts(len(real), DISTANCE_DRAWS, seed)
    ours, theirs = ([len(rows) for rows in side] for side in (generated, real))
    between = _pair_means(kernel(made, true), ours, theirs, counts)
    within = _pair_means(kernel(made, made).fill_diagonal_(0.0), ours, ours, counts, themselves=False)
    within = within + _pair_means(kernel(true, true).fill_diagonal_(0.0), theirs, theirs, counts, themselves=False)
    return bounds((SCALE * (within - 2 * between)).numpy())


def _pair_means(
    values: Tensor, first: Sequence[int], second: Sequence[int], counts: Tensor, *, themselves: bool = True
) -> Tensor:
    """Mean over pairs of rows in every draw `(draws,)`.

    A clip drawn twice pairs with itself no oftener than it does undrawn: pairs within a clip and pairs of different
    clips are averaged apart, and weigh as they do in the whole set.

    Args:
        values: `(rows, rows)` value of each pair.
        first: Rows of each clip on the first axis.
        second: The same on the second.
        counts: `(draws, clips)`, how often each clip is drawn.
        themselves: Whether a row pairs with itself.
    """
    owners = [torch.repeat_interleave(torch.tensor(sizes)) for sizes in (first, second)]
    by_clip = values.new_zeros(len(first), values.shape[1]).index_add_(0, owners[0], values)
    sums = values.new_zeros(len(second), len(first)).index_add_(0, owners[1], by_clip.T).T
    pairs = torch.outer(torch.tensor(first), torch.tensor(second)).double()
    if not themselves:
        pairs -= torch.diag(torch.tensor(first).double())
    own_sums, own_pairs = sums.diagonal().clone(), pairs.diagonal().clone()
    share = own_pairs.sum() / pairs.sum()
    others = sums.clone().fill_diagonal_(0.0), pairs.clone().fill_diagonal_(0.0)
    apart = ((counts @ others[0]) * counts).sum(1) / ((counts @ others[1]) * counts).sum(1)
    together = (counts @ own_sums) / (counts @ own_pairs).clamp(min=1.0)
    return share * together + (1 - share) * apart


def _gaussian(rate: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda a, b: (-rate * torch.cdist(a, b).square()).exp()
