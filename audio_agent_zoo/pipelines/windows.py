"""Mel images of any number of sounds: how wide, in how many windows, in which batches, and back together."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import ceil

import torch
from torch import Tensor


def overlap_columns(native_columns: int) -> int:
    """Mel columns in which two windows of a long sound are cross-faded: 0.64 s where the width allows it."""
    return min(64, native_columns // 4)


@dataclass(frozen=True)
class Window:
    """One mel image to make: a whole sound, or a stretch of a long one.

    Attributes:
        item: Index of the sound it belongs to.
        width: Columns of the image.
        columns: Columns of it that are heard.
        seed: Seed of its noise.
        start: Column of the sound at its left edge.
    """

    item: int
    width: int
    columns: int
    seed: int
    start: int = 0


def window_seed(seed: int, index: int) -> int:
    """Seed of the window `index` of a sound; the first one has the sound's own."""
    if index == 0:
        return seed
    return int.from_bytes(sha256(f"{seed}/{index}".encode()).digest()[:4], "big")


def _shared_width(columns: int, multiple: int, native: int) -> int:
    """The next doubling of `multiple`: few widths, so that sounds of a plan share batches, and those of training."""
    width = multiple
    while width < columns:
        width *= 2
    return min(width, native)


def cut_into_windows(
    item: int, columns: int, seed: int, *, multiple: int, min_columns: int, native_columns: int
) -> list[Window]:
    """The images of one sound of `columns` mel columns.

    A sound that fits the native width gets an image of its own width: in a wider one the event could lie
    beyond the cut.

    Args:
        item: Index of the sound.
        columns: Columns that are heard.
        seed: Seed of the sound.
        multiple: What the UNet's strides divide.
        min_columns: Narrowest image.
        native_columns: Widest image.
    """
    native = ceil(native_columns / multiple) * multiple
    if columns <= native:
        return [Window(item, _shared_width(max(columns, min(min_columns, native)), multiple, native), columns, seed)]
    overlap = overlap_columns(native)
    count = ceil((columns - overlap) / (native - overlap))
    return [Window(item, native, native, window_seed(seed, i), i * (native - overlap)) for i in range(count)]


def group_by_width(windows: Sequence[Window], max_columns: int) -> list[list[int]]:
    """Indices of windows of one width together, at most `max_columns` columns (but one window) at once."""
    batches: list[list[int]] = []
    for width in sorted({window.width for window in windows}, reverse=True):
        same = [i for i, window in enumerate(windows) if window.width == width]
        # Batches of even size: a last one with a single window wastes what batching wins.
        count = ceil(len(same) / max(1, max_columns // width))
        size = ceil(len(same) / count)
        batches += [same[i : i + size] for i in range(0, len(same), size)]
    return batches


def join_windows(waves: Sequence[Tensor], overlap: int) -> Tensor:
    """Cross-fade the windows of one sound.

    The windows come from different noise, so their powers add: the gains keep the sum of squares at one.

    Args:
        waves: `(samples,)` each, all but the last of one length.
        overlap: Samples in which neighbours overlap.

    Returns:
        `(samples,)` in [-1, 1]: scaled down as a whole where a cross-fade went beyond.
    """
    if len(waves) == 1:
        return waves[0]
    rise = torch.sin((torch.arange(overlap) + 0.5) / overlap * torch.pi / 2)
    pieces = [waves[0]]
    for wave in waves[1:]:
        border = pieces[-1][-overlap:] * rise.flip(0) + wave[:overlap] * rise
        pieces[-1] = pieces[-1][:-overlap]
        pieces += [border, wave[overlap:]]
    joined = torch.cat(pieces)
    return joined / joined.abs().amax().clamp(min=1.0)
